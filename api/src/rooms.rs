//! Rooms, and how sessions of them begin.

use std::sync::Arc;

use chrono::Utc;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::ids::{MeetingId, RoomId};
use storage::rooms::{Door, RoomChange};
use uuid::Uuid;

use crate::app::App;
use crate::body::{Body, OptionalBody};
use crate::caller::Caller;
use crate::dto::rooms::{
    FoundRoom, NewRoom, RoomObject, RoomPatch, ScheduleSession, SessionObject, StartSession,
};
use crate::dto::{Data, DataList, Done, page};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

pub(crate) struct RoomsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum CreatedRoom {
    /// The room exists now
    #[oai(status = 201)]
    Created(Json<Data<RoomObject>>),
}

#[derive(ApiResponse)]
enum CreatedSession {
    /// The session is live, or is to be
    #[oai(status = 201)]
    Created(Json<Data<SessionObject>>),
}

#[OpenApi(prefix_path = "/api/v1/rooms", tag = "Tag::Rooms")]
impl RoomsApi {
    /// Make a room
    ///
    /// A private one needs a passcode. Its code is made here.
    #[oai(path = "/", method = "post", operation_id = "create_room")]
    async fn create(&self, caller: Caller, body: Body<NewRoom>) -> Result<CreatedRoom> {
        let NewRoom { name, is_private, passcode } = body.value;
        check_name(&name)?;
        let passcode_hash = match self.door(is_private, passcode).await? {
            Door::AsBefore | Door::Open => None,
            Door::Locked(hash) => Some(hash),
            Door::StillLocked => return Err(ApiError::invalid("passcode", "is required for a private room")),
        };
        let new = storage::rooms::NewRoom { owner: caller.user, name, passcode_hash };
        let room = self.app.services.storage.rooms.create(new).await?;
        Ok(CreatedRoom::Created(Json(Data { data: room.into() })))
    }

    /// List one's own rooms, newest first
    #[oai(path = "/", method = "get", operation_id = "list_rooms")]
    async fn list(
        &self,
        caller: Caller,
        /// Rooms of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<DataList<RoomObject>>> {
        let rooms = self.app.services.storage.rooms.list(caller.user, &page(limit.0, cursor.0)).await?;
        Ok(Json(DataList::of(rooms)))
    }

    /// Get a room
    ///
    /// For its owner, and for who took part in a session of it.
    #[oai(path = "/:room_id", method = "get", operation_id = "get_room")]
    async fn get(&self, caller: Caller, room_id: Path<Uuid>) -> Result<Json<Data<RoomObject>>> {
        let room = self.app.services.storage.rooms.find(caller.user, RoomId::from(room_id.0)).await?;
        Ok(Json(Data { data: room.into() }))
    }

    /// Find a room by its code
    ///
    /// For everybody who has the code, in capitals or not, with hyphens or without.
    #[oai(path = "/by-code/:unique_code", method = "get", operation_id = "find_room_by_code")]
    async fn by_code(&self, _caller: Caller, unique_code: Path<String>) -> Result<Json<Data<FoundRoom>>> {
        let storage = &self.app.services.storage;
        let room = storage.rooms.by_code(&unique_code.0).await?;
        let live_session = storage.meetings.live(&room).await?.map(SessionObject::from);
        Ok(Json(Data { data: FoundRoom { room: room.into(), live_session } }))
    }

    /// Change a room
    ///
    /// What is absent stays as it is.
    #[oai(path = "/:room_id", method = "put", operation_id = "update_room")]
    async fn update(
        &self,
        caller: Caller,
        room_id: Path<Uuid>,
        body: Body<RoomPatch>,
    ) -> Result<Json<Data<RoomObject>>> {
        let RoomPatch { name, is_private, passcode } = body.value;
        name.as_deref().map_or(Ok(()), check_name)?;
        let change = RoomChange { name, door: self.door(is_private, passcode).await? };
        let rooms = &self.app.services.storage.rooms;
        let room = rooms.change(caller.user, RoomId::from(room_id.0), change).await?;
        Ok(Json(Data { data: room.into() }))
    }

    /// Delete a room
    ///
    /// With its sessions, and all that was said in them.
    #[oai(path = "/:room_id", method = "delete", operation_id = "delete_room")]
    async fn delete(&self, caller: Caller, room_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.rooms.delete(caller.user, RoomId::from(room_id.0)).await?;
        Ok(Done::NoContent)
    }

    /// Start a session
    ///
    /// A scheduled one, or a new one. A room has one live session at a time.
    #[oai(path = "/:room_id/sessions/start", method = "post", operation_id = "start_session")]
    async fn start(
        &self,
        caller: Caller,
        room_id: Path<Uuid>,
        body: OptionalBody<StartSession>,
    ) -> Result<CreatedSession> {
        let scheduled = body.0.and_then(|body| body.session_id).map(MeetingId::from);
        let meetings = &self.app.services.storage.meetings;
        let meeting = meetings.start(caller.user, RoomId::from(room_id.0), scheduled).await?;
        Ok(CreatedSession::Created(Json(Data { data: meeting.into() })))
    }

    /// Schedule a session
    #[oai(path = "/:room_id/sessions/schedule", method = "post", operation_id = "schedule_session")]
    async fn schedule(
        &self,
        caller: Caller,
        room_id: Path<Uuid>,
        body: Body<ScheduleSession>,
    ) -> Result<CreatedSession> {
        let start = body.value.scheduled_start_time;
        if start <= Utc::now() {
            return Err(ApiError::invalid("scheduledStartTime", "must lie in the future"));
        }
        let meetings = &self.app.services.storage.meetings;
        let meeting = meetings.schedule(caller.user, RoomId::from(room_id.0), start).await?;
        Ok(CreatedSession::Created(Json(Data { data: meeting.into() })))
    }

    /// List the sessions of a room, newest first
    ///
    /// For its owner, and for who took part in one.
    #[oai(path = "/:room_id/sessions", method = "get", operation_id = "list_sessions")]
    async fn sessions(
        &self,
        caller: Caller,
        room_id: Path<Uuid>,
        /// Sessions of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<DataList<SessionObject>>> {
        let (room, page) = (RoomId::from(room_id.0), page(limit.0, cursor.0));
        let sessions = self.app.services.storage.meetings.list(caller.user, room, &page).await?;
        Ok(Json(DataList::of(sessions)))
    }
}

impl RoomsApi {
    /// What a body asks for. Whoever sends a passcode wants a private room, unless they say that they do not.
    async fn door(&self, is_private: Option<bool>, passcode: Option<String>) -> Result<Door> {
        match (is_private, passcode) {
            (None, None) => Ok(Door::AsBefore),
            (Some(false), None) => Ok(Door::Open),
            (Some(true), None) => Ok(Door::StillLocked),
            (Some(false), Some(_)) => Err(ApiError::invalid("passcode", "is for private rooms")),
            (Some(true) | None, Some(passcode)) => Ok(Door::Locked(self.app.passwords.hash(passcode).await?)),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() { Err(ApiError::invalid("name", "must not be blank")) } else { Ok(()) }
}
