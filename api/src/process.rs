//! Processing: each POST puts a job on disk and answers at once.

use std::sync::Arc;

use pipeline::parameters::Parameters;
use poem::Request;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use sha2::{Digest, Sha256};
use storage::jobs::{Idempotency, NewJob, Submitted};
use storage::webhooks::Callback;

use crate::app::App;
use crate::body::Body;
use crate::callback;
use crate::caller::Caller;
use crate::dto::jobs::{AcceptedJob, status_path};
use crate::dto::process::{
    CloneVoiceRequest, ExtractAudioRequest, GenerateVideoRequest, JobRequest, TranscribeRequest,
};
use crate::edge::RequestId;
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// Longest `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

pub(crate) struct ProcessApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum JobAccepted {
    /// The job is on disk
    #[oai(status = 202)]
    Accepted(
        Json<AcceptedJob>,
        /// Where its status is.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1/process", tag = "Tag::Processing")]
impl ProcessApi {
    /// Extract or convert sound
    #[oai(path = "/extract-audio", method = "post", operation_id = "extract_audio")]
    async fn extract_audio(
        &self,
        caller: Caller,
        /// The same key and body give the same job for 24 hours; another body is refused.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Body<ExtractAudioRequest>,
        request: &Request,
    ) -> Result<JobAccepted> {
        self.submit(caller, key.0, body, request).await
    }

    /// Transcribe speech, or translate it to English
    #[oai(path = "/transcribe", method = "post", operation_id = "transcribe_audio")]
    async fn transcribe(
        &self,
        caller: Caller,
        /// The same key and body give the same job for 24 hours; another body is refused.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Body<TranscribeRequest>,
        request: &Request,
    ) -> Result<JobAccepted> {
        self.submit(caller, key.0, body, request).await
    }

    /// Speak a text in somebody's voice
    #[oai(path = "/clone-voice", method = "post", operation_id = "clone_voice")]
    async fn clone_voice(
        &self,
        caller: Caller,
        /// The same key and body give the same job for 24 hours; another body is refused.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Body<CloneVoiceRequest>,
        request: &Request,
    ) -> Result<JobAccepted> {
        self.submit(caller, key.0, body, request).await
    }

    /// Put a voice, and subtitles, on a video
    #[oai(path = "/generate-video", method = "post", operation_id = "generate_video")]
    async fn generate_video(
        &self,
        caller: Caller,
        /// The same key and body give the same job for 24 hours; another body is refused.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: Body<GenerateVideoRequest>,
        request: &Request,
    ) -> Result<JobAccepted> {
        self.submit(caller, key.0, body, request).await
    }
}

impl ProcessApi {
    async fn submit<T: JobRequest>(
        &self,
        caller: Caller,
        key: Option<String>,
        body: Body<T>,
        request: &Request,
    ) -> Result<JobAccepted> {
        let Body { value, canonical } = body;
        let (parameters, callback) = checked(&self.app, &caller, value).await?;
        let fingerprint = hex::encode(Sha256::digest(format!("{} {canonical}", parameters.kind().as_str())));
        let idempotency = match key {
            Some(key) => Some(Idempotency { key: sane_key(key)?, fingerprint }),
            None => None,
        };
        let new = NewJob {
            owner: caller.user,
            parameters,
            priority: 0,
            project: None,
            request_id: RequestId::of(request),
            trace_parent: request.data().copied(),
            idempotency,
            builtin_voices: self.app.builtin_voices().await?,
            callback,
        };
        let job = match self.app.services.storage.jobs.submit(new).await? {
            Submitted::New(job) => {
                tracing::info!(job.id = %job.id, job.kind = job.kind.as_str(), "accepted a job");
                job
            }
            Submitted::Same(job) => job,
        };
        let location = caller.links.plain(&status_path(job.id.as_uuid()));
        Ok(JobAccepted::Accepted(Json(AcceptedJob::new(&job, &caller.links)), location))
    }
}

/// What a request asks for, as far as it can be told to be right without its files.
pub(crate) async fn checked<T: JobRequest>(
    app: &App,
    caller: &Caller,
    request: T,
) -> Result<(Parameters, Option<Callback>)> {
    let callback = request.callback_url().map(|url| callback::to(url, &caller.links)).transpose()?;
    let parameters = request.into_parameters()?;
    parameters.validate()?;
    app.services.speech.check(&parameters).await?;
    Ok((parameters, callback))
}

pub(crate) fn sane_key(key: String) -> Result<String> {
    let sane = (1..=LONGEST_KEY).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if sane {
        return Ok(key);
    }
    Err(ApiError::invalid(
        "Idempotency-Key",
        format!("must be 1 to {LONGEST_KEY} printable ASCII characters"),
    ))
}
