//! The door of clients that hold one token for a day: bare objects, and refresh tokens that hold.

use std::sync::Arc;

use chrono::Utc;
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::logins::{Rotation, TokenKind};
use storage::users::Name;

use crate::accounts::{self, NewAccount};
use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::dto::auth::{Credentials, CurrentUser, DayToken, SignUp, SignedIn, SignedUp};
use crate::error::{ApiError, Result};
use crate::refresh_token::{self, SentRefreshToken};
use crate::tags::Tag;
use crate::tokens::{DAY_SECONDS, Subject};

pub(crate) struct BearerAuthApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum SignUpResponse {
    /// The account exists now
    #[oai(status = 201)]
    Created(Json<SignedUp>),
}

#[OpenApi(prefix_path = "/auth", tag = "Tag::Auth")]
impl BearerAuthApi {
    /// Make an account, with a first and a last name
    #[oai(path = "/register", method = "post", operation_id = "sign_up")]
    async fn register(&self, body: Body<SignUp>, request: &Request) -> Result<SignUpResponse> {
        let SignUp { email, password, first_name, last_name } = body.value;
        if first_name.trim().is_empty() {
            return Err(ApiError::invalid("first_name", "must not be blank"));
        }
        let new = NewAccount { email, password, name: Name::parts(&first_name, &last_name) };
        let user = accounts::register(&self.app, request, new).await?;
        Ok(SignUpResponse::Created(Json(user.into())))
    }

    /// Log in for a day
    #[oai(path = "/login", method = "post", operation_id = "sign_in")]
    async fn login(&self, body: Body<Credentials>, request: &Request) -> Result<Json<SignedIn>> {
        let user = accounts::log_in(&self.app, request, body.value).await?;
        let (login, refresh) = accounts::start_login(&self.app, request, &user, TokenKind::Standing).await?;
        Ok(Json(SignedIn {
            token: self.token(Subject { user: user.id, login })?,
            refresh_token: refresh.as_str().to_owned(),
            expires_in: DAY_SECONDS,
            user: user.into(),
        }))
    }

    /// Get the caller's account
    #[oai(path = "/me", method = "get", operation_id = "get_signed_in_user")]
    async fn me(&self, caller: Caller) -> Result<Json<CurrentUser>> {
        let user = self.app.services.storage.users.get(caller.user).await?;
        Ok(Json(user.into()))
    }

    /// Get a token for another day
    ///
    /// The refresh token holds. One of another door that is good for once is used up, and its successor comes along.
    #[oai(path = "/refresh-token", method = "post", operation_id = "refresh_day_token")]
    async fn refresh(&self, token: SentRefreshToken, request: &Request) -> Result<Json<DayToken>> {
        let (subject, refresh_token) = match self.app.services.storage.logins.rotate(&token.0).await? {
            Rotation::Standing { user, login } => (Subject { user, login }, None),
            Rotation::Fresh { user, login, token } => {
                (Subject { user, login }, Some(token.as_str().to_owned()))
            }
            Rotation::Reused { user } => return Err(refresh_token::reused(&self.app, request, user).await?),
            Rotation::Unknown => return Err(ApiError::invalid_token()),
        };
        Ok(Json(DayToken { token: self.token(subject)?, expires_in: DAY_SECONDS, refresh_token }))
    }
}

impl BearerAuthApi {
    fn token(&self, subject: Subject) -> Result<String> {
        self.app.tokens.issue(subject, DAY_SECONDS, Utc::now())
    }
}
