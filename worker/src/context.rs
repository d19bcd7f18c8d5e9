//! What a job sees of the engine: its directory, its inputs, where to report progress, and when to stop.

use crate::Services;
use crate::patience::patiently;
use crate::progress::Progress;
use anyhow::Context as _;
use models::{EngineError, Observer};
use pipeline::failure::Failure;
use pipeline::media::{MediaError, MediaErrorCode};
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::files::{File, FileKind};
use storage::ids::FileId;
use storage::jobs::{Job, Lease};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A restart takes less. After it, the attempt has failed, and the job waits for its next.
const OUTAGE: Duration = Duration::from_secs(60);

pub(crate) struct JobContext {
    pub services: Services,
    pub job: Job,
    pub parameters: Parameters,
    pub lease: Lease,
    /// Private to this attempt; removed when it ends.
    pub directory: PathBuf,
    pub progress: Progress,
    /// Cancelled when the job must stop, whatever the reason.
    pub stop: CancellationToken,
}

/// What a job made, not yet visible to anybody.
pub(crate) struct Outcome {
    /// In the order that the result lists them.
    pub artifacts: Vec<Artifact>,
    /// The fields of the result beside its files.
    pub result: Value,
}

pub(crate) struct Artifact {
    pub path: PathBuf,
    pub filename: String,
    pub content_type: &'static str,
    pub kind: FileKind,
    pub media: Option<MediaInfo>,
}

pub(crate) enum JobError {
    /// The job was told to stop, and did.
    Stopped,
    /// For the owner of the job.
    Failed(Failure),
    /// For the log; the owner reads [`Failure::internal`].
    Internal(anyhow::Error),
}

impl JobContext {
    pub(crate) fn enter(&self, stage: &'static str) {
        self.report(stage, 0.0);
    }

    pub(crate) fn report(&self, stage: &'static str, fraction: f32) {
        self.progress.report(stage, fraction);
    }

    /// The row of an input file and its bytes at a path of the job's own directory.
    pub(crate) async fn fetch(&self, file_id: Uuid, name: &str) -> Result<(File, PathBuf), JobError> {
        let storage = &self.services.storage;
        let file = self.ask(|| storage.jobs.input_file(&self.job, FileId::from(file_id))).await;
        let file = file.map_err(gone("A file that the job reads is gone."))?;
        let path = self.directory.join(name);
        self.ask(|| storage.objects.fetch(&file.object_key, &path)).await?;
        Ok((file, path))
    }

    /// The answer of the database or of the store, whose failures count only where they last.
    pub(crate) async fn ask<T, Answer>(&self, question: impl Fn() -> Answer) -> storage::error::Result<T>
    where
        Answer: Future<Output = storage::error::Result<T>>,
    {
        let passes = |error: &storage::error::Error| {
            matches!(error, storage::error::Error::Internal(_)) && !self.stop.is_cancelled()
        };
        patiently(OUTAGE, passes, question).await
    }

    /// Writes one of the job's outputs.
    pub(crate) async fn write(&self, name: &str, content: &str) -> Result<PathBuf, JobError> {
        let path = self.directory.join(name);
        tokio::fs::write(&path, content).await.with_context(|| format!("could not write {name}"))?;
        Ok(path)
    }

    /// What is in a file that the job made.
    pub(crate) async fn probe(&self, path: &Path) -> Result<MediaInfo, JobError> {
        Ok(self.services.media.probe(path, &self.stop).await?)
    }

    pub(crate) fn observer(&self, stage: &'static str) -> StageObserver {
        StageObserver { stage, job: self.progress.clone(), stop: self.stop.clone() }
    }
}

/// The failure of a job whose input was deleted since it was submitted; other errors stay what they are.
pub(crate) fn gone(sentence: &'static str) -> impl FnOnce(storage::error::Error) -> JobError {
    move |error| match error {
        storage::error::Error::NotFound => JobError::Failed(Failure::permanent("input_deleted", sentence)),
        other => JobError::from(other),
    }
}

/// Carries an engine's progress to the job, and the job's end to the engine.
pub(crate) struct StageObserver {
    stage: &'static str,
    job: Progress,
    stop: CancellationToken,
}

impl Observer for StageObserver {
    fn progress(&mut self, fraction: f32) {
        self.job.report(self.stage, fraction);
    }

    fn cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }
}

impl From<anyhow::Error> for JobError {
    fn from(error: anyhow::Error) -> Self {
        let full = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
            .any(|cause| cause.kind() == std::io::ErrorKind::StorageFull);
        if full { Self::from(storage::error::Error::Full) } else { Self::Internal(error) }
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}

impl From<storage::error::Error> for JobError {
    fn from(error: storage::error::Error) -> Self {
        match error {
            storage::error::Error::Full => Self::Failed(Failure::transient(
                "storage_full",
                "The server has no room left for the result. Free some, or try again later.",
            )),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<MediaError> for JobError {
    fn from(error: MediaError) -> Self {
        if error.code == MediaErrorCode::Cancelled {
            return Self::Stopped;
        }
        Self::Failed(error.into())
    }
}

impl From<EngineError> for JobError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Cancelled => Self::Stopped,
            EngineError::Input(sentence) => Self::Failed(Failure::permanent("input_unusable", sentence)),
            EngineError::ModelMissing { .. } => {
                Self::Failed(Failure::permanent("model_unavailable", error.to_string()))
            }
            EngineError::Internal(cause) => Self::from(cause),
        }
    }
}
