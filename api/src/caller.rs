//! Who calls. A handler that takes a [`Caller`] or an [`Access`] can be reached by nobody else; they come first among
//! its arguments, so that a stranger's body is not even read.

use std::num::NonZeroU32;

use chrono::Utc;
use poem::http::StatusCode;
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use storage::api_keys::API_KEY_PREFIX;
use storage::ids::{ApiKeyId, LoginId, UserId};
use storage::users::Role;

use crate::app::{App, Links};
use crate::error::{ApiError, Result};
use crate::session_cookie;
use crate::signed_url::Proof;
use crate::tokens::Rejection;

const BEARER: &str = "Bearer";
pub(crate) const SESSION: &str = "Session";
const SIGNED_URL: &str = "SignedUrl";

/// A user, by access token, API key or the session of a browser.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) user: UserId,
    pub(crate) credential: Credential,
    pub(crate) key_rate: Option<KeyRate>,
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
        registry.create_security_scheme(
            SESSION,
            MetaSecurityScheme {
                description: Some("The cookie of a browser that has logged in"),
                name: Some(session_cookie::NAME),
                key_in: Some("cookie"),
                ..scheme("apiKey")
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![BEARER, SESSION]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(caller(request).await?)
    }
}

/// A user who runs the server. Everybody else is told that this is not for them.
pub(crate) struct Administrator(pub(crate) Caller);

impl<'a> ApiExtractor<'a> for Administrator {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Caller::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Caller::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let caller = caller(request).await?;
        let users = &App::of(request)?.services.storage.users;
        match users.get(caller.user).await.map_err(ApiError::from)?.role {
            Role::Admin => Ok(Self(caller)),
            Role::User => Err(ApiError::forbidden("For administrators only").into()),
        }
    }
}

/// Who calls, where nobody has to be logged in: a user, nobody, or why the token is no good.
pub(crate) struct Visitor(pub(crate) Result<Option<Caller>>);

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

    /// Strangers may call too.
    fn has_security_fallback() -> bool {
        true
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(authenticate(request).await))
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
        vec![BEARER, SESSION, SIGNED_URL]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let Some(signature) = value("signature") else {
            return Ok(Self::Owner(caller(request).await?));
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

/// Requests a minute of an API key that has a rate of its own.
pub(crate) type KeyRate = (ApiKeyId, NonZeroU32);

/// Whoever was recognised by a token or a session.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) user: UserId,
    credential: Credential,
    pub(crate) key_rate: Option<KeyRate>,
}

impl Known {
    fn by_login(user: UserId, login: LoginId) -> Self {
        Self { user, credential: Credential::Login(login), key_rate: None }
    }
}

/// What [`recognise`] found, for the handler of the same request.
#[derive(Clone)]
struct Recognised(Result<Option<Known>>);

/// Who sends the request, found out once for all that ask; none where it carries nothing that is good.
pub(crate) async fn recognise(request: &mut Request) -> Result<Option<Known>> {
    let known = identify(request).await;
    request.set_data(Recognised(known.clone()));
    match known {
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => Ok(None),
        known => known,
    }
}

async fn caller(request: &Request) -> Result<Caller> {
    authenticate(request).await?.ok_or_else(ApiError::unauthenticated)
}

async fn authenticate(request: &Request) -> Result<Option<Caller>> {
    let app = App::of(request)?;
    let known = match request.data::<Recognised>() {
        Some(Recognised(known)) => known.clone()?,
        None => identify(request).await?,
    };
    let Some(Known { user, credential, key_rate }) = known else { return Ok(None) };
    if bearer(request).is_none() {
        session_cookie::check_site(app, request)?;
    }
    Ok(Some(Caller { user, credential, key_rate, links: app.links(request) }))
}

/// Who sends the request; none where it carries no token and no session that goes on.
async fn identify(request: &Request) -> Result<Option<Known>> {
    let app = App::of(request)?;
    match (bearer(request), session_cookie::sent(request)) {
        (Some(token), _) => by_token(app, token).await.map(Some),
        (None, Some(session)) => {
            // A browser keeps sending what has ended; its user is simply not logged in.
            let found = app.services.storage.logins.session(session).await?;
            Ok(found.map(|(user, login)| Known::by_login(user, login)))
        }
        (None, None) => Ok(None),
    }
}

async fn by_token(app: &App, token: &str) -> Result<Known> {
    let storage = &app.services.storage;
    if token.starts_with(API_KEY_PREFIX) {
        let key = storage.api_keys.opened_by(token).await?.ok_or_else(ApiError::invalid_token)?;
        return Ok(Known {
            user: key.owner,
            credential: Credential::ApiKey(token.to_owned()),
            key_rate: key.requests_per_minute.map(|rate| (key.id, rate)),
        });
    }
    let subject = app.tokens.verify(token).map_err(|rejection| match rejection {
        Rejection::Expired => ApiError::expired_token(),
        Rejection::Invalid => ApiError::invalid_token(),
    })?;
    match storage.logins.is_live(subject.login).await? {
        true => Ok(Known::by_login(subject.user, subject.login)),
        false => Err(ApiError::invalid_token()),
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
