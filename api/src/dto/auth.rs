//! Accounts, tokens and keys.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use storage::api_keys::ApiKey;
use storage::users::User;
use uuid::Uuid;

use super::time::Timestamp;

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Registration {
    #[oai(validator(min_length = 1, max_length = 200))]
    pub(crate) full_name: String,
    #[oai(validator(min_length = 1, max_length = 254))]
    pub(crate) email: String,
    #[oai(validator(min_length = 8, max_length = 128))]
    pub(crate) password: String,
}

#[derive(Object)]
pub(crate) struct Registered {
    pub(crate) data: Account,
}

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) full_name: String,
    pub(crate) email: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Object)]
pub(crate) struct Credentials {
    #[oai(validator(max_length = 254))]
    pub(crate) email: String,
    #[oai(validator(max_length = 1024))]
    pub(crate) password: String,
}

#[derive(Object)]
pub(crate) struct TokenPair {
    pub(crate) access_token: String,
    /// Good for one refresh, unless it is one that holds.
    pub(crate) refresh_token: String,
    /// Always `bearer`.
    pub(crate) token_type: String,
    /// Seconds that the access token lives.
    pub(crate) expires_in: i64,
}

#[derive(Object)]
pub(crate) struct ForgottenPassword {
    #[oai(validator(max_length = 254))]
    pub(crate) email: String,
}

#[derive(Object)]
pub(crate) struct ResetAsked {
    pub(crate) message: String,
}

#[derive(Object)]
pub(crate) struct NewPassword {
    /// Of the link.
    #[oai(validator(max_length = 256))]
    pub(crate) token: String,
    #[oai(validator(min_length = 8, max_length = 128))]
    pub(crate) password: String,
}

/// A refresh token, for clients that do not send it as Bearer.
#[derive(Object)]
pub(crate) struct RefreshRequest {
    #[oai(validator(min_length = 1, max_length = 1024))]
    pub(crate) refresh_token: String,
}

/// An account as `/auth` makes it.
#[derive(Object)]
pub(crate) struct SignUp {
    #[oai(validator(min_length = 1, max_length = 254))]
    pub(crate) email: String,
    #[oai(validator(min_length = 8, max_length = 128))]
    pub(crate) password: String,
    #[oai(validator(min_length = 1, max_length = 100))]
    pub(crate) first_name: String,
    /// May be empty: not everybody has one.
    #[oai(validator(max_length = 100))]
    pub(crate) last_name: String,
}

#[derive(Object)]
pub(crate) struct SignedUp {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Object)]
pub(crate) struct SignedIn {
    /// An access token.
    pub(crate) token: String,
    /// Holds until it expires, however often it is used.
    pub(crate) refresh_token: String,
    /// Seconds that the access token lives.
    pub(crate) expires_in: i64,
    pub(crate) user: SignedInUser,
}

#[derive(Object)]
pub(crate) struct SignedInUser {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    /// `user` or `admin`
    pub(crate) role: String,
}

#[derive(Object)]
pub(crate) struct CurrentUser {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    /// `user` or `admin`
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
}

#[derive(Object)]
pub(crate) struct DayToken {
    /// An access token.
    pub(crate) token: String,
    /// Seconds that it lives.
    pub(crate) expires_in: i64,
    /// What follows the token that was sent, where that was good for once.
    #[oai(skip_serializing_if_is_none)]
    pub(crate) refresh_token: Option<String>,
}

/// Proof that it is the owner who asks.
#[derive(Object)]
pub(crate) struct PasswordProof {
    #[oai(validator(max_length = 1024))]
    pub(crate) password: String,
}

#[derive(Object)]
pub(crate) struct NewApiKey {
    #[oai(validator(min_length = 1, max_length = 200))]
    pub(crate) name: String,
    /// None: until deleted.
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

#[derive(Object)]
pub(crate) struct ApiKeyObject {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// How the key begins, to tell it from others.
    pub(crate) prefix: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
    /// Of the key alone, where an administrator gave it a rate of its own.
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) created_at: Timestamp,
}

/// The only answer that holds the key itself.
#[derive(Object)]
pub(crate) struct CreatedApiKey {
    pub(crate) id: Uuid,
    /// Send it as Bearer. It is not shown again.
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) prefix: String,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self {
            id: user.id.as_uuid(),
            full_name: user.display_name,
            email: user.email,
            created_at: user.created_at.into(),
        }
    }
}

impl From<User> for SignedUp {
    fn from(user: User) -> Self {
        Self {
            id: user.id.as_uuid(),
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            created_at: user.created_at.into(),
        }
    }
}

impl From<User> for SignedInUser {
    fn from(user: User) -> Self {
        Self { id: user.id.as_uuid(), email: user.email, role: user.role.as_str().to_owned() }
    }
}

impl From<User> for CurrentUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.as_uuid(),
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            role: user.role.as_str().to_owned(),
            created_at: user.created_at.into(),
        }
    }
}

impl From<ApiKey> for ApiKeyObject {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.as_uuid(),
            name: key.name,
            prefix: key.prefix,
            expires_at: key.expires_at.map(Into::into),
            last_used_at: key.last_used_at.map(Into::into),
            requests_per_minute: key.requests_per_minute.map(Into::into),
            created_at: key.created_at.into(),
        }
    }
}
