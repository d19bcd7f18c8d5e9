//! Long-lived keys for scripts.

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{ApiKeyId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
    rows::api_keys::{ActiveModel, Column, Entity, Model},
    secrets, users,
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, sea_query::Expr};
use std::num::NonZeroU32;

/// What a key starts with, which tells it from an access token.
pub const API_KEY_PREFIX: &str = "vx_";
/// `last_used_at` is at most this much behind, so that a busy script does not write with every request.
const USE_RESOLUTION: chrono::Duration = chrono::Duration::minutes(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub owner: UserId,
    pub name: String,
    /// The start of the key, by which its owner knows it again.
    pub prefix: String,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    /// Of its own, in place of the rates that its owner's requests have; none has those.
    pub requests_per_minute: Option<NonZeroU32>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone)]
pub struct ApiKeys {
    database: Database,
}

impl ApiKeys {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The key and its plain text, which is not stored and cannot be shown again.
    pub async fn create(
        &self,
        owner: UserId,
        name: &str,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(ApiKey, String)> {
        let plain = format!("{API_KEY_PREFIX}{}", secrets::random_token());
        let key = ApiKey {
            id: ApiKeyId::new(),
            owner,
            name: name.to_owned(),
            prefix: plain.chars().take(API_KEY_PREFIX.len() + 8).collect(),
            expires_at,
            last_used_at: None,
            requests_per_minute: None,
            created_at: self.database.now(),
        };
        let row = ActiveModel {
            id: Set(key.id.into()),
            user_id: Set(owner.into()),
            name: Set(key.name.clone()),
            key_hash: Set(secrets::hash(&plain)),
            prefix: Set(key.prefix.clone()),
            expires_at: Set(expires_at),
            last_used_at: Set(None),
            created_at: Set(key.created_at),
            requests_per_minute: Set(None),
        };
        Entity::insert(row).exec_without_returning(self.database.writer()).await?;
        Ok((key, plain))
    }

    /// Gives the key a rate of its own. One above `i32::MAX` is [`Error::Input`].
    pub async fn set_rate(&self, owner: UserId, id: ApiKeyId, per_minute: NonZeroU32) -> Result<()> {
        let per_minute = i32::try_from(per_minute.get())
            .map_err(|_| Error::input("requests_per_minute", "is too large"))?;
        let updated = Entity::update_many()
            .col_expr(Column::RequestsPerMinute, Expr::value(per_minute))
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::UserId.eq(owner.as_uuid()))
            .exec(self.database.writer())
            .await?;
        if updated.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
    }

    pub async fn list(&self, owner: UserId, page: &Page) -> Result<Listing<ApiKey>> {
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let owned = Entity::find().filter(Column::UserId.eq(owner.as_uuid()));
        let rows = narrow(owned, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(rows.map(ApiKey::from))
    }

    pub async fn delete(&self, owner: UserId, id: ApiKeyId) -> Result<()> {
        let deleted = Entity::delete_many()
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::UserId.eq(owner.as_uuid()))
            .exec(self.database.writer())
            .await?;
        if deleted.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
    }

    /// Whose key this is; as with [`ApiKeys::opened_by`].
    pub async fn owner_of(&self, plain: &str) -> Result<Option<UserId>> {
        Ok(self.opened_by(plain).await?.map(|key| key.owner))
    }

    /// The key that this is; none where it is unknown or expired, or its owner disabled. Notes the use.
    pub async fn opened_by(&self, plain: &str) -> Result<Option<ApiKey>> {
        let now = self.database.now();
        let reader = self.database.reader();
        let row = Entity::find().filter(Column::KeyHash.eq(secrets::hash(plain))).one(reader).await?;
        let Some(row) = row.filter(|row| row.expires_at.is_none_or(|end| end > now)) else {
            return Ok(None);
        };
        let owner = UserId::from(row.user_id);
        if !users::is_enabled(reader, owner).await? {
            return Ok(None);
        }
        if row.last_used_at.is_none_or(|last| last + USE_RESOLUTION <= now) {
            Entity::update_many()
                .col_expr(Column::LastUsedAt, Expr::value(now))
                .filter(Column::Id.eq(row.id))
                .exec(self.database.writer())
                .await?;
        }
        Ok(Some(row.into()))
    }
}

impl From<Model> for ApiKey {
    fn from(row: Model) -> Self {
        Self {
            id: row.id.into(),
            owner: row.user_id.into(),
            name: row.name,
            prefix: row.prefix,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            requests_per_minute: row
                .requests_per_minute
                .and_then(|rate| rate.try_into().ok())
                .and_then(NonZeroU32::new),
            created_at: row.created_at,
        }
    }
}
