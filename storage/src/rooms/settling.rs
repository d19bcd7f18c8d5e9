//! What becomes of a recording that has stopped: whoever makes a file of it holds it meanwhile, and settles it or lets it
//! go. Where two do so all the same, the rows let one of them through.

use super::{
    participants::room_of,
    recordings::{Recording, RecordingStatus, Recordings, from_row},
    rows::{
        recordings::{Column, Entity, Model},
        sessions,
    },
};
use crate::{
    database::Turn,
    error::{Error, Result},
    ids::{FileId, JobId, MeetingId, UserId},
};
use chrono::{DateTime, Utc};
use pipeline::failure::Failure;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany,
    sea_query::Expr,
};

/// How long whoever makes a file of a recording has it to themselves. One who takes longer is not hurt: the file is
/// still made once.
pub(super) const HOLD: chrono::Duration = chrono::Duration::minutes(30);
/// How long nobody tries what somebody could not do just now.
const PAUSE: chrono::Duration = chrono::Duration::minutes(1);

/// What became of a file's transcription.
pub enum Settled {
    Job(JobId),
    Without(Failure),
}

impl Recordings {
    /// A stopped recording, of this session or of any, that is not settled and that nobody holds; the caller does then.
    pub async fn claim(&self, meeting: Option<MeetingId>) -> Result<Option<Recording>> {
        let now = self.database().now();
        let mut free = Condition::all()
            .add(Column::Status.eq(RecordingStatus::Stopped.as_str()))
            .add(Column::SettledAt.is_null())
            .add(Condition::any().add(Column::HeldUntil.is_null()).add(Column::HeldUntil.lt(now)));
        if let Some(meeting) = meeting {
            free = free.add(Column::SessionId.eq(meeting.as_uuid()));
        }
        let transaction = self.database().begin(Turn::named("recordings to settle")).await?;
        let row = Entity::find()
            .filter(free.clone())
            .order_by_asc(Column::LastChunkAt)
            .lock_exclusive()
            .one(&transaction)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let held = Entity::update_many()
            .col_expr(Column::HeldUntil, Expr::value(now + HOLD))
            .filter(Column::Id.eq(row.id))
            .filter(free)
            .exec(&transaction)
            .await?;
        let owner = owner_of(&transaction, &row).await?;
        transaction.commit().await?;
        if held.rows_affected == 0 { Ok(None) } else { from_row(row, owner).map(Some) }
    }

    /// Lets go of one that nothing could be made of for now. Somebody may try again in a minute.
    pub async fn release(&self, recording: &Recording) -> Result<()> {
        let later = self.database().now() + PAUSE;
        let let_go = unsettled(recording).col_expr(Column::HeldUntil, Expr::value(later));
        let_go.exec(self.database().writer()).await?;
        Ok(())
    }

    /// No file can be made of it as it is.
    pub async fn fail(&self, recording: &Recording, failure: &Failure) -> Result<()> {
        let failed = unsettled(recording)
            .col_expr(Column::Status, Expr::value(RecordingStatus::Failed.as_str()))
            .col_expr(Column::Failure, Expr::value(serde_json::to_value(failure)?))
            .col_expr(Column::HeldUntil, Expr::value(None::<DateTime<Utc>>))
            .filter(Column::FileId.is_null());
        failed.exec(self.database().writer()).await?;
        Ok(())
    }

    /// Nothing is left to make of it. Returns it as it is now.
    pub async fn settle(&self, recording: &Recording, settled: Settled) -> Result<Recording> {
        let transaction = self.database().begin(recording.id).await?;
        let update = unsettled(recording).col_expr(Column::SettledAt, Expr::value(self.database().now()));
        let update = match settled {
            Settled::Job(job) => update.col_expr(Column::JobId, Expr::value(job.as_uuid())),
            Settled::Without(failure) => {
                update.col_expr(Column::Failure, Expr::value(serde_json::to_value(failure)?))
            }
        };
        update.exec(&transaction).await?;
        let row = Entity::find_by_id(recording.id.as_uuid()).one(&transaction).await?;
        transaction.commit().await?;
        from_row(row.ok_or(Error::NotFound)?, recording.owner)
    }
}

/// Notes the file of the recording, in the transaction that makes it. [`Error::NotFound`] where it has one, or has gone.
pub(crate) async fn set_file(
    transaction: &impl ConnectionTrait,
    recording: &Recording,
    file: FileId,
) -> Result<()> {
    let set = unsettled(recording)
        .col_expr(Column::FileId, Expr::value(file.as_uuid()))
        .filter(Column::FileId.is_null());
    if set.exec(transaction).await?.rows_affected == 0 { Err(Error::NotFound) } else { Ok(()) }
}

fn unsettled(recording: &Recording) -> UpdateMany<Entity> {
    Entity::update_many()
        .filter(Column::Id.eq(recording.id.as_uuid()))
        .filter(Column::Status.eq(RecordingStatus::Stopped.as_str()))
        .filter(Column::SettledAt.is_null())
}

async fn owner_of(database: &impl ConnectionTrait, row: &Model) -> Result<UserId> {
    let session = sessions::Entity::find_by_id(row.session_id).one(database).await?;
    Ok(room_of(database, &session.ok_or(Error::NotFound)?).await?.owner_id.into())
}
