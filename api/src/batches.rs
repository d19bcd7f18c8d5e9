//! Many jobs by one request: all of them are accepted, or none is.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::{Header, Path};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use sha2::{Digest, Sha256};
use storage::ids::BatchId;
use storage::jobs::{BatchJob, Idempotency, NewBatch, Submitted};
use uuid::Uuid;

use crate::app::App;
use crate::body::{BatchBody, Body};
use crate::caller::Caller;
use crate::dto::batches::{AcceptedBatch, BatchJobRequest, BatchObject, BatchRequest};
use crate::edge::RequestId;
use crate::error::Result;
use crate::process;
use crate::tags::Tag;

pub(crate) struct BatchesApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum BatchAccepted {
    /// The jobs are on disk
    #[oai(status = 202)]
    Accepted(
        Json<AcceptedBatch>,
        /// Where its status is.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/api/v1/process", tag = "Tag::Processing")]
impl BatchesApi {
    /// Submit up to 1,000 jobs
    ///
    /// Where one of them is refused, all are, and `details.field` says which, such as `jobs[3].audio_file_id`. The body
    /// may have 8 MiB. Counts as one request.
    #[oai(path = "/batch", method = "post", operation_id = "submit_batch")]
    async fn submit(
        &self,
        caller: Caller,
        /// The same key and body give the same batch for 24 hours; another body is refused.
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
        body: BatchBody<BatchRequest>,
        request: &Request,
    ) -> Result<BatchAccepted> {
        let BatchBody(Body { value, canonical }) = body;
        let fingerprint = hex::encode(Sha256::digest(format!("batch {canonical}")));
        let idempotency = match key.0 {
            Some(key) => Some(Idempotency { key: process::sane_key(key)?, fingerprint }),
            None => None,
        };
        let mut jobs = vec![];
        for (index, job) in value.jobs.into_iter().enumerate() {
            let checked = self.checked(&caller, job).await;
            jobs.push(checked.map_err(|error| error.within(&format!("jobs[{index}]")))?);
        }
        let new = NewBatch {
            owner: caller.user,
            jobs,
            request_id: RequestId::of(request),
            trace_parent: request.data().copied(),
            idempotency,
            builtin_voices: self.app.builtin_voices().await?,
        };
        let batch = match self.app.services.storage.jobs.submit_batch(new).await? {
            Submitted::New(batch) => {
                tracing::info!(batch.id = %batch.id, batch.jobs = batch.jobs.len(), "accepted a batch");
                batch
            }
            Submitted::Same(batch) => batch,
        };
        let accepted = AcceptedBatch::new(&batch, &caller.links);
        let location = accepted.status_url.clone();
        Ok(BatchAccepted::Accepted(Json(accepted), location))
    }

    /// Get the status of a batch
    ///
    /// Its jobs are in the list of jobs, by its id as `batch`.
    #[oai(path = "/batch/:batch_id", method = "get", operation_id = "get_batch")]
    async fn get(&self, caller: Caller, batch_id: Path<Uuid>) -> Result<Json<BatchObject>> {
        let batch = self.app.services.storage.jobs.batch(caller.user, BatchId::from(batch_id.0)).await?;
        Ok(Json(batch.into()))
    }
}

impl BatchesApi {
    async fn checked(&self, caller: &Caller, job: BatchJobRequest) -> Result<BatchJob> {
        let app = &self.app;
        let (parameters, callback) = match job {
            BatchJobRequest::ExtractAudio(job) => process::checked(app, caller, job).await?,
            BatchJobRequest::Transcribe(job) => process::checked(app, caller, job).await?,
            BatchJobRequest::CloneVoice(job) => process::checked(app, caller, job).await?,
            BatchJobRequest::GenerateVideo(job) => process::checked(app, caller, job).await?,
        };
        Ok(BatchJob { parameters, callback })
    }
}
