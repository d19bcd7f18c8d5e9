//! The keys that sign webhooks: one of each user, made when it is first needed.

use super::{Webhooks, rows::secrets};
use crate::{
    error::{Error, Result},
    ids::UserId,
    secrets::random_token,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set,
    sea_query::{Expr, OnConflict},
};
use std::fmt;

/// How long a key that was replaced still signs beside the new one.
pub const OVERLAP: chrono::Duration = chrono::Duration::hours(24);

/// Whoever has it can speak in our name to the receivers of one user, who is shown it.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeys {
    pub current: SigningKey,
    pub created_at: DateTime<Utc>,
    /// The one before, and until when it signs too.
    pub previous: Option<(SigningKey, DateTime<Utc>)>,
}

impl Webhooks {
    /// Those that sign now. The first call makes one.
    pub async fn keys(&self, owner: UserId) -> Result<SigningKeys> {
        let now = self.database.now();
        let row = match find(self.database.reader(), owner).await? {
            Some(row) => row,
            None => made(self.database.writer(), owner, now).await?,
        };
        keys(row, now)
    }

    /// Replaces the key. The old one signs too for [`OVERLAP`]; one that was replaced before it no longer does.
    pub async fn rotate(&self, owner: UserId) -> Result<SigningKeys> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let old = made(&transaction, owner, now).await?;
        let row = secrets::Model {
            user_id: old.user_id,
            secret: random_token(),
            created_at: now,
            previous: Some(old.secret),
            previous_until: Some(now + OVERLAP),
        };
        secrets::Entity::update_many()
            .col_expr(secrets::Column::Secret, Expr::value(row.secret.clone()))
            .col_expr(secrets::Column::CreatedAt, Expr::value(row.created_at))
            .col_expr(secrets::Column::Previous, Expr::value(row.previous.clone()))
            .col_expr(secrets::Column::PreviousUntil, Expr::value(row.previous_until))
            .filter(secrets::Column::UserId.eq(row.user_id))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        keys(row, now)
    }
}

impl SigningKey {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn parse(text: &str) -> Result<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key).map_err(Error::internal)?;
        Ok(Self(key))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey(…)")
    }
}

/// The row, which is made where there is none: of two who make it at once, both get the same.
async fn made(database: &impl ConnectionTrait, owner: UserId, now: DateTime<Utc>) -> Result<secrets::Model> {
    let row = secrets::ActiveModel {
        user_id: Set(owner.into()),
        secret: Set(random_token()),
        created_at: Set(now),
        previous: Set(None),
        previous_until: Set(None),
    };
    secrets::Entity::insert(row)
        .on_conflict(OnConflict::column(secrets::Column::UserId).do_nothing().to_owned())
        .exec_without_returning(database)
        .await?;
    find(database, owner).await?.ok_or(Error::NotFound)
}

async fn find(database: &impl ConnectionTrait, owner: UserId) -> Result<Option<secrets::Model>> {
    Ok(secrets::Entity::find_by_id(owner.as_uuid()).one(database).await?)
}

fn keys(row: secrets::Model, now: DateTime<Utc>) -> Result<SigningKeys> {
    let previous = row.previous.zip(row.previous_until).filter(|(_, until)| *until > now);
    Ok(SigningKeys {
        current: SigningKey::parse(&row.secret)?,
        created_at: row.created_at,
        previous: previous
            .map(|(text, until)| Ok::<_, Error>((SigningKey::parse(&text)?, until)))
            .transpose()?,
    })
}
