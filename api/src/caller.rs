//! Who calls. A handler that takes a [`Caller`] or an [`Access`] can be reached by nobody else; they come first among
//! its arguments, so that a stranger's body is not even read.

use std::num::NonZeroU32;

use chrono::Utc;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use storage::api_keys::API_KEY_PREFIX;
use storage::ids::{ApiKeyId, LoginId, UserId};

use crate::Guests;
use crate::app::{App, Links};
use crate::error::{ApiError, Result};
use crate::signed_url::Proof;

const BEARER: &str = "Bearer";
const SIGNED_URL: &str = "SignedUrl";

/// A user, by access token or API key.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) credential: Credential,
    /// URLs as this caller sees the server.
    pub(crate) links: Links,
}

/// What a caller is known by.
#[derive(Clone)]
pub(crate) enum Credential {
    Login(LoginId),
    ApiKey(String),
}

impl Credential {
    /// False once it was revoked, or its user disabled.
    pub(crate) async fn is_live(&self, app: &App) -> Result<bool> {
        let storage = &app.services.storage;
        match self {
            Self::Login(login) => Ok(storage.logins.is_live(*login).await?),
            Self::ApiKey(key) => Ok(storage.api_keys.owner_of(key).await?.is_some()),
        }
    }
}

impl<'a> ApiExtractor<'a> for Caller {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            BEARER,
            MetaSecurityScheme {
                description: Some("An access token, or an API key"),
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                ..scheme("http")
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(authenticate(request).await?)
    }
}

/// Whoever comes: a user, or a guest where guests are welcome.
#[derive(Clone)]
pub(crate) enum Visitor {
    User(Caller),
    Guest,
}

impl<'a> ApiExtractor<'a> for Visitor {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    /// Guests have none.
    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        match (App::of(request)?.services.config.guests, bearer(request)) {
            (Guests::Welcome, None) => Ok(Self::Guest),
            // A token that is no good is said to be: whoever sends one does not mean to be a guest.
            (Guests::Welcome | Guests::KeptOut, _) => Ok(Self::User(authenticate(request).await?)),
        }
    }
}

/// The right to one resource: its owner's, or that of whoever holds a signed URL to it.
#[derive(Clone)]
pub(crate) enum Access {
    Owner(Caller),
    /// The signature was checked against the path of this request.
    Signed,
}

impl<'a> ApiExtractor<'a> for Access {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
        registry.create_security_scheme(
            SIGNED_URL,
            MetaSecurityScheme {
                description: Some("A URL that the API made, with `expires` and `signature` in its query"),
                name: Some("signature"),
                key_in: Some("query"),
                ..scheme("apiKey")
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, SIGNED_URL]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let Some(signature) = value("signature") else {
            return Ok(Self::Owner(authenticate(request).await?));
        };
        let proof = Proof { expires: value("expires").unwrap_or_default(), signature };
        if App::of(request)?.urls.verify(request.uri().path(), proof, Utc::now()) {
            Ok(Self::Signed)
        } else {
            Err(ApiError::invalid_token().into())
        }
    }
}

/// The token of the header `Authorization: Bearer`.
pub(crate) fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Whoever was recognised by a token.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) user: UserId,
    credential: Credential,
    /// Requests a minute of the API key, where it has a rate of its own.
    pub(crate) own_rate: Option<(ApiKeyId, NonZeroU32)>,
}

/// What [`recognise`] found, for the handler of the same request.
#[derive(Clone)]
struct Recognised(Option<Known>);

/// Who sends the request, found out once for all that ask; none where it carries no token that is good.
pub(crate) async fn recognise(request: &mut Request) -> Result<Option<Known>> {
    let known = match bearer(request) {
        Some(token) => identify(App::of(request)?, token).await?,
        None => None,
    };
    request.set_data(Recognised(known.clone()));
    Ok(known)
}

async fn authenticate(request: &Request) -> Result<Caller> {
    let app = App::of(request)?;
    let token = bearer(request).ok_or_else(ApiError::unauthenticated)?;
    let known = match request.data::<Recognised>() {
        Some(Recognised(known)) => known.clone(),
        None => identify(app, token).await?,
    };
    let Known { user, credential, .. } = known.ok_or_else(ApiError::invalid_token)?;
    Ok(Caller { user, credential, links: app.links(request) })
}

/// Whose token it is, and of which login; none when it is none of ours, has run out or was revoked.
async fn identify(app: &App, token: &str) -> Result<Option<Known>> {
    let storage = &app.services.storage;
    if token.starts_with(API_KEY_PREFIX) {
        let key = storage.api_keys.opened_by(token).await?;
        return Ok(key.map(|key| Known {
            user: key.owner,
            credential: Credential::ApiKey(token.to_owned()),
            own_rate: key.requests_per_minute.map(|rate| (key.id, rate)),
        }));
    }
    match app.tokens.verify(token) {
        Some(subject) if storage.logins.is_live(subject.login).await? => Ok(Some(Known {
            user: subject.user,
            credential: Credential::Login(subject.login),
            own_rate: None,
        })),
        Some(_) | None => Ok(None),
    }
}

pub(crate) fn scheme(ty: &'static str) -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty,
        description: None,
        name: None,
        key_in: None,
        scheme: None,
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}
