//! Sessions of rooms, which the code calls meetings, for the word session is taken. One is scheduled and then started or
//! cancelled, or started at once; a live one ends. Each step is taken only from the status that it leads away from, and a
//! room has one live session at most: the database refuses another.

use super::{
    owned,
    participants::{self, Seat},
    recordings,
    rows::sessions::{ActiveModel, Column, Entity, Model},
    seen, sessions_of,
};
use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    ids::{MeetingId, RoomId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
    rooms::Room,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, Set, SqlErr, UpdateMany,
    sea_query::Expr,
};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    pub id: MeetingId,
    pub room: RoomId,
    pub status: MeetingStatus,
    pub scheduled_start_time: Option<DateTime<Utc>>,
    pub actual_start_time: Option<DateTime<Utc>>,
    pub actual_end_time: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MeetingStatus {
    Scheduled,
    Live,
    Ended,
    Cancelled,
}

/// What happens in rooms. Strangers find nothing there ([`Error::NotFound`]); those who take part are told what is the
/// host's ([`Error::Forbidden`]).
#[derive(Clone)]
pub struct Meetings {
    pub(super) database: Database,
}

impl Meetings {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Starts the scheduled session, or a new one. The room's owner is in it, as its host.
    /// [`Conflict::RoomLive`] while the room has a live one.
    pub async fn start(&self, owner: UserId, room: RoomId, scheduled: Option<MeetingId>) -> Result<Meeting> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let room = owned(&transaction, owner, room).await?;
        let row = match scheduled {
            None => {
                let row = ActiveModel { actual_start_time: Set(Some(now)), ..new_row(room.id, now) };
                row.insert(&transaction).await.map_err(or_live)?
            }
            Some(id) => {
                let row = of_room(&transaction, room.id, id).await?;
                let step = Step { from: MeetingStatus::Scheduled, to: MeetingStatus::Live, now };
                let change = step.of(row.id).col_expr(Column::ActualStartTime, Expr::value(now));
                if change.exec(&transaction).await.map_err(or_live)?.rows_affected == 0 {
                    return Err(Conflict::SessionNotScheduled.into());
                }
                one(&transaction, row.id).await?
            }
        };
        participants::admit(&transaction, (&row, &room), owner, now).await?;
        transaction.commit().await?;
        row.try_into()
    }

    pub async fn schedule(&self, owner: UserId, room: RoomId, start: DateTime<Utc>) -> Result<Meeting> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let room = owned(&transaction, owner, room).await?;
        let row = ActiveModel {
            status: Set(MeetingStatus::Scheduled.as_str().to_owned()),
            scheduled_start_time: Set(Some(start)),
            ..new_row(room.id, now)
        };
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// [`Conflict::SessionNotScheduled`] unless it is yet to be.
    pub async fn cancel(&self, host: UserId, id: MeetingId) -> Result<Meeting> {
        let now = self.database.now();
        let transaction = self.database.begin(id).await?;
        Seat::hold(&transaction, host, id).await?.check_host()?;
        let step = Step { from: MeetingStatus::Scheduled, to: MeetingStatus::Cancelled, now };
        if step.of(id.as_uuid()).exec(&transaction).await?.rows_affected == 0 {
            return Err(Conflict::SessionNotScheduled.into());
        }
        let row = one(&transaction, id.as_uuid()).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// Everybody leaves, and the recording stops. [`Conflict::SessionNotLive`] unless it is live.
    pub async fn end(&self, host: UserId, id: MeetingId) -> Result<Meeting> {
        let now = self.database.now();
        let transaction = self.database.begin(id).await?;
        Seat::hold(&transaction, host, id).await?.check_host()?;
        let step = Step { from: MeetingStatus::Live, to: MeetingStatus::Ended, now };
        let change = step.of(id.as_uuid()).col_expr(Column::ActualEndTime, Expr::value(now));
        if change.exec(&transaction).await?.rows_affected == 0 {
            return Err(Conflict::SessionNotLive.into());
        }
        participants::dismiss(&transaction, id, now).await?;
        recordings::stop_with(&transaction, id, now).await?;
        let row = one(&transaction, id.as_uuid()).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// Those of the room, for its owner and for who took part in one.
    pub async fn list(&self, user: UserId, room: RoomId, page: &Page) -> Result<Listing<Meeting>> {
        let reader = self.database.reader();
        let room = seen(reader, user, room).await?;
        let select = Entity::find().filter(Column::RoomId.eq(room.id));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(reader).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(Meeting::try_from)
    }

    /// Those of all rooms that `owner` owns.
    pub async fn list_all(&self, owner: UserId, page: &Page) -> Result<Listing<Meeting>> {
        let select = Entity::find().filter(Column::Id.in_subquery(sessions_of(owner)));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(Meeting::try_from)
    }

    /// The live session of a room that the caller has found.
    pub async fn live(&self, room: &Room) -> Result<Option<Meeting>> {
        let row = Entity::find()
            .filter(Column::RoomId.eq(room.id.as_uuid()))
            .filter(Column::Status.eq(MeetingStatus::Live.as_str()))
            .one(self.database.reader())
            .await?;
        row.map(Meeting::try_from).transpose()
    }
}

impl MeetingStatus {
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Live, Self::Ended, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "SCHEDULED",
            Self::Live => "LIVE",
            Self::Ended => "ENDED",
            Self::Cancelled => "CANCELLED",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// From one status to the next.
struct Step {
    from: MeetingStatus,
    to: MeetingStatus,
    now: DateTime<Utc>,
}

impl Step {
    /// Changes nothing where somebody else was quicker.
    fn of(&self, id: Uuid) -> UpdateMany<Entity> {
        Entity::update_many()
            .col_expr(Column::Status, Expr::value(self.to.as_str()))
            .col_expr(Column::UpdatedAt, Expr::value(self.now))
            .filter(Column::Id.eq(id))
            .filter(Column::Status.eq(self.from.as_str()))
    }
}

/// A live one that has no times yet.
fn new_row(room: Uuid, now: DateTime<Utc>) -> ActiveModel {
    ActiveModel {
        id: Set(MeetingId::new().into()),
        room_id: Set(room),
        status: Set(MeetingStatus::Live.as_str().to_owned()),
        scheduled_start_time: Set(None),
        actual_start_time: Set(None),
        actual_end_time: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
    }
}

async fn of_room(database: &impl ConnectionTrait, room: Uuid, id: MeetingId) -> Result<Model> {
    let row = Entity::find_by_id(id.as_uuid()).filter(Column::RoomId.eq(room)).one(database).await?;
    row.ok_or_else(|| Error::MissingInput { field: "sessionId".to_owned() })
}

async fn one(database: &impl ConnectionTrait, id: Uuid) -> Result<Model> {
    Entity::find_by_id(id).one(database).await?.ok_or(Error::NotFound)
}

/// The index that lets a room have one live session has refused another.
fn or_live(cause: DbErr) -> Error {
    match cause.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Conflict::RoomLive.into(),
        Some(_) | None => cause.into(),
    }
}

impl TryFrom<Model> for Meeting {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let status = MeetingStatus::parse(&row.status)
            .ok_or_else(|| Error::internal(format!("the row has the unknown status {}", row.status)))?;
        Ok(Self {
            id: row.id.into(),
            room: row.room_id.into(),
            status,
            scheduled_start_time: row.scheduled_start_time,
            actual_start_time: row.actual_start_time,
            actual_end_time: row.actual_end_time,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
