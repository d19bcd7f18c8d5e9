//! Accounts, tokens and keys.

use std::sync::Arc;

use chrono::Utc;
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::audit::EventKind;
use storage::ids::ApiKeyId;
use storage::logins::{Rotation, TokenKind};
use storage::users::Name;
use uuid::Uuid;

use crate::accounts::{self, NewAccount};
use crate::app::App;
use crate::body::Body;
use crate::caller::{Caller, Credential};
use crate::dto::auth::{
    ApiKeyObject, CreatedApiKey, Credentials, NewApiKey, Registered, Registration, TokenPair,
};
use crate::dto::{Done, Listed, page};
use crate::error::{ApiError, Result};
use crate::refresh_token::{self, SentRefreshToken};
use crate::tags::Tag;
use crate::tokens::{ACCESS_SECONDS, Subject};

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
        if full_name.trim().is_empty() {
            return Err(ApiError::invalid("fullName", "must not be blank"));
        }
        let new = NewAccount { email, password, name: Name::full(&full_name) };
        let user = accounts::register(&self.app, request, new).await?;
        Ok(RegisterResponse::Created(Json(Registered { data: user.into() })))
    }

    /// Log in
    #[oai(path = "/login", method = "post", operation_id = "login_user")]
    async fn login(&self, body: Body<Credentials>, request: &Request) -> Result<Json<TokenPair>> {
        let user = accounts::log_in(&self.app, request, body.value).await?;
        let (login, refresh) = accounts::start_login(&self.app, request, &user, TokenKind::Rotating).await?;
        self.pair(Subject { user: user.id, login }, refresh.as_str())
    }

    /// Exchange a refresh token for a new pair
    ///
    /// Each is good for once; a second use ends the login. One that `/auth/login` gave holds, and comes back.
    #[oai(path = "/refresh", method = "post", operation_id = "refresh_token")]
    async fn refresh(&self, token: SentRefreshToken, request: &Request) -> Result<Json<TokenPair>> {
        match self.app.services.storage.logins.rotate(&token.0).await? {
            Rotation::Fresh { user, login, token } => self.pair(Subject { user, login }, token.as_str()),
            Rotation::Standing { user, login } => self.pair(Subject { user, login }, &token.0),
            Rotation::Reused { user } => Err(refresh_token::reused(&self.app, request, user).await?),
            Rotation::Unknown => Err(ApiError::invalid_token()),
        }
    }

    /// End the login of the token sent
    #[oai(path = "/logout", method = "delete", operation_id = "logout_user")]
    async fn logout(&self, caller: Caller, request: &Request) -> Result<Done> {
        accounts::log_out(&self.app, request, caller).await?;
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
        let items = keys.items.into_iter().map(ApiKeyObject::from).collect();
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
    fn pair(&self, subject: Subject, refresh: &str) -> Result<Json<TokenPair>> {
        Ok(Json(TokenPair {
            access_token: self.app.tokens.issue(subject, ACCESS_SECONDS, Utc::now())?,
            refresh_token: refresh.to_owned(),
            token_type: "bearer".to_owned(),
            expires_in: ACCESS_SECONDS,
        }))
    }
}
