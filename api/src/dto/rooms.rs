//! Rooms, their sessions, who takes part in them and what is said. The fields are the columns of `[onevoice]`.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use storage::rooms::Room;
use storage::rooms::chat::Message;
use storage::rooms::meetings::Meeting;
use storage::rooms::participants::Participant;
use storage::rooms::recordings::Recording;
use uuid::Uuid;

use super::time::Timestamp;

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct NewRoom {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: String,
    /// Whether a passcode is needed to join; true where absent and a passcode is sent.
    pub(crate) is_private: Option<bool>,
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(crate) passcode: Option<String>,
}

/// What is absent stays as it is.
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct RoomPatch {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: Option<String>,
    /// False opens the room to everybody.
    pub(crate) is_private: Option<bool>,
    /// Makes the room private.
    #[oai(validator(min_length = 1, max_length = 128))]
    pub(crate) passcode: Option<String>,
}

#[derive(Object)]
#[oai(rename = "Room", rename_all = "camelCase")]
pub(crate) struct RoomObject {
    id: Uuid,
    name: String,
    /// Whoever has it finds the room.
    unique_code: String,
    owner_id: Uuid,
    is_private: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A room, and what is going on in it.
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct FoundRoom {
    #[oai(flatten)]
    pub(crate) room: RoomObject,
    pub(crate) live_session: Option<SessionObject>,
}

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StartSession {
    /// A scheduled session of the room; a new one where absent.
    pub(crate) session_id: Option<Uuid>,
}

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct ScheduleSession {
    pub(crate) scheduled_start_time: DateTime<Utc>,
}

#[derive(Object)]
#[oai(rename = "Session", rename_all = "camelCase")]
pub(crate) struct SessionObject {
    id: Uuid,
    room_id: Uuid,
    status: SessionStatus,
    scheduled_start_time: Option<Timestamp>,
    actual_start_time: Option<Timestamp>,
    actual_end_time: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE", remote = "storage::rooms::meetings::MeetingStatus")]
enum SessionStatus {
    Scheduled,
    Live,
    Ended,
    Cancelled,
}

#[derive(Object)]
pub(crate) struct JoinSession {
    /// Of a private room.
    #[oai(validator(max_length = 128))]
    pub(crate) passcode: Option<String>,
}

#[derive(Object)]
#[oai(rename = "Participant", rename_all = "camelCase")]
pub(crate) struct ParticipantObject {
    session_id: Uuid,
    user_id: Uuid,
    role: Role,
    /// The first time.
    join_time: Timestamp,
    /// Null while they are there.
    leave_time: Option<Timestamp>,
    is_sharing_screen: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE", remote = "storage::rooms::participants::Role")]
pub(crate) enum Role {
    Host,
    Participant,
    Moderator,
}

#[derive(Object)]
pub(crate) struct NewRole {
    pub(crate) role: Role,
}

#[derive(Object)]
pub(crate) struct NewMessage {
    #[oai(validator(min_length = 1, max_length = 4_000))]
    pub(crate) message: String,
}

#[derive(Object)]
#[oai(rename = "ChatMessage", rename_all = "camelCase")]
pub(crate) struct MessageObject {
    id: Uuid,
    session_id: Uuid,
    user_id: Uuid,
    message: String,
    created_at: Timestamp,
}

#[derive(Object)]
#[oai(rename = "Recording", rename_all = "camelCase")]
pub(crate) struct RecordingObject {
    id: Uuid,
    session_id: Uuid,
    /// Null once that account is erased.
    started_by: Option<Uuid>,
    status: RecordingStatus,
    /// What it became, a file of the room's owner.
    file_id: Option<Uuid>,
    /// The job that transcribes the file.
    job_id: Option<Uuid>,
    /// How many chunks have come.
    chunks: u32,
    size_bytes: u64,
    started_at: Timestamp,
    stopped_at: Option<Timestamp>,
    /// Why there is no file, or no job; null where all is well.
    error: Option<RecordingError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE", remote = "storage::rooms::recordings::RecordingStatus")]
enum RecordingStatus {
    Recording,
    Paused,
    Stopped,
    Failed,
}

#[derive(Object)]
struct RecordingError {
    /// Stable, such as `chunks_missing`.
    code: String,
    message: String,
}

/// A recording that has begun, and where its chunks go.
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StartedRecording {
    /// The same as `id`.
    pub(crate) recording_id: Uuid,
    /// Each chunk is PUT to this, a slash and its number, from 0.
    pub(crate) upload_url: String,
    #[oai(flatten)]
    pub(crate) recording: RecordingObject,
}

#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct ReceivedChunk {
    pub(crate) recording_id: Uuid,
    pub(crate) number: u32,
    pub(crate) size_bytes: u64,
    /// Hexadecimal.
    pub(crate) sha256: String,
}

impl From<Room> for RoomObject {
    fn from(room: Room) -> Self {
        Self {
            id: room.id.as_uuid(),
            name: room.name,
            unique_code: room.unique_code,
            owner_id: room.owner.as_uuid(),
            is_private: room.is_private,
            created_at: room.created_at.into(),
            updated_at: room.updated_at.into(),
        }
    }
}

impl From<Meeting> for SessionObject {
    fn from(meeting: Meeting) -> Self {
        Self {
            id: meeting.id.as_uuid(),
            room_id: meeting.room.as_uuid(),
            status: meeting.status.into(),
            scheduled_start_time: meeting.scheduled_start_time.map(Into::into),
            actual_start_time: meeting.actual_start_time.map(Into::into),
            actual_end_time: meeting.actual_end_time.map(Into::into),
            created_at: meeting.created_at.into(),
            updated_at: meeting.updated_at.into(),
        }
    }
}

impl From<Participant> for ParticipantObject {
    fn from(participant: Participant) -> Self {
        Self {
            session_id: participant.meeting.as_uuid(),
            user_id: participant.user.as_uuid(),
            role: participant.role.into(),
            join_time: participant.join_time.into(),
            leave_time: participant.leave_time.map(Into::into),
            is_sharing_screen: participant.is_sharing_screen,
        }
    }
}

impl From<Message> for MessageObject {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.as_uuid(),
            session_id: message.meeting.as_uuid(),
            user_id: message.user.as_uuid(),
            message: message.text,
            created_at: message.created_at.into(),
        }
    }
}

impl From<Recording> for RecordingObject {
    fn from(recording: Recording) -> Self {
        Self {
            id: recording.id.as_uuid(),
            session_id: recording.meeting.as_uuid(),
            started_by: recording.started_by.map(Into::into),
            status: recording.status.into(),
            file_id: recording.file.map(Into::into),
            job_id: recording.job.map(Into::into),
            chunks: recording.chunks,
            size_bytes: recording.size_bytes,
            started_at: recording.started_at.into(),
            stopped_at: recording.stopped_at.map(Into::into),
            error: recording
                .failure
                .map(|failure| RecordingError { code: failure.code, message: failure.message }),
        }
    }
}
