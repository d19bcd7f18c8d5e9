//! Who takes part in a session, as what, and who shows their screen. One at a time does: the database refuses a second.

use super::{
    meetings::{MeetingStatus, Meetings},
    rows::{
        rooms,
        session_participants::{ActiveModel, Column, Entity, Model},
        sessions,
    },
};
use crate::{
    error::{Conflict, Error, Result},
    ids::{MeetingId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect,
    Set, SqlErr, sea_query::Expr,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    pub meeting: MeetingId,
    pub user: UserId,
    pub role: Role,
    /// The first time.
    pub join_time: DateTime<Utc>,
    /// None while they are there.
    pub leave_time: Option<DateTime<Utc>>,
    pub is_sharing_screen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Host,
    Participant,
    Moderator,
}

/// What one user needs to join one session.
#[derive(Clone, PartialEq, Eq)]
pub struct Entrance {
    user: UserId,
    meeting: MeetingId,
    /// Of the passcode that they must know; none where they need none.
    pub passcode_hash: Option<String>,
}

/// A role for a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appointment {
    pub user: UserId,
    pub role: Role,
}

impl Meetings {
    /// For whoever has the session's id. The room's owner needs no passcode.
    pub async fn entrance(&self, user: UserId, id: MeetingId) -> Result<Entrance> {
        let reader = self.database.reader();
        let row = sessions::Entity::find_by_id(id.as_uuid()).one(reader).await?.ok_or(Error::NotFound)?;
        let room = room_of(reader, &row).await?;
        Ok(Entrance { user, meeting: id, passcode_hash: needed_hash(&room, user) })
    }

    /// Through an entrance whose passcode was given. [`Error::Forbidden`] where the passcode has changed since, and
    /// [`Conflict::SessionNotLive`] where the session is not live. Who has left comes back as what they were.
    pub async fn join(&self, entrance: Entrance) -> Result<Participant> {
        let Entrance { user, meeting, passcode_hash } = entrance;
        let transaction = self.database.begin(meeting).await?;
        let row = sessions::Entity::find_by_id(meeting.as_uuid()).lock_exclusive().one(&transaction).await?;
        let row = row.ok_or(Error::NotFound)?;
        let room = room_of(&transaction, &row).await?;
        if needed_hash(&room, user) != passcode_hash {
            return Err(Error::Forbidden);
        }
        check_live(&row)?;
        let participant = admit(&transaction, (&row, &room), user, self.database.now()).await?;
        transaction.commit().await?;
        participant.try_into()
    }

    /// Whoever has left already stays away.
    pub async fn leave(&self, user: UserId, id: MeetingId) -> Result<()> {
        let transaction = self.database.begin(id).await?;
        let row = Seat::hold(&transaction, user, id).await?.participant.ok_or(Error::NotFound)?;
        if row.leave_time.is_none() {
            let mut row = row.into_active_model();
            row.leave_time = Set(Some(self.database.now()));
            row.is_sharing_screen = Set(false);
            row.update(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Those who are there and those who have left, the latest to come first.
    pub async fn participants(
        &self,
        user: UserId,
        id: MeetingId,
        page: &Page,
    ) -> Result<Listing<Participant>> {
        let reader = self.database.reader();
        Seat::find(reader, user, id).await?;
        let select = Entity::find().filter(Column::SessionId.eq(id.as_uuid()));
        let keys = Keys { created_at: Column::JoinTime, id: Column::UserId };
        let rows = narrow(select, keys, page)?.all(reader).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.join_time, id: row.user_id });
        rows.try_map(Participant::try_from)
    }

    /// What the user takes or took part in, the latest first.
    pub async fn list_parts(&self, user: UserId, page: &Page) -> Result<Listing<Participant>> {
        let select = Entity::find().filter(Column::UserId.eq(user.as_uuid()));
        let keys = Keys { created_at: Column::JoinTime, id: Column::SessionId };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.join_time, id: row.session_id });
        rows.try_map(Participant::try_from)
    }

    /// [`Conflict::OwnerIsHost`] where the room's owner is to be something else.
    pub async fn appoint(
        &self,
        host: UserId,
        id: MeetingId,
        appointment: Appointment,
    ) -> Result<Participant> {
        let transaction = self.database.begin(id).await?;
        let seat = Seat::hold(&transaction, host, id).await?;
        seat.check_host()?;
        check_live(&seat.meeting)?;
        let Appointment { user, role } = appointment;
        let row = find(&transaction, user, id).await?.ok_or(Error::NotFound)?;
        if seat.room.owner_id == user.as_uuid() && role != Role::Host {
            return Err(Conflict::OwnerIsHost.into());
        }
        let mut row = row.into_active_model();
        row.role = Set(role.as_str().to_owned());
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        row.try_into()
    }

    /// [`Conflict::ScreenTaken`] while somebody else shows theirs; once more is fine.
    pub async fn share_screen(&self, user: UserId, id: MeetingId) -> Result<Participant> {
        let transaction = self.database.begin(id).await?;
        let seat = Seat::hold(&transaction, user, id).await?;
        let mut row = seat.into_present()?.into_active_model();
        row.is_sharing_screen = Set(true);
        let row = row.update(&transaction).await.map_err(|cause| match cause.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Error::from(Conflict::ScreenTaken),
            Some(_) | None => Error::from(cause),
        })?;
        transaction.commit().await?;
        row.try_into()
    }

    /// One's own, or as host or moderator whoever's; theirs is the participant returned.
    /// [`Conflict::ScreenFree`] where nobody shows any.
    pub async fn stop_sharing(&self, user: UserId, id: MeetingId) -> Result<Participant> {
        let transaction = self.database.begin(id).await?;
        let seat = Seat::hold(&transaction, user, id).await?;
        check_live(&seat.meeting)?;
        let sharing = Entity::find()
            .filter(Column::SessionId.eq(id.as_uuid()))
            .filter(Column::IsSharingScreen.eq(true))
            .one(&transaction)
            .await?;
        let row = sharing.ok_or(Conflict::ScreenFree)?;
        if row.user_id != user.as_uuid() && !seat.keeps_order() {
            return Err(Error::Forbidden);
        }
        let mut row = row.into_active_model();
        row.is_sharing_screen = Set(false);
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        row.try_into()
    }
}

/// The place of a user in a session, for its room's owner and for who takes or took part.
pub(super) struct Seat {
    pub(super) meeting: sessions::Model,
    room: rooms::Model,
    /// None for an owner who never came.
    participant: Option<Model>,
    user: UserId,
}

impl Seat {
    /// [`Error::NotFound`] for strangers.
    pub(super) async fn find(database: &impl ConnectionTrait, user: UserId, id: MeetingId) -> Result<Self> {
        let row = sessions::Entity::find_by_id(id.as_uuid()).one(database).await?;
        Self::of(database, user, row.ok_or(Error::NotFound)?).await
    }

    /// The same, in a session that nobody else changes before the end of the transaction.
    pub(super) async fn hold(
        transaction: &impl ConnectionTrait,
        user: UserId,
        id: MeetingId,
    ) -> Result<Self> {
        let row = sessions::Entity::find_by_id(id.as_uuid()).lock_exclusive().one(transaction).await?;
        Self::of(transaction, user, row.ok_or(Error::NotFound)?).await
    }

    /// [`Error::Forbidden`] unless they own the room or were made a host.
    pub(super) fn check_host(&self) -> Result<()> {
        if self.is_owner() || self.has_role(Role::Host) { Ok(()) } else { Err(Error::Forbidden) }
    }

    /// [`Conflict::SessionNotLive`] or, where they have left or never came, [`Conflict::NotJoined`].
    pub(super) fn into_present(self) -> Result<Model> {
        check_live(&self.meeting)?;
        let present = self.participant.filter(|row| row.leave_time.is_none());
        present.ok_or_else(|| Conflict::NotJoined.into())
    }

    /// Of the room.
    pub(super) fn owner(&self) -> UserId {
        self.room.owner_id.into()
    }

    fn keeps_order(&self) -> bool {
        self.is_owner() || self.has_role(Role::Host) || self.has_role(Role::Moderator)
    }

    fn is_owner(&self) -> bool {
        self.room.owner_id == self.user.as_uuid()
    }

    fn has_role(&self, role: Role) -> bool {
        self.participant.as_ref().is_some_and(|row| row.role == role.as_str())
    }

    async fn of(database: &impl ConnectionTrait, user: UserId, meeting: sessions::Model) -> Result<Self> {
        let room = room_of(database, &meeting).await?;
        let participant = find(database, user, meeting.id.into()).await?;
        let seat = Self { meeting, room, participant, user };
        if seat.is_owner() || seat.participant.is_some() { Ok(seat) } else { Err(Error::NotFound) }
    }
}

/// Puts the user into the session, or back into it.
pub(super) async fn admit(
    transaction: &impl ConnectionTrait,
    place: (&sessions::Model, &rooms::Model),
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Model> {
    let (meeting, room) = place;
    if let Some(row) = find(transaction, user, meeting.id.into()).await? {
        let mut row = row.into_active_model();
        row.leave_time = Set(None);
        return Ok(row.update(transaction).await?);
    }
    let role = if room.owner_id == user.as_uuid() { Role::Host } else { Role::Participant };
    let row = ActiveModel {
        session_id: Set(meeting.id),
        user_id: Set(user.into()),
        role: Set(role.as_str().to_owned()),
        join_time: Set(now),
        leave_time: Set(None),
        is_sharing_screen: Set(false),
    };
    Ok(row.insert(transaction).await?)
}

/// Takes everybody out of the session.
pub(super) async fn dismiss(
    transaction: &impl ConnectionTrait,
    id: MeetingId,
    now: DateTime<Utc>,
) -> Result<()> {
    Entity::update_many()
        .col_expr(Column::LeaveTime, Expr::value(now))
        .col_expr(Column::IsSharingScreen, Expr::value(false))
        .filter(Column::SessionId.eq(id.as_uuid()))
        .filter(Column::LeaveTime.is_null())
        .exec(transaction)
        .await?;
    Ok(())
}

async fn find(database: &impl ConnectionTrait, user: UserId, id: MeetingId) -> Result<Option<Model>> {
    Ok(Entity::find_by_id((id.as_uuid(), user.as_uuid())).one(database).await?)
}

pub(super) async fn room_of(
    database: &impl ConnectionTrait,
    meeting: &sessions::Model,
) -> Result<rooms::Model> {
    rooms::Entity::find_by_id(meeting.room_id).one(database).await?.ok_or(Error::NotFound)
}

fn needed_hash(room: &rooms::Model, user: UserId) -> Option<String> {
    if room.owner_id == user.as_uuid() { None } else { room.passcode_hash.clone() }
}

pub(super) fn check_live(meeting: &sessions::Model) -> Result<()> {
    if meeting.status == MeetingStatus::Live.as_str() { Ok(()) } else { Err(Conflict::SessionNotLive.into()) }
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Host, Self::Participant, Self::Moderator];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "HOST",
            Self::Participant => "PARTICIPANT",
            Self::Moderator => "MODERATOR",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl TryFrom<Model> for Participant {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let role = Role::parse(&row.role)
            .ok_or_else(|| Error::internal(format!("the row has the unknown role {}", row.role)))?;
        Ok(Self {
            meeting: row.session_id.into(),
            user: row.user_id.into(),
            role,
            join_time: row.join_time,
            leave_time: row.leave_time,
            is_sharing_screen: row.is_sharing_screen,
        })
    }
}
