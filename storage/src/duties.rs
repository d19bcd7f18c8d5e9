//! What one process does for all: dispatching, sweeping. Whoever has a duty has it for a while; when it dies or leaves,
//! another takes it. Two may believe to have one for a moment, so what is done under it must bear that.

use crate::{
    database::Database,
    error::Result,
    fleet_rows::duties::{ActiveModel, Column, Entity},
};
use sea_orm::{ColumnTrait, EntityTrait, ExprTrait, QueryFilter, Set, sea_query::OnConflict};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Dispatch,
    Reap,
    Sweep,
}

#[derive(Clone)]
pub struct Duties {
    database: Database,
}

impl Duties {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Whether `holder` has the duty, anew or still, for so long from now. In SQLite whoever asks has it: nobody else is
    /// there.
    pub async fn take(&self, duty: Duty, holder: &str, lifetime: Duration) -> Result<bool> {
        if !self.database.is_postgres() {
            return Ok(true);
        }
        let now = self.database.now();
        let row = ActiveModel {
            name: Set(duty.as_str().to_owned()),
            holder: Set(holder.to_owned()),
            held_until: Set(now + lifetime),
        };
        let free = Column::Holder.eq(holder).or(Column::HeldUntil.lte(now));
        let mut take = OnConflict::column(Column::Name);
        take.update_columns([Column::Holder, Column::HeldUntil]).action_and_where(free);
        // One statement, so that of two at once one comes too late.
        let taken =
            Entity::insert(row).on_conflict(take).exec_without_returning(self.database.writer()).await?;
        Ok(taken > 0)
    }

    /// Somebody else may take it at once.
    pub async fn give_up(&self, duty: Duty, holder: &str) -> Result<()> {
        Entity::delete_by_id(duty.as_str().to_owned())
            .filter(Column::Holder.eq(holder))
            .exec(self.database.writer())
            .await?;
        Ok(())
    }
}

impl Duty {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Reap => "reap",
            Self::Sweep => "sweep",
        }
    }
}
