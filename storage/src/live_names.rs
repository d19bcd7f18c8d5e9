//! Who speaks under which name in a room of the media server. A name is its account's for as long as it is held, so that
//! nobody takes another's place.

use crate::{
    database::Database,
    error::{Conflict, Result},
    ids::UserId,
    rows::live_names::{ActiveModel, Column, Entity},
};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, Set, sea_query::OnConflict};
use std::time::Duration;

/// A name in a room; both are whatever text their users like.
#[derive(Clone, Copy, Debug)]
pub struct LiveName<'a> {
    pub room: &'a str,
    pub identity: &'a str,
}

#[derive(Clone)]
pub struct LiveNames {
    database: Database,
}

impl LiveNames {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Holds the name for `owner`, anew or for longer. [`Conflict::NameTaken`] while another account holds it.
    pub async fn hold(&self, owner: UserId, name: LiveName<'_>, lifetime: Duration) -> Result<()> {
        let now = self.database.now();
        let row = ActiveModel {
            room: Set(name.room.to_owned()),
            identity: Set(name.identity.to_owned()),
            owner_id: Set(owner.into()),
            expires_at: Set(now + lifetime),
        };
        let free = Column::OwnerId.eq(owner.as_uuid()).or(Column::ExpiresAt.lte(now));
        let mut take = OnConflict::columns([Column::Room, Column::Identity]);
        take.update_columns([Column::OwnerId, Column::ExpiresAt]).action_and_where(free);
        // One statement, so that of two at once one is refused.
        let taken =
            Entity::insert(row).on_conflict(take).exec_without_returning(self.database.writer()).await?;
        if taken == 0 { Err(Conflict::NameTaken.into()) } else { Ok(()) }
    }

    /// Whether an account holds the name.
    pub async fn is_held(&self, name: LiveName<'_>) -> Result<bool> {
        let key = (name.room.to_owned(), name.identity.to_owned());
        let row = Entity::find_by_id(key).one(self.database.reader()).await?;
        Ok(row.is_some_and(|row| row.expires_at > self.database.now()))
    }
}

/// Frees the names that were held until before `now`.
pub(crate) async fn sweep(database: &Database, now: DateTime<Utc>) -> Result<u64> {
    let swept = Entity::delete_many().filter(Column::ExpiresAt.lte(now)).exec(database.writer()).await?;
    Ok(swept.rows_affected)
}
