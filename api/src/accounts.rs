//! Accounts, as every door makes and opens them.

use std::time::Duration;

use poem::Request;
use storage::audit::EventKind;
use storage::ids::{LoginId, UserId};
use storage::logins::{LoginToken, TokenKind};
use storage::users::{Name, NewUser, User};

use crate::app::App;
use crate::caller::{Caller, Credential};
use crate::dto::auth::Credentials;
use crate::error::{ApiError, Result};

/// How long a login lasts without a refresh.
pub(crate) const LOGIN_LIFETIME: Duration = Duration::from_secs(14 * 24 * 3600);

pub(crate) struct NewAccount {
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) name: Name,
}

pub(crate) async fn register(app: &App, request: &Request, new: NewAccount) -> Result<User> {
    let email = normal_email(&new.email).ok_or_else(|| ApiError::invalid("email", "Invalid email format"))?;
    let password_hash = app.passwords.hash(new.password).await?;
    let user = app.services.storage.users.create(NewUser { email, password_hash, name: new.name }).await?;
    app.record(request, EventKind::Registered, Some(user.id)).await?;
    Ok(user)
}

/// Whose address and password these are. A refusal says no more, and comes no sooner, where no account has the address.
pub(crate) async fn log_in(app: &App, request: &Request, credentials: Credentials) -> Result<User> {
    let Credentials { email, password } = credentials;
    let user = match normal_email(&email) {
        Some(email) => app.services.storage.users.by_email(&email).await?,
        None => None,
    };
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = app.passwords.verify(password, hash).await?;
    let known = user.as_ref().map(|user| user.id);
    match user.filter(|user| right && !user.disabled) {
        Some(user) => Ok(user),
        None => {
            app.record(request, EventKind::LoginFailed, known).await?;
            Err(ApiError::wrong_credentials())
        }
    }
}

/// Begins a login of a user who has just shown this password. Whoever makes it another meanwhile ends all logins that
/// there are, and this one was not there yet: so it is refused where the password is not the same afterwards.
pub(crate) async fn start_login(
    app: &App,
    request: &Request,
    user: &User,
    kind: TokenKind,
) -> Result<(LoginId, LoginToken)> {
    let storage = &app.services.storage;
    let (login, token) = storage.logins.start(user.id, kind, LOGIN_LIFETIME).await?;
    if storage.users.get(user.id).await?.password_hash != user.password_hash {
        storage.logins.revoke(login).await?;
        return Err(ApiError::wrong_credentials());
    }
    app.record(request, EventKind::LoggedIn, Some(user.id)).await?;
    Ok((login, token))
}

/// Ends the login by which `caller` is known.
pub(crate) async fn log_out(app: &App, request: &Request, caller: Caller) -> Result<()> {
    let Credential::Login(login) = caller.credential else {
        return Err(ApiError::forbidden("An API key has no login to end; delete the key"));
    };
    app.services.storage.logins.revoke(login).await?;
    app.record(request, EventKind::LoggedOut, Some(caller.user)).await
}

/// The user, where this is their password.
pub(crate) async fn confirm(app: &App, id: UserId, password: String) -> Result<Option<User>> {
    let user = app.services.storage.users.get(id).await?;
    let right = app.passwords.verify(password, Some(user.password_hash.clone())).await?;
    Ok(Some(user).filter(|_| right))
}

/// The address in the one spelling that is stored; none when it is no address.
pub(crate) fn normal_email(text: &str) -> Option<String> {
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
