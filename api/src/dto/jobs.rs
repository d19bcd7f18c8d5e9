//! A job as its owner sees it.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use pipeline::parameters::JobKind as Kind;
use pipeline::state::JobStatus as Status;
use poem_openapi::{Enum, Object};
use serde_json::Value;
use storage::files::{File, FileKind};
use storage::jobs::Job;
use uuid::Uuid;

use super::files::FileObject;
use super::time::Timestamp;
use crate::app::Links;

/// Before the id of a job.
pub(crate) const STATUS_PATHS: &str = "/api/v1/process/status/";

/// The kinds that one may ask for.
#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "kebab-case")]
pub(crate) enum JobKind {
    ExtractAudio,
    Transcribe,
    CloneVoice,
    GenerateVideo,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "Status")]
pub(crate) enum JobStatus {
    Queued,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl From<JobKind> for Kind {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::ExtractAudio => Self::ExtractAudio,
            JobKind::Transcribe => Self::Transcribe,
            JobKind::CloneVoice => Self::CloneVoice,
            JobKind::GenerateVideo => Self::GenerateVideo,
        }
    }
}

impl From<Kind> for JobKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::ExtractAudio => Self::ExtractAudio,
            Kind::Transcribe => Self::Transcribe,
            Kind::CloneVoice => Self::CloneVoice,
            Kind::GenerateVideo => Self::GenerateVideo,
            Kind::DeliverWebhook | Kind::AnswerSpeech => {
                unreachable!("storage shows nobody an internal job. This is a bug.")
            }
        }
    }
}

/// The job is on disk and will run.
#[derive(Object)]
pub(crate) struct AcceptedJob {
    job_id: Uuid,
    kind: JobKind,
    status: JobStatus,
    progress: u32,
    status_url: String,
    created_at: Timestamp,
}

#[derive(Object)]
#[oai(rename = "Job")]
pub(crate) struct JobObject {
    pub(crate) job_id: Uuid,
    kind: JobKind,
    status: JobStatus,
    /// Percent; never falls within an attempt.
    progress: u32,
    stage: Option<String>,
    /// 1 is the next of its kind; null unless queued.
    queue_position: Option<u64>,
    /// From the speed of this run so far; null where that is not known.
    estimated_completion: Option<Timestamp>,
    /// Works without a header, for 15 minutes. The first of `result.files`.
    result_url: Option<String>,
    result: Option<JobResult>,
    error: Option<JobError>,
    /// Runs begun.
    attempts: u32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    parent_id: Option<Uuid>,
    /// The batch that it came with.
    batch_id: Option<Uuid>,
    children: Vec<Uuid>,
    /// Grows with every change; the id of the event that shows it.
    pub(crate) version: i64,
}

/// What a completed job made, and what it found out on the way.
#[derive(Object)]
struct JobResult {
    /// Video before audio before transcript.
    files: Vec<FileObject>,
    #[oai(flatten)]
    findings: HashMap<String, Value>,
}

#[derive(Object)]
struct JobError {
    code: String,
    message: String,
    /// Whether the same job may succeed later.
    retryable: bool,
}

/// What a job's object is made of.
pub(crate) struct JobView {
    pub(crate) job: Job,
    /// In the order of the row.
    pub(crate) outputs: Vec<File>,
    pub(crate) queue_position: Option<u64>,
}

impl AcceptedJob {
    pub(crate) fn new(job: &Job, links: &Links) -> Self {
        let job_id = job.id.as_uuid();
        Self {
            job_id,
            kind: job.kind.into(),
            // Also when an idempotency key finds a job that has run since: the answer is that of the first time.
            status: JobStatus::Queued,
            progress: 0,
            status_url: links.plain(&status_path(job_id)),
            created_at: job.created_at.into(),
        }
    }
}

pub(crate) fn status_path(job: Uuid) -> String {
    format!("{STATUS_PATHS}{job}")
}

impl JobObject {
    pub(crate) fn new(view: JobView, links: &Links, now: DateTime<Utc>) -> Self {
        let JobView { job, mut outputs, queue_position } = view;
        let status = job.state.status();
        let completed = status == Status::Completed;
        outputs.sort_by_key(rank);
        let files: Vec<_> = outputs.into_iter().map(|file| FileObject::new(file, links, now)).collect();
        Self {
            job_id: job.id.as_uuid(),
            kind: job.kind.into(),
            status: status.into(),
            progress: percent(&job),
            queue_position,
            estimated_completion: estimate(&job, now).map(Into::into),
            result_url: files.first().filter(|_| completed).map(|file| file.download_url.clone()),
            result: completed.then(|| JobResult { files, findings: findings(job.result) }),
            error: job.error.map(|error| JobError {
                code: error.code,
                message: error.message,
                retryable: error.retryable,
            }),
            stage: job.stage,
            attempts: job.attempt,
            created_at: job.created_at.into(),
            started_at: job.started_at.map(Into::into),
            finished_at: job.finished_at.map(Into::into),
            parent_id: job.parent.map(|id| id.as_uuid()),
            batch_id: job.batch.map(|id| id.as_uuid()),
            children: vec![],
            version: job.version,
        }
    }
}

fn findings(result: Option<Value>) -> HashMap<String, Value> {
    match result {
        Some(Value::Object(findings)) => findings.into_iter().filter(|(name, _)| name != "files").collect(),
        Some(_) | None => HashMap::new(),
    }
}

/// Whole percent; 100 is left to the completed.
pub(crate) fn percent(job: &Job) -> u32 {
    match job.state.status() {
        Status::Completed => 100,
        Status::Queued => 0,
        Status::Processing | Status::Failed | Status::Cancelled => {
            job.progress.clamp(0.0, 99.0).floor() as u32
        }
    }
}

/// The rest of the way at the speed of the way so far, once enough of it is behind to tell.
fn estimate(job: &Job, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let started = job.started_at.filter(|_| job.state.status() == Status::Processing)?;
    let done = f64::from(job.progress);
    let elapsed = (now - started).as_seconds_f64();
    if done < 1.0 || elapsed <= 0.0 {
        return None;
    }
    let left = (elapsed * (100.0 - done) / done).clamp(0.0, 1e9);
    now.checked_add_signed(TimeDelta::milliseconds((left * 1000.0) as i64))
}

fn rank(file: &File) -> u8 {
    match file.kind {
        FileKind::Video => 0,
        FileKind::Audio => 1,
        FileKind::Text if file.content_type.starts_with("application/json") => 2,
        FileKind::Text => 3,
    }
}
