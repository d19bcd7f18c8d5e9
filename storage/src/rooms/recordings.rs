//! Recordings of sessions. One of a session runs at a time: the database refuses another. Whoever stops it, a host, the
//! end of the session or five minutes of silence, leaves it to be made a file of by one who holds it meanwhile.

use super::{
    chunks,
    participants::{Seat, check_live},
    rows::{
        recordings::{ActiveModel, Column, Entity, Model},
        sessions,
    },
    sessions_of,
    settling::HOLD,
};
use crate::{
    database::{Database, Turn},
    error::{Conflict, Error, Result},
    files::Files,
    ids::{FileId, JobId, MeetingId, RecordingId, RoomId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
};
use chrono::{DateTime, Utc};
use pipeline::failure::Failure;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Set, SqlErr, UpdateMany, sea_query::Expr,
};

/// A recording that gets no chunk for so long is stopped.
const SILENCE: chrono::Duration = chrono::Duration::minutes(5);

#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub id: RecordingId,
    pub meeting: MeetingId,
    /// Of the room, and of the file that is made.
    pub owner: UserId,
    /// None once the account is erased.
    pub started_by: Option<UserId>,
    pub status: RecordingStatus,
    pub file: Option<FileId>,
    /// Transcribes the file.
    pub job: Option<JobId>,
    /// Why there is no file or no job.
    pub failure: Option<Failure>,
    /// How many came.
    pub chunks: u32,
    pub size_bytes: u64,
    pub started_at: DateTime<Utc>,
    pub stopped_at: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordingStatus {
    Recording,
    Paused,
    Stopped,
    /// No file could be made of it. Its chunks are there, and it may be mended and stopped again.
    Failed,
}

/// For those who may see the session, as with [`Meetings`](super::meetings::Meetings); what changes a recording is its
/// hosts'.
#[derive(Clone)]
pub struct Recordings {
    pub(super) files: Files,
}

impl Recordings {
    pub(crate) fn new(files: Files) -> Self {
        Self { files }
    }

    /// [`Conflict::SessionNotLive`], or [`Conflict::RecordingRuns`] where one does.
    pub async fn start(&self, host: UserId, meeting: MeetingId) -> Result<Recording> {
        let now = self.database().now();
        let transaction = self.database().begin(meeting).await?;
        let seat = Seat::hold(&transaction, host, meeting).await?;
        seat.check_host()?;
        check_live(&seat.meeting)?;
        let row = ActiveModel {
            id: Set(RecordingId::new().into()),
            session_id: Set(meeting.into()),
            started_by: Set(Some(host.into())),
            status: Set(RecordingStatus::Recording.as_str().to_owned()),
            file_id: Set(None),
            job_id: Set(None),
            failure: Set(None),
            chunks: Set(0),
            size_bytes: Set(0),
            started_at: Set(now),
            stopped_at: Set(None),
            last_chunk_at: Set(now),
            held_until: Set(None),
            settled_at: Set(None),
        };
        let row = row.insert(&transaction).await.map_err(|cause| match cause.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Error::from(Conflict::RecordingRuns),
            Some(_) | None => Error::from(cause),
        })?;
        transaction.commit().await?;
        from_row(row, seat.owner())
    }

    /// [`Conflict::NotRecording`] unless one records.
    pub async fn pause(&self, host: UserId, meeting: MeetingId) -> Result<Recording> {
        let step = Step { from: &[RecordingStatus::Recording], to: RecordingStatus::Paused };
        self.change(host, meeting, step).await?.ok_or_else(|| Conflict::NotRecording.into())
    }

    /// [`Conflict::NotPaused`] unless one is paused.
    pub async fn resume(&self, host: UserId, meeting: MeetingId) -> Result<Recording> {
        let step = Step { from: &[RecordingStatus::Paused], to: RecordingStatus::Recording };
        self.change(host, meeting, step).await?.ok_or_else(|| Conflict::NotPaused.into())
    }

    /// Stops the latest recording, or tries it again where no file could be made of it; the caller holds it then.
    /// [`Conflict::NotRecording`] where there is none.
    pub async fn stop(&self, host: UserId, meeting: MeetingId) -> Result<Recording> {
        let from = &[RecordingStatus::Recording, RecordingStatus::Paused, RecordingStatus::Failed];
        let step = Step { from, to: RecordingStatus::Stopped };
        self.change(host, meeting, step).await?.ok_or_else(|| Conflict::NotRecording.into())
    }

    pub async fn find(&self, user: UserId, id: RecordingId) -> Result<Recording> {
        let (row, seat) = seen(self.database().reader(), user, id).await?;
        from_row(row, seat.owner())
    }

    /// Those of the session, the latest first.
    pub async fn list(&self, user: UserId, meeting: MeetingId, page: &Page) -> Result<Listing<Recording>> {
        let reader = self.database().reader();
        let owner = Seat::find(reader, user, meeting).await?.owner();
        let select = Entity::find().filter(Column::SessionId.eq(meeting.as_uuid()));
        let keys = Keys { created_at: Column::StartedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(reader).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.started_at, id: row.id });
        rows.try_map(|row| from_row(row, owner))
    }

    /// Those of all rooms that `owner` owns, the latest first.
    pub async fn list_all(&self, owner: UserId, page: &Page) -> Result<Listing<Recording>> {
        let select = Entity::find().filter(Column::SessionId.in_subquery(sessions_of(owner)));
        let keys = Keys { created_at: Column::StartedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database().reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.started_at, id: row.id });
        rows.try_map(|row| from_row(row, owner))
    }

    /// Stops those that get nothing any more. One that is paused gets nothing, and is not meant to. Returns how many.
    pub async fn stop_silent(&self) -> Result<u64> {
        let now = self.database().now();
        let stopped = Entity::update_many()
            .col_expr(Column::Status, Expr::value(RecordingStatus::Stopped.as_str()))
            .col_expr(Column::StoppedAt, Expr::value(now))
            .filter(Column::Status.eq(RecordingStatus::Recording.as_str()))
            .filter(Column::SettledAt.is_null())
            .filter(Column::LastChunkAt.lte(now - SILENCE))
            .exec(self.database().writer())
            .await?;
        Ok(stopped.rows_affected)
    }

    pub(super) fn database(&self) -> &Database {
        &self.files.database
    }

    /// None where the latest recording is not in a status that the step leads away from.
    async fn change(&self, host: UserId, meeting: MeetingId, step: Step) -> Result<Option<Recording>> {
        let now = self.database().now();
        let transaction = self.database().begin(meeting).await?;
        let seat = Seat::hold(&transaction, host, meeting).await?;
        seat.check_host()?;
        let Some(latest) = latest(&transaction, meeting).await? else { return Ok(None) };
        if step.of(&latest, now).exec(&transaction).await?.rows_affected == 0 {
            return Ok(None);
        }
        let row = Entity::find_by_id(latest.id).one(&transaction).await?.ok_or(Error::NotFound)?;
        transaction.commit().await?;
        from_row(row, seat.owner()).map(Some)
    }
}

impl RecordingStatus {
    pub const ALL: [Self; 4] = [Self::Recording, Self::Paused, Self::Stopped, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "RECORDING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether chunks may come.
    pub fn is_open(self) -> bool {
        match self {
            Self::Recording | Self::Paused | Self::Failed => true,
            Self::Stopped => false,
        }
    }
}

/// From one status to the next.
struct Step {
    from: &'static [RecordingStatus],
    to: RecordingStatus,
}

impl Step {
    /// Changes nothing where somebody else was quicker.
    fn of(&self, row: &Model, now: DateTime<Utc>) -> UpdateMany<Entity> {
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(self.to.as_str()))
            .filter(Column::Id.eq(row.id))
            .filter(Column::Status.is_in(self.from.iter().map(|status| status.as_str())));
        match self.to {
            // The silence of the pause does not count.
            RecordingStatus::Recording => update.col_expr(Column::LastChunkAt, Expr::value(now)),
            RecordingStatus::Stopped => update
                .col_expr(Column::StoppedAt, Expr::value(row.stopped_at.unwrap_or(now)))
                .col_expr(Column::Failure, Expr::value(None::<serde_json::Value>))
                .col_expr(Column::HeldUntil, Expr::value(now + HOLD)),
            RecordingStatus::Paused | RecordingStatus::Failed => update,
        }
    }
}

/// Stops what runs in a session that ends; nobody holds it yet.
pub(super) async fn stop_with(
    transaction: &impl ConnectionTrait,
    meeting: MeetingId,
    now: DateTime<Utc>,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(RecordingStatus::Stopped.as_str()))
        .col_expr(Column::StoppedAt, Expr::value(now))
        .filter(Column::SessionId.eq(meeting.as_uuid()))
        .filter(
            Column::Status
                .is_in([RecordingStatus::Recording, RecordingStatus::Paused].map(RecordingStatus::as_str)),
        )
        .exec(transaction)
        .await?;
    Ok(())
}

/// The chunks of all recordings of the room, whose rows are about to go.
pub(super) async fn discard_of_room(
    transaction: &impl ConnectionTrait,
    room: RoomId,
    now: DateTime<Utc>,
) -> Result<()> {
    let of_room = sessions::Entity::find()
        .select_only()
        .column(sessions::Column::Id)
        .filter(sessions::Column::RoomId.eq(room.as_uuid()))
        .into_query();
    let recordings = Entity::find().filter(Column::SessionId.in_subquery(of_room)).all(transaction).await?;
    for row in recordings {
        chunks::discard(transaction, row.id.into(), now).await?;
    }
    Ok(())
}

/// Takes the chunks of what failed before `before`: nobody has mended it.
pub(crate) async fn sweep(database: &Database, before: DateTime<Utc>) -> Result<()> {
    let transaction = database.begin(Turn::named("sweep of recordings")).await?;
    let failed = Entity::find()
        .filter(Column::Status.eq(RecordingStatus::Failed.as_str()))
        .filter(Column::SettledAt.is_null())
        .filter(Column::LastChunkAt.lt(before))
        .filter(Column::StoppedAt.lt(before))
        .filter(Column::Chunks.gt(0))
        // A chunk may come after all.
        .lock_exclusive()
        .all(&transaction)
        .await?;
    for row in failed {
        chunks::discard(&transaction, row.id.into(), database.now()).await?;
        chunks::count_none(&transaction, row.id.into()).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The recording and the place of the user in its session.
pub(super) async fn seen(
    database: &impl ConnectionTrait,
    user: UserId,
    id: RecordingId,
) -> Result<(Model, Seat)> {
    let row = Entity::find_by_id(id.as_uuid()).one(database).await?.ok_or(Error::NotFound)?;
    let seat = Seat::find(database, user, row.session_id.into()).await?;
    Ok((row, seat))
}

/// The recording, for a host, which nobody else changes before the end of the transaction.
pub(super) async fn held(
    transaction: &impl ConnectionTrait,
    host: UserId,
    id: RecordingId,
) -> Result<Recording> {
    let find = || Entity::find_by_id(id.as_uuid());
    let row = find().one(transaction).await?.ok_or(Error::NotFound)?;
    let seat = Seat::hold(transaction, host, row.session_id.into()).await?;
    seat.check_host()?;
    let row = find().lock_exclusive().one(transaction).await?.ok_or(Error::NotFound)?;
    from_row(row, seat.owner())
}

pub(super) fn from_row(row: Model, owner: UserId) -> Result<Recording> {
    let status = RecordingStatus::parse(&row.status)
        .ok_or_else(|| Error::internal(format!("the row has the unknown status {}", row.status)))?;
    Ok(Recording {
        id: row.id.into(),
        meeting: row.session_id.into(),
        owner,
        started_by: row.started_by.map(UserId::from),
        status,
        file: row.file_id.map(FileId::from),
        job: row.job_id.map(JobId::from),
        failure: row.failure.map(serde_json::from_value).transpose()?,
        chunks: row.chunks.unsigned_abs(),
        size_bytes: row.size_bytes.unsigned_abs(),
        started_at: row.started_at,
        stopped_at: row.stopped_at,
    })
}

async fn latest(database: &impl ConnectionTrait, meeting: MeetingId) -> Result<Option<Model>> {
    let select = Entity::find().filter(Column::SessionId.eq(meeting.as_uuid()));
    Ok(select.order_by_desc(Column::StartedAt).order_by_desc(Column::Id).one(database).await?)
}
