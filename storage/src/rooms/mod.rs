//! Rooms: where sessions are held. A room is its owner's; who took part in a session of it may see it, and is told what
//! is the owner's alone. To everybody else it does not exist, unless they have its code.

pub mod chat;
pub mod chunks;
pub mod meetings;
pub mod participants;
pub mod recordings;
pub(crate) mod rows;
pub mod settling;

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{RoomId, UserId},
    page::{Keys, Listing, Page, Position, listing, narrow},
};
use chrono::{DateTime, Utc};
use rows::{
    rooms::{ActiveModel, Column, Entity, Model},
    session_participants, sessions,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, ModelTrait, QueryFilter,
    QuerySelect, QueryTrait, Set, SqlErr, sea_query::SelectStatement,
};

/// What codes are made of: no character looks or is read like another, and no word comes of them.
const ALPHABET: &[u8] = b"CDFHJKMNPQRTWXY34679";
/// How many characters stand together, in how many groups.
const GROUP: usize = 3;
const GROUPS: usize = 3;
/// Two rooms in half a million million have one code, so a second try is rare already.
const TRIES: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    pub id: RoomId,
    pub owner: UserId,
    pub name: String,
    /// Such as `CDF-HJK-MNP`.
    pub unique_code: String,
    /// Whether a passcode is needed to join.
    pub is_private: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub struct NewRoom {
    pub owner: UserId,
    pub name: String,
    /// Makes the room private.
    pub passcode_hash: Option<String>,
}

pub struct RoomChange {
    /// None leaves it.
    pub name: Option<String>,
    pub door: Door,
}

/// Who may join after a change.
pub enum Door {
    /// Who could before.
    AsBefore,
    Open,
    /// Who knows the passcode of this hash.
    Locked(String),
    /// Who knows the passcode that the room must have already.
    StillLocked,
}

#[derive(Clone)]
pub struct Rooms {
    database: Database,
}

impl Rooms {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    pub async fn create(&self, new: NewRoom) -> Result<Room> {
        let now = self.database.now();
        let row = ActiveModel {
            id: Set(RoomId::new().into()),
            name: Set(new.name),
            unique_code: Set(new_code()),
            owner_id: Set(new.owner.into()),
            is_private: Set(new.passcode_hash.is_some()),
            passcode_hash: Set(new.passcode_hash),
            created_at: Set(now),
            updated_at: Set(now),
        };
        for _ in 1..TRIES {
            let another = ActiveModel { unique_code: Set(new_code()), ..row.clone() };
            match another.insert(self.database.writer()).await {
                Err(cause) if matches!(cause.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {}
                inserted => return Ok(inserted?.into()),
            }
        }
        Ok(row.insert(self.database.writer()).await?.into())
    }

    /// For its owner, and for who took part in a session of it.
    pub async fn find(&self, user: UserId, id: RoomId) -> Result<Room> {
        Ok(seen(self.database.reader(), user, id).await?.into())
    }

    /// For whoever has the code, however they write it.
    pub async fn by_code(&self, code: &str) -> Result<Room> {
        let select = Entity::find().filter(Column::UniqueCode.eq(normal_code(code)));
        Ok(select.one(self.database.reader()).await?.ok_or(Error::NotFound)?.into())
    }

    /// Those that `owner` owns.
    pub async fn list(&self, owner: UserId, page: &Page) -> Result<Listing<Room>> {
        let select = Entity::find().filter(Column::OwnerId.eq(owner.as_uuid()));
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(rows.map(Room::from))
    }

    /// [`Error::Input`] where a room without a passcode is to stay locked.
    pub async fn change(&self, owner: UserId, id: RoomId, change: RoomChange) -> Result<Room> {
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        let passcode_hash = match change.door {
            Door::AsBefore => row.passcode_hash.clone(),
            Door::Open => None,
            Door::Locked(hash) => Some(hash),
            Door::StillLocked => match row.passcode_hash.clone() {
                None => return Err(Error::input("passcode", "is required for a private room")),
                kept => kept,
            },
        };
        let mut row = row.into_active_model();
        if let Some(name) = change.name {
            row.name = Set(name);
        }
        row.is_private = Set(passcode_hash.is_some());
        row.passcode_hash = Set(passcode_hash);
        row.updated_at = Set(self.database.now());
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        Ok(row.into())
    }

    /// Its sessions and all that was said in them go with it; files that were made of recordings stay.
    pub async fn delete(&self, owner: UserId, id: RoomId) -> Result<()> {
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        recordings::discard_of_room(&transaction, id, self.database.now()).await?;
        row.delete(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// The room, for its owner and for who took part in a session of it.
async fn seen(database: &impl ConnectionTrait, user: UserId, id: RoomId) -> Result<Model> {
    let row = Entity::find_by_id(id.as_uuid()).one(database).await?.ok_or(Error::NotFound)?;
    if row.owner_id == user.as_uuid() || took_part(database, user, id).await? {
        return Ok(row);
    }
    Err(Error::NotFound)
}

/// The room, for its owner. [`Error::Forbidden`] for others who may see it.
async fn owned(database: &impl ConnectionTrait, owner: UserId, id: RoomId) -> Result<Model> {
    let row = seen(database, owner, id).await?;
    if row.owner_id == owner.as_uuid() { Ok(row) } else { Err(Error::Forbidden) }
}

/// The ids of the sessions of all rooms that `owner` owns.
fn sessions_of(owner: UserId) -> SelectStatement {
    let rooms = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::OwnerId.eq(owner.as_uuid()))
        .into_query();
    sessions::Entity::find()
        .select_only()
        .column(sessions::Column::Id)
        .filter(sessions::Column::RoomId.in_subquery(rooms))
        .into_query()
}

async fn took_part(database: &impl ConnectionTrait, user: UserId, id: RoomId) -> Result<bool> {
    let of_room = sessions::Entity::find()
        .select_only()
        .column(sessions::Column::Id)
        .filter(sessions::Column::RoomId.eq(id.as_uuid()))
        .into_query();
    let row = session_participants::Entity::find()
        .filter(session_participants::Column::UserId.eq(user.as_uuid()))
        .filter(session_participants::Column::SessionId.in_subquery(of_room))
        .one(database)
        .await?;
    Ok(row.is_some())
}

fn new_code() -> String {
    let characters: Vec<u8> =
        (0..GROUP * GROUPS).map(|_| ALPHABET[rand::random_range(0..ALPHABET.len())]).collect();
    grouped(characters.into_iter().map(char::from))
}

/// As it is stored: in capitals and groups, whatever stood between the characters.
fn normal_code(code: &str) -> String {
    grouped(code.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_uppercase()))
}

fn grouped(characters: impl Iterator<Item = char>) -> String {
    let mut code = String::new();
    for (index, character) in characters.enumerate() {
        if index > 0 && index % GROUP == 0 {
            code.push('-');
        }
        code.push(character);
    }
    code
}

impl From<Model> for Room {
    fn from(row: Model) -> Self {
        Self {
            id: row.id.into(),
            owner: row.owner_id.into(),
            name: row.name,
            unique_code: row.unique_code,
            is_private: row.is_private,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
