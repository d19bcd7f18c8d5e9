//! Voice sessions: stretches of recording inside a project, started and then finished.

use std::sync::Arc;

use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::ids::{ProjectId, VoiceSessionId};

use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::dto::projects::{FinishVoiceSession, StartVoiceSession, VoiceSessionObject};
use crate::error::Result;
use crate::projects::numbered_page;
use crate::tags::Tag;

pub(crate) struct VoiceSessionsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum StartedVoiceSession {
    /// The session runs
    #[oai(status = 201)]
    Started(Json<VoiceSessionObject>),
}

#[OpenApi(prefix_path = "/api/v1/sessions", tag = "Tag::Projects")]
impl VoiceSessionsApi {
    /// List the voice sessions of a project, newest first
    #[oai(path = "/", method = "get", operation_id = "list_voice_sessions")]
    async fn list(
        &self,
        caller: Caller,
        project_id: Query<i64>,
        /// Most sessions to list; 1000 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// Only sessions with a smaller id: the last of the page before.
        before: Query<Option<i64>>,
    ) -> Result<Json<Vec<VoiceSessionObject>>> {
        let page = numbered_page(limit.0, before.0);
        let project = ProjectId(project_id.0);
        let sessions = self.app.services.storage.voice_sessions.list(caller.user, project, &page).await?;
        Ok(Json(sessions.into_iter().map(VoiceSessionObject::from).collect()))
    }

    /// Start a voice session
    ///
    /// Several of one project may run at once.
    #[oai(path = "/start", method = "post", operation_id = "start_voice_session")]
    async fn start(&self, caller: Caller, body: Body<StartVoiceSession>) -> Result<StartedVoiceSession> {
        let project = ProjectId(body.value.project_id);
        let session = self.app.services.storage.voice_sessions.start(caller.user, project).await?;
        Ok(StartedVoiceSession::Started(Json(session.into())))
    }

    /// Finish a voice session
    ///
    /// Once.
    #[oai(path = "/finish", method = "post", operation_id = "finish_voice_session")]
    async fn finish(
        &self,
        caller: Caller,
        body: Body<FinishVoiceSession>,
    ) -> Result<Json<VoiceSessionObject>> {
        let id = VoiceSessionId(body.value.session_id);
        let session = self.app.services.storage.voice_sessions.finish(caller.user, id).await?;
        Ok(Json(session.into()))
    }
}
