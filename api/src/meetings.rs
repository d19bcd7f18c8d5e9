//! Sessions of rooms while they last and afterwards: who takes part, who shows their screen, what is said.

use std::sync::Arc;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::error::Error as StorageError;
use storage::ids::{MeetingId, UserId};
use storage::rooms::participants::{Appointment, Entrance};
use uuid::Uuid;

use crate::app::App;
use crate::body::{Body, OptionalBody};
use crate::caller::Caller;
use crate::dto::rooms::{JoinSession, MessageObject, NewMessage, NewRole, ParticipantObject, SessionObject};
use crate::dto::{Data, DataList, Done, page};
use crate::error::{ApiError, Result};
use crate::recorder;
use crate::tags::Tag;

pub(crate) struct MeetingsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Joined {
    /// They are in the session
    #[oai(status = 201)]
    Created(Json<Data<ParticipantObject>>),
}

#[derive(ApiResponse)]
enum Said {
    /// The message is there for everybody in the session
    #[oai(status = 201)]
    Created(Json<Data<MessageObject>>),
}

#[OpenApi(prefix_path = "/api/v1/sessions", tag = "Tag::Rooms")]
impl MeetingsApi {
    /// Cancel a scheduled session
    #[oai(path = "/:session_id/cancel", method = "post", operation_id = "cancel_session")]
    async fn cancel(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<SessionObject>>> {
        let meetings = &self.app.services.storage.meetings;
        let meeting = meetings.cancel(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Json(Data { data: meeting.into() }))
    }

    /// End a live session
    ///
    /// Everybody leaves, and its recording stops. For its hosts.
    #[oai(path = "/:session_id/end", method = "post", operation_id = "end_session")]
    async fn end(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<SessionObject>>> {
        let meetings = &self.app.services.storage.meetings;
        let meeting = meetings.end(caller.user, MeetingId::from(session_id.0)).await?;
        recorder::finish_those_of(&self.app, meeting.id).await;
        Ok(Json(Data { data: meeting.into() }))
    }

    /// Join a live session
    ///
    /// For everybody who has its id; a private room needs its passcode, except of its owner. Who has left may come back.
    #[oai(path = "/:session_id/participants", method = "post", operation_id = "join_session")]
    async fn join(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
        body: OptionalBody<JoinSession>,
    ) -> Result<Joined> {
        let meetings = &self.app.services.storage.meetings;
        let entrance = meetings.entrance(caller.user, MeetingId::from(session_id.0)).await?;
        self.check_passcode(&entrance, body.0.and_then(|body| body.passcode)).await?;
        let participant = meetings.join(entrance).await?;
        Ok(Joined::Created(Json(Data { data: participant.into() })))
    }

    /// List who takes or took part, the latest to come first
    #[oai(path = "/:session_id/participants", method = "get", operation_id = "list_participants")]
    async fn participants(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
        /// Participants of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<DataList<ParticipantObject>>> {
        let (id, page) = (MeetingId::from(session_id.0), page(limit.0, cursor.0));
        let participants = self.app.services.storage.meetings.participants(caller.user, id, &page).await?;
        Ok(Json(DataList::of(participants)))
    }

    /// Leave a session
    #[oai(path = "/:session_id/participants/me", method = "delete", operation_id = "leave_session")]
    async fn leave(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.meetings.leave(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Done::NoContent)
    }

    /// Give a participant of a live session a role
    ///
    /// For its hosts.
    #[oai(
        path = "/:session_id/participants/:user_id",
        method = "patch",
        operation_id = "set_participant_role"
    )]
    async fn appoint(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
        user_id: Path<Uuid>,
        body: Body<NewRole>,
    ) -> Result<Json<Data<ParticipantObject>>> {
        let appointment = Appointment { user: UserId::from(user_id.0), role: body.value.role.into() };
        let meetings = &self.app.services.storage.meetings;
        let participant = meetings.appoint(caller.user, MeetingId::from(session_id.0), appointment).await?;
        Ok(Json(Data { data: participant.into() }))
    }

    /// Start to share one's screen
    ///
    /// One at a time does.
    #[oai(path = "/:session_id/screenshare/start", method = "post", operation_id = "start_screen_share")]
    async fn share(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<ParticipantObject>>> {
        let meetings = &self.app.services.storage.meetings;
        let participant = meetings.share_screen(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Json(Data { data: participant.into() }))
    }

    /// Stop to share one's screen
    ///
    /// Hosts and moderators stop whoever shares theirs.
    #[oai(path = "/:session_id/screenshare/stop", method = "post", operation_id = "stop_screen_share")]
    async fn stop_sharing(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
    ) -> Result<Json<Data<ParticipantObject>>> {
        let meetings = &self.app.services.storage.meetings;
        let participant = meetings.stop_sharing(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Json(Data { data: participant.into() }))
    }

    /// Say something
    #[oai(path = "/:session_id/chat", method = "post", operation_id = "send_chat_message")]
    async fn say(&self, caller: Caller, session_id: Path<Uuid>, body: Body<NewMessage>) -> Result<Said> {
        let text = body.value.message;
        if text.trim().is_empty() {
            return Err(ApiError::invalid("message", "must not be blank"));
        }
        let meetings = &self.app.services.storage.meetings;
        let message = meetings.say(caller.user, MeetingId::from(session_id.0), text).await?;
        Ok(Said::Created(Json(Data { data: message.into() })))
    }

    /// Read what was said, newest first
    ///
    /// For who takes or took part.
    #[oai(path = "/:session_id/chat", method = "get", operation_id = "list_chat_messages")]
    async fn said(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
        /// Messages of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// `nextCursor` of the page before.
        before: Query<Option<String>>,
    ) -> Result<Json<DataList<MessageObject>>> {
        let (id, page) = (MeetingId::from(session_id.0), page(limit.0, before.0));
        let said = self.app.services.storage.meetings.said(caller.user, id, &page).await;
        let said = said.map_err(|error| match error {
            StorageError::Input { field, issue } if field == "cursor" => ApiError::invalid("before", issue),
            other => ApiError::from(other),
        })?;
        Ok(Json(DataList::of(said)))
    }
}

impl MeetingsApi {
    async fn check_passcode(&self, entrance: &Entrance, passcode: Option<String>) -> Result<()> {
        let Some(hash) = &entrance.passcode_hash else { return Ok(()) };
        let right = match passcode {
            Some(passcode) => self.app.passwords.verify(passcode, Some(hash.clone())).await?,
            None => false,
        };
        if right { Ok(()) } else { Err(ApiError::forbidden("The passcode of the room is missing or wrong")) }
    }
}
