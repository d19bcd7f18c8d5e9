//! What was said in a call, as sound.

use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use storage::calls::Call;
use storage::files::File;
use storage::ids::CallId;
use uuid::Uuid;

use crate::app::App;
use crate::caller::{Access, Caller};
use crate::dto::calls::RecordingObject;
use crate::error::{ApiError, Result};
use crate::files::{Content, send};
use crate::tags::Tag;

pub(crate) struct CallRecordingsApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/call-recordings", tag = "Tag::Calls")]
impl CallRecordingsApi {
    /// Get what is known of a recording
    #[oai(path = "/:call_id", method = "get", operation_id = "get_call_recording")]
    async fn get(&self, caller: Caller, call_id: Path<Uuid>) -> Result<Json<RecordingObject>> {
        let call = self.app.services.storage.calls.find(caller.user, CallId::from(call_id.0)).await?;
        let file = self.file(&call).await?;
        Ok(Json(RecordingObject::new(call, &file, &caller.links)))
    }

    /// Get the sound of a recording
    ///
    /// A WAV file: whole, or the range asked for.
    #[oai(path = "/:call_id/download", method = "get", operation_id = "download_call_recording")]
    async fn download(&self, access: Access, call_id: Path<Uuid>, request: &Request) -> Result<Content> {
        let (calls, id) = (&self.app.services.storage.calls, CallId::from(call_id.0));
        let call = match access {
            Access::Owner(caller) => calls.find(caller.user, id).await?,
            Access::Signed => calls.find_signed(id).await?,
        };
        send(&self.app, &self.file(&call).await?, request).await
    }
}

impl CallRecordingsApi {
    async fn file(&self, call: &Call) -> Result<File> {
        let file = self.app.services.storage.calls.recording(call).await?;
        file.ok_or_else(|| ApiError::lacking("recording", "the call has none"))
    }
}
