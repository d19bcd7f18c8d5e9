//! The audit log: what happened to accounts and their keys. Events are added, and removed when the configured retention has
//! passed; nothing else changes them. They name their user still when the account is gone.

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{EventId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
    rows::security_events::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Set};
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Registered,
    LoggedIn,
    /// A wrong password, an unknown address, or a disabled account.
    LoginFailed,
    LoggedOut,
    /// A refresh token came a second time, and its login was revoked.
    RefreshReused,
    PasswordChanged,
    /// Somebody asked for a link that sets a new password.
    PasswordResetAsked,
    /// By such a link.
    PasswordReset,
    EmailChanged,
    AccountErased,
    AccountDisabled,
    AccountEnabled,
    ApiKeyMade,
    ApiKeyDeleted,
    /// The key that signs webhooks was replaced.
    WebhookSecretRotated,
    /// By the owner of the machine, as the next ones are.
    AdminAdded,
    AdminRemoved,
    ApiKeyMadeByAdmin,
}

#[derive(Clone, Debug)]
pub struct NewEvent {
    pub kind: EventKind,
    /// Whom it happened to; none where the account is unknown.
    pub user: Option<UserId>,
    /// Where it came from; none where it came from the machine itself.
    pub client_address: Option<IpAddr>,
    pub request_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub kind: EventKind,
    pub user: Option<UserId>,
    pub client_address: Option<String>,
    pub request_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone)]
pub struct Audit {
    database: Database,
}

impl Audit {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn record(&self, new: NewEvent) -> Result<()> {
        let row = ActiveModel {
            id: Set(EventId::new().into()),
            kind: Set(new.kind.as_str().to_owned()),
            user_id: Set(new.user.map(Into::into)),
            client_address: Set(new.client_address.map(|address| address.to_string())),
            request_id: Set(new.request_id),
            created_at: Set(self.database.now()),
        };
        Entity::insert(row).exec_without_returning(self.database.writer()).await?;
        Ok(())
    }

    /// Those of one user, or all: for the owner of the machine alone.
    pub async fn list(&self, user: Option<UserId>, page: &Page) -> Result<Listing<Event>> {
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let events =
            Entity::find().apply_if(user, |events, user| events.filter(Column::UserId.eq(user.as_uuid())));
        let rows = narrow(events, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(Event::try_from)
    }
}

impl EventKind {
    pub const ALL: [Self; 18] = [
        Self::Registered,
        Self::LoggedIn,
        Self::LoginFailed,
        Self::LoggedOut,
        Self::RefreshReused,
        Self::PasswordChanged,
        Self::PasswordResetAsked,
        Self::PasswordReset,
        Self::EmailChanged,
        Self::AccountErased,
        Self::AccountDisabled,
        Self::AccountEnabled,
        Self::ApiKeyMade,
        Self::ApiKeyDeleted,
        Self::WebhookSecretRotated,
        Self::AdminAdded,
        Self::AdminRemoved,
        Self::ApiKeyMadeByAdmin,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::LoggedIn => "logged_in",
            Self::LoginFailed => "login_failed",
            Self::LoggedOut => "logged_out",
            Self::RefreshReused => "refresh_reused",
            Self::PasswordChanged => "password_changed",
            Self::PasswordResetAsked => "password_reset_asked",
            Self::PasswordReset => "password_reset",
            Self::EmailChanged => "email_changed",
            Self::AccountErased => "account_erased",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::ApiKeyMade => "api_key_made",
            Self::ApiKeyDeleted => "api_key_deleted",
            Self::WebhookSecretRotated => "webhook_secret_rotated",
            Self::AdminAdded => "admin_added",
            Self::AdminRemoved => "admin_removed",
            Self::ApiKeyMadeByAdmin => "api_key_made_by_admin",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::internal(format!("the row has the unknown kind {text}")))
    }
}

impl TryFrom<Model> for Event {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        Ok(Self {
            id: row.id.into(),
            kind: EventKind::parse(&row.kind)?,
            user: row.user_id.map(Into::into),
            client_address: row.client_address,
            request_id: row.request_id,
            created_at: row.created_at,
        })
    }
}

/// Removes the events from before `before`.
pub(crate) async fn sweep(database: &Database, before: DateTime<Utc>) -> Result<u64> {
    let swept = Entity::delete_many().filter(Column::CreatedAt.lt(before)).exec(database.writer()).await?;
    Ok(swept.rows_affected)
}
