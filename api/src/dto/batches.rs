//! Jobs that are submitted together.

use std::collections::HashMap;

use pipeline::state::JobStatus as Status;
use poem_openapi::{Enum, Object, Union};
use storage::ids::BatchId;
use storage::jobs::{Batch, BatchProgress};
use uuid::Uuid;

use super::jobs::AcceptedJob;
use super::process::{CloneVoiceRequest, ExtractAudioRequest, GenerateVideoRequest, TranscribeRequest};
use super::time::Timestamp;
use crate::app::Links;

#[derive(Object)]
pub(crate) struct BatchRequest {
    /// Each with its `kind` and the body that the path of that kind takes.
    #[oai(validator(min_items = 1, max_items = 1000))]
    pub(crate) jobs: Vec<BatchJobRequest>,
}

#[derive(Union)]
#[oai(discriminator_name = "kind", one_of, rename = "BatchJob")]
pub(crate) enum BatchJobRequest {
    #[oai(mapping = "extract-audio")]
    ExtractAudio(ExtractAudioRequest),
    #[oai(mapping = "transcribe")]
    Transcribe(TranscribeRequest),
    #[oai(mapping = "clone-voice")]
    CloneVoice(CloneVoiceRequest),
    #[oai(mapping = "generate-video")]
    GenerateVideo(GenerateVideoRequest),
}

/// The jobs are on disk and will run.
#[derive(Object)]
pub(crate) struct AcceptedBatch {
    batch_id: Uuid,
    /// In the order in which they were sent.
    jobs: Vec<AcceptedJob>,
    pub(crate) status_url: String,
}

#[derive(Object)]
#[oai(rename = "Batch")]
pub(crate) struct BatchObject {
    batch_id: Uuid,
    status: BatchStatus,
    jobs: BatchCounts,
    /// Of the jobs that are still kept.
    total: u64,
    /// Percent: the mean of its jobs, of which those that ended count in full.
    progress: u32,
    created_at: Timestamp,
    /// Null until all have ended.
    finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
enum BatchStatus {
    /// None of its jobs has begun.
    Queued,
    Processing,
    /// All of its jobs have ended, however.
    Completed,
}

/// How many of its jobs are in each status.
#[derive(Object)]
struct BatchCounts {
    queued: u64,
    processing: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

impl AcceptedBatch {
    pub(crate) fn new(batch: &Batch, links: &Links) -> Self {
        Self {
            batch_id: batch.id.as_uuid(),
            jobs: batch.jobs.iter().map(|job| AcceptedJob::new(job, links)).collect(),
            status_url: links.plain(&batch_path(batch.id)),
        }
    }
}

fn batch_path(batch: BatchId) -> String {
    format!("/api/v1/process/batch/{batch}")
}

impl From<BatchProgress> for BatchObject {
    fn from(batch: BatchProgress) -> Self {
        let jobs = BatchCounts::from(&batch.counts);
        let status = if batch.finished_at.is_some() {
            BatchStatus::Completed
        } else if jobs.queued == batch.total {
            BatchStatus::Queued
        } else {
            BatchStatus::Processing
        };
        Self {
            batch_id: batch.id.as_uuid(),
            status,
            jobs,
            total: batch.total,
            progress: batch.progress.clamp(0.0, 100.0).floor() as u32,
            created_at: batch.created_at.into(),
            finished_at: batch.finished_at.map(Into::into),
        }
    }
}

impl From<&HashMap<Status, u64>> for BatchCounts {
    fn from(counts: &HashMap<Status, u64>) -> Self {
        let count = |status: Status| counts.get(&status).copied().unwrap_or_default();
        Self {
            queued: count(Status::Queued),
            processing: count(Status::Processing),
            completed: count(Status::Completed),
            failed: count(Status::Failed),
            cancelled: count(Status::Cancelled),
        }
    }
}
