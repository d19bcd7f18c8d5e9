//! Accounts, tokens and keys.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use poem::{Request, RequestBody};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSecurityScheme, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions, OpenApi};
use storage::api_keys::ApiKey;
use storage::audit::EventKind;
use storage::ids::ApiKeyId;
use storage::logins::{RefreshToken, Rotation};
use storage::users::{NewUser, User};
use uuid::Uuid;

use crate::app::App;
use crate::body::{self, Body};
use crate::caller::{self, Caller, Credential};
use crate::dto::auth::{
    Account, ApiKeyObject, CreatedApiKey, Credentials, NewApiKey, RefreshRequest, Registered, Registration,
    TokenPair,
};
use crate::dto::{Done, Listed, page};
use crate::error::{ApiError, Result};
use crate::tags::Tag;
use crate::tokens::{ACCESS_SECONDS, Subject};

/// How long a login lasts without a refresh.
const LOGIN_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);

pub(crate) struct AuthApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum RegisterResponse {
    /// The account exists now
    #[oai(status = 201)]
    Created(Json<Registered>),
}

#[derive(ApiResponse)]
enum CreateKeyResponse {
    /// The key, shown this once
    #[oai(status = 201)]
    Created(Json<CreatedApiKey>),
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Auth")]
impl AuthApi {
    /// Make an account
    #[oai(path = "/register", method = "post", operation_id = "register_user")]
    async fn register(&self, body: Body<Registration>, request: &Request) -> Result<RegisterResponse> {
        let Registration { full_name, email, password } = body.value;
        let email = normal_email(&email).ok_or_else(|| ApiError::invalid("email", "Invalid email format"))?;
        if full_name.trim().is_empty() {
            return Err(ApiError::invalid("fullName", "must not be blank"));
        }
        let password_hash = self.app.passwords.hash(password).await?;
        let new = NewUser { email, password_hash, display_name: full_name };
        let user = self.app.services.storage.users.create(new).await?;
        self.app.record(request, EventKind::Registered, Some(user.id)).await?;
        Ok(RegisterResponse::Created(Json(Registered { data: account(user) })))
    }

    /// Log in
    #[oai(path = "/login", method = "post", operation_id = "login_user")]
    async fn login(&self, body: Body<Credentials>, request: &Request) -> Result<Json<TokenPair>> {
        let Credentials { email, password } = body.value;
        let storage = &self.app.services.storage;
        let user = match normal_email(&email) {
            Some(email) => storage.users.by_email(&email).await?,
            None => None,
        };
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let right = self.app.passwords.verify(password, hash).await?;
        let known = user.as_ref().map(|user| user.id);
        let Some(user) = user.filter(|user| right && !user.disabled) else {
            self.app.record(request, EventKind::LoginFailed, known).await?;
            return Err(ApiError::wrong_credentials());
        };
        let (login, refresh) = storage.logins.start(user.id, LOGIN_LIFETIME).await?;
        self.app.record(request, EventKind::LoggedIn, known).await?;
        self.pair(Subject { user: user.id, login }, refresh)
    }

    /// Exchange a refresh token for a new pair
    ///
    /// Each is good for once; a second use ends the login.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh_token")]
    async fn refresh(&self, token: SentRefreshToken, request: &Request) -> Result<Json<TokenPair>> {
        match self.app.services.storage.logins.rotate(&token.0).await? {
            Rotation::Fresh { user, login, token } => self.pair(Subject { user, login }, token),
            Rotation::Reused { user } => {
                tracing::warn!("a refresh token was used twice; its login is revoked");
                self.app.record(request, EventKind::RefreshReused, Some(user)).await?;
                Err(ApiError::invalid_token())
            }
            Rotation::Unknown => Err(ApiError::invalid_token()),
        }
    }

    /// End the login of the token sent
    #[oai(path = "/logout", method = "delete", operation_id = "logout_user")]
    async fn logout(&self, caller: Caller, request: &Request) -> Result<Done> {
        let Credential::Login(login) = caller.credential else {
            return Err(ApiError::forbidden("An API key has no login to end; delete the key"));
        };
        self.app.services.storage.logins.revoke(login).await?;
        self.app.record(request, EventKind::LoggedOut, Some(caller.user)).await?;
        Ok(Done::NoContent)
    }

    /// Make an API key
    ///
    /// With a login only: a key that got into the wrong hands must not make others that outlive it.
    #[oai(path = "/api-keys", method = "post", operation_id = "create_api_key")]
    async fn create_key(
        &self,
        caller: Caller,
        body: Body<NewApiKey>,
        request: &Request,
    ) -> Result<CreateKeyResponse> {
        if matches!(caller.credential, Credential::ApiKey(_)) {
            return Err(ApiError::forbidden("An API key cannot make another; log in"));
        }
        let NewApiKey { name, expires_at } = body.value;
        if expires_at.is_some_and(|end| end <= Utc::now()) {
            return Err(ApiError::invalid("expires_at", "must lie in the future"));
        }
        let (key, plain) = self.app.services.storage.api_keys.create(caller.user, &name, expires_at).await?;
        self.app.record(request, EventKind::ApiKeyMade, Some(caller.user)).await?;
        Ok(CreateKeyResponse::Created(Json(CreatedApiKey {
            id: key.id.as_uuid(),
            key: plain,
            name: key.name,
            prefix: key.prefix,
            expires_at: key.expires_at.map(Into::into),
            created_at: key.created_at.into(),
        })))
    }

    /// List API keys
    #[oai(path = "/api-keys", method = "get", operation_id = "list_api_keys")]
    async fn list_keys(
        &self,
        caller: Caller,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<ApiKeyObject>>> {
        let keys = self.app.services.storage.api_keys.list(caller.user, &page(limit.0, cursor.0)).await?;
        let items = keys.items.into_iter().map(key_object).collect();
        Ok(Json(Listed { items, next_cursor: keys.next_cursor }))
    }

    /// Delete an API key
    #[oai(path = "/api-keys/:key_id", method = "delete", operation_id = "delete_api_key")]
    async fn delete_key(&self, caller: Caller, key_id: Path<Uuid>, request: &Request) -> Result<Done> {
        self.app.services.storage.api_keys.delete(caller.user, ApiKeyId::from(key_id.0)).await?;
        self.app.record(request, EventKind::ApiKeyDeleted, Some(caller.user)).await?;
        Ok(Done::NoContent)
    }
}

impl AuthApi {
    fn pair(&self, subject: Subject, refresh: RefreshToken) -> Result<Json<TokenPair>> {
        Ok(Json(TokenPair {
            access_token: self.app.tokens.issue(subject, Utc::now())?,
            refresh_token: refresh.as_str().to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: ACCESS_SECONDS,
        }))
    }
}

/// A refresh token, as Bearer or in the body.
struct SentRefreshToken(String);

impl<'a> ApiExtractor<'a> for SentRefreshToken {
    const TYPES: &'static [ApiExtractorType] =
        &[ApiExtractorType::RequestObject, ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        RefreshRequest::register(registry);
        registry.create_security_scheme(
            "RefreshToken",
            MetaSecurityScheme {
                description: Some("A refresh token"),
                scheme: Some("bearer"),
                ..caller::scheme("http")
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec!["RefreshToken"]
    }

    /// The body does without.
    fn has_security_fallback() -> bool {
        true
    }

    fn request_meta() -> Option<MetaRequest> {
        let media = MetaMediaType { content_type: "application/json", schema: RefreshRequest::schema_ref() };
        Some(MetaRequest { description: None, content: vec![media], required: false })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        // The body comes first: a client may send its access token as Bearer with every request.
        let bearer = caller::bearer(request).map(str::to_owned);
        match (body::read_optional_json(request, body).await?, bearer) {
            (Some(json), Some(token)) if json.get("refresh_token").is_none() => Ok(Self(token)),
            (Some(json), _) => Ok(Self(body::typed::<RefreshRequest>(json)?.value.refresh_token)),
            (None, Some(token)) => Ok(Self(token)),
            (None, None) => Err(ApiError::unauthenticated().into()),
        }
    }
}

/// The address in the one spelling that is stored; none when it is no address.
fn normal_email(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let (local, domain) = text.rsplit_once('@')?;
    let plain =
        |part: &str| part.chars().all(|character| !character.is_whitespace() && !character.is_control());
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|character| character.is_alphanumeric() || character == '-')
    };
    let fits = (1..=64).contains(&local.len()) && !local.contains(['@', '"', '<', '>', ',', ';', '\\']);
    (fits && text.len() <= 254 && plain(local) && domain.contains('.') && domain.split('.').all(label))
        .then_some(text)
}

fn account(user: User) -> Account {
    Account {
        id: user.id.as_uuid(),
        full_name: user.display_name,
        email: user.email,
        created_at: user.created_at.into(),
    }
}

fn key_object(key: ApiKey) -> ApiKeyObject {
    ApiKeyObject {
        id: key.id.as_uuid(),
        name: key.name,
        prefix: key.prefix,
        expires_at: key.expires_at.map(Into::into),
        last_used_at: key.last_used_at.map(Into::into),
        requests_per_minute: key.requests_per_minute.map(Into::into),
        created_at: key.created_at.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::normal_email;

    #[test]
    fn addresses_are_folded_and_checked() {
        for (sent, stored) in [
            ("User@Example.COM", "user@example.com"),
            (" a.b+c@mail.example.org ", "a.b+c@mail.example.org"),
            ("jörg@bücher.example", "jörg@bücher.example"),
        ] {
            assert_eq!(normal_email(sent).as_deref(), Some(stored));
        }
        let long = format!("{}@example.com", "a".repeat(65));
        for wrong in [
            "",
            "user",
            "@example.com",
            "user@",
            "user@example",
            "user@.com",
            "user@-a.com",
            "a b@example.com",
            "a@b@example.com",
            "user@exa mple.com",
            "<user@example.com>",
            "user@example..com",
            &long,
        ] {
            assert_eq!(normal_email(wrong), None, "{wrong}");
        }
    }
}
