//! The door of browsers: whoever registers or logs in gets a session, in a cookie that scripts cannot read.

use std::sync::Arc;

use pipeline::parameters::Invalid;
use poem::Request;
use poem::http::StatusCode;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::audit::EventKind;
use storage::error::{Conflict, Error as StorageError};
use storage::logins::TokenKind;
use storage::users::{Name, NewUser, User};

use crate::accounts::{self, normal_email};
use crate::app::App;
use crate::body::Body;
use crate::caller::{Caller, Visitor};
use crate::dto::auth::Credentials;
use crate::dto::users::{Message, NotAuthenticated, SessionRegistration, SessionUser};
use crate::error::{ApiError, Result};
use crate::session_cookie;
use crate::tags::Tag;

/// Fewest characters of a password.
const SHORTEST_PASSWORD: usize = 8;

pub(crate) struct CookieAuthApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Registered {
    /// The account exists now, and is logged in
    #[oai(status = 201)]
    Created(Json<SessionUser>, #[oai(header = "Set-Cookie")] String),
}

#[derive(ApiResponse)]
enum LoggedIn {
    /// Logged in
    #[oai(status = 200)]
    Done(Json<SessionUser>, #[oai(header = "Set-Cookie")] String),
}

#[derive(ApiResponse)]
enum LoggedOut {
    /// Logged out
    #[oai(status = 200)]
    Done(Json<Message>, #[oai(header = "Set-Cookie")] String),
}

#[derive(ApiResponse)]
enum Identity {
    /// The user who is logged in
    #[oai(status = 200)]
    Known(Json<SessionUser>),
    /// Nobody is logged in
    #[oai(status = 401)]
    Unknown(Json<NotAuthenticated>),
}

#[OpenApi(prefix_path = "/api/auth", tag = "Tag::Auth")]
impl CookieAuthApi {
    /// Make an account and log in with a cookie
    #[oai(path = "/register", method = "post", operation_id = "register_with_session")]
    async fn register(&self, body: Body<SessionRegistration>, request: &Request) -> Result<Registered> {
        let SessionRegistration { email, password, display_name } = body.value;
        let email = self.check(&email, &password, &display_name).await?;
        let password_hash = self.app.passwords.hash(password).await?;
        let new = NewUser { email, password_hash, name: Name::full(&display_name) };
        let user = self.app.services.storage.users.create(new).await.map_err(by_field)?;
        self.app.record(request, EventKind::Registered, Some(user.id)).await?;
        let cookie = self.start_session(request, &user).await?;
        Ok(Registered::Created(Json(user.into()), cookie))
    }

    /// Log in with a cookie
    #[oai(path = "/login", method = "post", operation_id = "login_with_session")]
    async fn login(&self, body: Body<Credentials>, request: &Request) -> Result<LoggedIn> {
        let user = accounts::log_in(&self.app, request, body.value).await?;
        let cookie = self.start_session(request, &user).await?;
        Ok(LoggedIn::Done(Json(user.into()), cookie))
    }

    /// End the session
    #[oai(path = "/logout", method = "post", operation_id = "logout_session")]
    async fn logout(&self, caller: Caller, request: &Request) -> Result<LoggedOut> {
        accounts::log_out(&self.app, request, caller).await?;
        let message = Message { message: "Logged out successfully".to_owned() };
        Ok(LoggedOut::Done(Json(message), session_cookie::clear(&self.app)))
    }

    /// See who is logged in
    #[oai(path = "/me", method = "get", operation_id = "get_session_user")]
    async fn me(&self, visitor: Visitor) -> Result<Identity> {
        let caller = match visitor.0 {
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => None,
            caller => caller?,
        };
        let Some(caller) = caller else {
            return Ok(Identity::Unknown(Json(NotAuthenticated { authenticated: false })));
        };
        let user = self.app.services.storage.users.get(caller.user).await?;
        Ok(Identity::Known(Json(user.into())))
    }
}

impl CookieAuthApi {
    /// The address as it is stored. Everything that is wrong is said at once.
    async fn check(&self, email: &str, password: &str, display_name: &str) -> Result<String> {
        let mut faults = vec![];
        let email = normal_email(email);
        match &email {
            None => faults.push(wrong_email()),
            Some(email) if self.app.services.storage.users.by_email(email).await?.is_some() => {
                faults.push(taken_email());
            }
            Some(_) => {}
        }
        faults.extend(short_password("password", password));
        faults.extend(blank_name(display_name));
        email.filter(|_| faults.is_empty()).ok_or_else(|| ApiError::invalid_fields(faults))
    }

    /// The cookie of a session that begins now.
    async fn start_session(&self, request: &Request, user: &User) -> Result<String> {
        let (_, session) = accounts::start_login(&self.app, request, user, TokenKind::Session).await?;
        Ok(session_cookie::set(&self.app, &session))
    }
}

pub(crate) fn wrong_email() -> Invalid {
    Invalid::new("email", "Enter a valid email address.")
}

pub(crate) fn short_password(field: &str, password: &str) -> Option<Invalid> {
    let short = password.chars().count() < SHORTEST_PASSWORD;
    let issue =
        || format!("This password is too short. It must contain at least {SHORTEST_PASSWORD} characters.");
    short.then(|| Invalid::new(field, issue()))
}

pub(crate) fn blank_name(name: &str) -> Option<Invalid> {
    name.trim().is_empty().then(|| Invalid::new("display_name", "This field may not be blank."))
}

/// At this door an address that is taken is a fault of its field.
pub(crate) fn by_field(error: StorageError) -> ApiError {
    match error {
        StorageError::Conflict(Conflict::EmailTaken) => taken_email().into(),
        other => other.into(),
    }
}

fn taken_email() -> Invalid {
    Invalid::new("email", "User with this email already exists.")
}
