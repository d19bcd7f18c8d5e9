//! Passwords that were forgotten. Whoever asks learns nothing of whether an address has an account: the answer is the same
//! and as quick, and the letter is written after it.

use std::sync::Arc;

use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::audit::{EventKind, NewEvent};
use storage::password_resets::ResetToken;
use storage::users::User;

use crate::accounts::normal_email;
use crate::app::App;
use crate::body::Body;
use crate::doors::Letter;
use crate::dto::Done;
use crate::dto::auth::{ForgottenPassword, NewPassword, ResetAsked};
use crate::edge::RequestId;
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// A page that sets the password of the link that led to it.
pub(crate) const PAGE: &str = include_str!("password_reset.html");
/// Where the page is, for links to it.
pub(crate) const PAGE_PATH: &str = "/password-reset";

pub(crate) struct PasswordResetApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Asked {
    /// Where the address has an account, a letter is on its way
    #[oai(status = 202)]
    Accepted(Json<ResetAsked>),
}

#[OpenApi(prefix_path = "/api/v1/auth/password-reset", tag = "Tag::Auth")]
impl PasswordResetApi {
    /// Ask for a link that sets a new password
    ///
    /// It is sent to the address, and good for once and for an hour. One that was sent before is void.
    #[oai(path = "/", method = "post", operation_id = "ask_for_password_reset")]
    async fn ask(&self, body: Body<ForgottenPassword>, request: &Request) -> Result<Asked> {
        if let Some(email) = normal_email(&body.value.email) {
            let event = NewEvent {
                kind: EventKind::PasswordResetAsked,
                user: None,
                client_address: self.app.client_address(request),
                request_id: RequestId::of(request),
            };
            let app = self.app.clone();
            self.app.outbox.begin(async move { write(&app, &email, event).await });
        }
        let message = "If the address has an account, a link to set a new password was sent to it.";
        Ok(Asked::Accepted(Json(ResetAsked { message: message.to_owned() })))
    }

    /// Set a new password
    ///
    /// With the token of the link. Ends every login at once.
    #[oai(path = "/confirm", method = "post", operation_id = "confirm_password_reset")]
    async fn confirm(&self, body: Body<NewPassword>, request: &Request) -> Result<Done> {
        let NewPassword { token, password } = body.value;
        let users = &self.app.services.storage.users;
        // A hash takes long, so it is not made for everybody who asks.
        if !users.is_reset(&token).await? {
            return Err(no_such_token());
        }
        let hash = self.app.passwords.hash(password).await?;
        let user = users.finish_reset(&token, hash).await?.ok_or_else(no_such_token)?;
        self.app.record(request, EventKind::PasswordReset, Some(user)).await?;
        Ok(Done::NoContent)
    }
}

/// Makes the token and sends it, where there is somebody to send it to.
async fn write(app: &App, email: &str, event: NewEvent) {
    let storage = &app.services.storage;
    let begun = async {
        let Some((user, token)) = storage.users.begin_reset(email).await? else { return Ok(None) };
        storage.audit.record(NewEvent { user: Some(user.id), ..event }).await?;
        Ok::<_, storage::error::Error>(Some((user, token)))
    };
    match begun.await {
        Ok(Some((user, token))) => send(app, user, &token).await,
        Ok(None) => {}
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "could not begin a password reset");
        }
    }
}

async fn send(app: &App, user: User, token: &ResetToken) {
    let link = link(app, token);
    let Some(mail) = &app.services.mail else {
        tracing::warn!(user.id = %user.id, link, "no mail server is configured; this link sets a new password");
        return;
    };
    let text = format!(
        "Somebody, we hope you, has asked for a new password for your account.\n\
         Open this within an hour to set one:\n\n{link}\n\n\
         If it was not you, do nothing: your password stays as it is.\n"
    );
    let letter = Letter { to: user.email, subject: "Set a new password".to_owned(), text };
    match mail.send(letter).await {
        Ok(()) => tracing::info!(user.id = %user.id, "sent a link that sets a new password"),
        Err(error) => tracing::error!(%error, user.id = %user.id, "could not send a letter"),
    }
}

/// Of the configured page, or of ours. Never of the request's `Host`, which whoever asks may choose.
fn link(app: &App, token: &ResetToken) -> String {
    let config = &app.services.config;
    let page = match (&config.password_reset_url, &config.public_url) {
        (Some(page), _) => page.clone(),
        (None, Some(public)) => format!("{}{PAGE_PATH}", public.trim_end_matches('/')),
        (None, None) => PAGE_PATH.to_owned(),
    };
    let separator = if page.contains('?') { '&' } else { '?' };
    format!("{page}{separator}token={}", token.as_str())
}

fn no_such_token() -> ApiError {
    ApiError::invalid("token", "was used, has run out, or never was one of ours")
}
