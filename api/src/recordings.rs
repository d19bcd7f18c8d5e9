//! Recordings of sessions: begun and stopped by hosts, sent in chunks while they last, and files afterwards.

use std::sync::Arc;

use futures_util::TryStreamExt;
use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::ids::{MeetingId, RecordingId};
use storage::rooms::chunks::{NewChunk, Slot};
use uuid::Uuid;

use crate::app::App;
use crate::body::{RawBody, content_length};
use crate::caller::Caller;
use crate::dto::rooms::{ReceivedChunk, RecordingObject, StartedRecording};
use crate::dto::{Data, DataList, page};
use crate::error::{ApiError, Result};
use crate::intake::{self, Room};
use crate::recorder;
use crate::tags::Tag;

/// Largest chunk, in bytes: some minutes of video, and many of sound.
const LARGEST_CHUNK: u64 = 64 << 20;

pub(crate) struct RecordingsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Started {
    /// Chunks may come
    #[oai(status = 201)]
    Created(Json<Data<StartedRecording>>),
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Rooms")]
impl RecordingsApi {
    /// Start to record a live session
    ///
    /// For its hosts. A session has one recording at a time. One that gets no chunk for five minutes is stopped.
    #[oai(path = "/sessions/:session_id/recording/start", method = "post", operation_id = "start_recording")]
    async fn start(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Started> {
        let recordings = &self.app.services.storage.recordings;
        let recording = recordings.start(caller.user, MeetingId::from(session_id.0)).await?;
        let id = recording.id.as_uuid();
        Ok(Started::Created(Json(Data {
            data: StartedRecording {
                recording_id: id,
                upload_url: caller.links.plain(&format!("/api/v1/recordings/{id}/chunks")),
                recording: recording.into(),
            },
        })))
    }

    /// Pause the recording
    ///
    /// For hosts. Chunks of before may still come; that none comes stops nothing.
    #[oai(path = "/sessions/:session_id/recording/pause", method = "post", operation_id = "pause_recording")]
    async fn pause(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<RecordingObject>>> {
        let recordings = &self.app.services.storage.recordings;
        let recording = recordings.pause(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Json(Data { data: recording.into() }))
    }

    /// Go on with the recording
    ///
    /// For hosts.
    #[oai(
        path = "/sessions/:session_id/recording/resume",
        method = "post",
        operation_id = "resume_recording"
    )]
    async fn resume(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<RecordingObject>>> {
        let recordings = &self.app.services.storage.recordings;
        let recording = recordings.resume(caller.user, MeetingId::from(session_id.0)).await?;
        Ok(Json(Data { data: recording.into() }))
    }

    /// Stop the recording
    ///
    /// For hosts. Its chunks become a file of the room's owner, and a job transcribes it. Where chunks are missing or are
    /// no sound or video, the recording has failed: send what is missing, and stop it again.
    #[oai(path = "/sessions/:session_id/recording/stop", method = "post", operation_id = "stop_recording")]
    async fn stop(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<Data<RecordingObject>>> {
        let recordings = &self.app.services.storage.recordings;
        let recording = recordings.stop(caller.user, MeetingId::from(session_id.0)).await?;
        let recording = recorder::finish(&self.app, recording).await?;
        Ok(Json(Data { data: recording.into() }))
    }

    /// List the recordings of a session, the latest first
    ///
    /// For who takes or took part.
    #[oai(path = "/sessions/:session_id/recordings", method = "get", operation_id = "list_recordings")]
    async fn list(
        &self,
        caller: Caller,
        session_id: Path<Uuid>,
        /// Recordings of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<DataList<RecordingObject>>> {
        let (meeting, page) = (MeetingId::from(session_id.0), page(limit.0, cursor.0));
        let recordings = self.app.services.storage.recordings.list(caller.user, meeting, &page).await?;
        Ok(Json(DataList::of(recordings)))
    }

    /// Get a recording
    ///
    /// For who takes or took part in its session.
    #[oai(path = "/recordings/:recording_id", method = "get", operation_id = "get_recording")]
    async fn get(&self, caller: Caller, recording_id: Path<Uuid>) -> Result<Json<Data<RecordingObject>>> {
        let recordings = &self.app.services.storage.recordings;
        let recording = recordings.find(caller.user, RecordingId::from(recording_id.0)).await?;
        Ok(Json(Data { data: recording.into() }))
    }

    /// Send a chunk of a recording
    ///
    /// For hosts. In any order, and again after a failure: the last that came of a number is the one that counts.
    #[oai(
        path = "/recordings/:recording_id/chunks/:number",
        method = "put",
        operation_id = "put_recording_chunk"
    )]
    async fn put_chunk(
        &self,
        caller: Caller,
        recording_id: Path<Uuid>,
        number: Path<u32>,
        request: &Request,
        body: RawBody,
    ) -> Result<Json<Data<ReceivedChunk>>> {
        let (recordings, id) = (&self.app.services.storage.recordings, RecordingId::from(recording_id.0));
        let number = number.0;
        let Slot { recording, replaced_bytes } = recordings.slot(caller.user, id, number).await?;
        let Room { limit, quota_left } = intake::room(&self.app, recording.owner).await?;
        let others = recording.size_bytes.saturating_sub(replaced_bytes);
        let room = Room {
            limit: LARGEST_CHUNK.min(limit.saturating_sub(others)),
            quota_left: quota_left.saturating_add(replaced_bytes),
        };
        if let Some(length) = content_length(request) {
            room.admit(length)?;
        }
        let bytes = body.0.into_bytes_stream().map_err(|_| ApiError::invalid("body", "broke off"));
        let staged = intake::stage(&self.app, Box::pin(bytes), room).await?;
        let received = ReceivedChunk {
            recording_id: id.as_uuid(),
            number,
            size_bytes: staged.size_bytes,
            sha256: staged.sha256.clone(),
        };
        recordings.put_chunk(caller.user, id, NewChunk { number, staged }).await?;
        Ok(Json(Data { data: received }))
    }
}
