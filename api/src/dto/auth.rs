//! Accounts, tokens and keys.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
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
    /// Good for one refresh.
    pub(crate) refresh_token: String,
    /// Always `bearer`.
    pub(crate) token_type: String,
    /// Seconds that the access token lives.
    pub(crate) expires_in: i64,
}

/// A refresh token, for clients that do not send it as Bearer.
#[derive(Object)]
pub(crate) struct RefreshRequest {
    #[oai(validator(min_length = 1, max_length = 1024))]
    pub(crate) refresh_token: String,
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
