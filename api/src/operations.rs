//! For those who run the server: is it up, can it work, what does it do.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use poem::Request;
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use storage::Storage;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::caller;
use crate::dto::time::Timestamp;
use crate::error::{ApiError, Result};
use crate::peer;
use crate::tags::Tag;

/// How long what is needed may take to answer. Whoever asks for the readiness waits for a second or a few.
const PATIENCE: Duration = Duration::from_secs(3);

/// What can be seen of a process.
#[derive(Clone)]
pub struct Observed {
    pub storage: Storage,
    /// Renders the metrics of this process as Prometheus text.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Opens the metrics, sent as Bearer; without one they are for this machine alone.
    pub metrics_token: Option<String>,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
}

pub(crate) struct OperationsApi {
    pub(crate) observed: Observed,
    pub(crate) jobs: JobMetrics,
}

/// Whether the metrics tell of the jobs of all processes too. One that answers clients does; of a thousand workers each
/// tells of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobMetrics {
    Shown,
    Left,
}

#[derive(Object)]
struct Health {
    status: Condition,
    timestamp: Timestamp,
}

#[derive(Object)]
struct Readiness {
    database: Condition,
    storage: Condition,
    cache: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Condition {
    Ok,
    Unavailable,
}

#[derive(ApiResponse)]
enum ReadinessResponse {
    /// Ready
    #[oai(status = 200)]
    Ready(Json<Readiness>),
    /// Something that is needed does not answer
    #[oai(status = 503)]
    Unready(Json<Readiness>),
}

#[OpenApi(tag = "Tag::Operations")]
impl OperationsApi {
    /// Is the process up
    #[oai(path = "/health", method = "get", operation_id = "get_health")]
    async fn health(&self) -> Json<Health> {
        Json(Health { status: Condition::Ok, timestamp: Utc::now().into() })
    }

    /// Can the process work
    #[oai(path = "/readiness", method = "get", operation_id = "get_readiness")]
    async fn readiness(&self) -> ReadinessResponse {
        let storage = &self.observed.storage;
        let (database, storage, cache) = tokio::join!(
            condition("database", storage.ping()),
            condition("storage", storage.objects.ping()),
            condition("cache", storage.ping_redis()),
        );
        let readiness = Readiness { database, storage, cache };
        let ready = [database, storage, cache].into_iter().all(|condition| condition == Condition::Ok);
        match ready && !self.observed.shutdown.is_cancelled() {
            true => ReadinessResponse::Ready(Json(readiness)),
            false => ReadinessResponse::Unready(Json(readiness)),
        }
    }

    /// Metrics as Prometheus text
    ///
    /// For callers on the same machine; where a token is configured, for whoever sends it as Bearer.
    #[oai(path = "/metrics", method = "get", operation_id = "get_metrics")]
    async fn metrics(&self, request: &Request) -> Result<PlainText<String>> {
        may_watch(request, self.observed.metrics_token.as_deref())?;
        let mut text = (self.observed.metrics)();
        if self.jobs == JobMetrics::Shown {
            text += &job_metrics(&self.observed.storage).await?;
        }
        Ok(PlainText(text))
    }
}

/// Counted in the database.
async fn job_metrics(storage: &Storage) -> Result<String> {
    let mut text = String::new();
    let counts = storage.jobs.counts().await?;
    text += "# HELP voxmill_jobs Jobs by kind and state\n# TYPE voxmill_jobs gauge\n";
    for count in &counts {
        let (kind, state) = (count.kind.as_str(), count.state.as_str());
        let _ = writeln!(text, "voxmill_jobs{{kind=\"{kind}\",state=\"{state}\"}} {}", count.count);
    }
    text += "# HELP voxmill_jobs_oldest_seconds Age of the oldest job by kind and state\n";
    text += "# TYPE voxmill_jobs_oldest_seconds gauge\n";
    for count in &counts {
        let (kind, state) = (count.kind.as_str(), count.state.as_str());
        let age = count.oldest_seconds;
        let _ = writeln!(text, "voxmill_jobs_oldest_seconds{{kind=\"{kind}\",state=\"{state}\"}} {age}");
    }
    text += "# HELP voxmill_worker_slots Jobs that the live workers run at once, by kind\n";
    text += "# TYPE voxmill_worker_slots gauge\n";
    for (kind, slots) in storage.workers.slots().await? {
        let _ = writeln!(text, "voxmill_worker_slots{{kind=\"{}\"}} {slots}", kind.as_str());
    }
    Ok(text)
}

fn may_watch(request: &Request, token: Option<&str>) -> Result<()> {
    let Some(token) = token else {
        return match peer::is_this_machine(request) {
            true => Ok(()),
            false => {
                Err(ApiError::forbidden("The metrics are for this machine; others need the metrics_token"))
            }
        };
    };
    let sent = caller::bearer(request).ok_or_else(ApiError::unauthenticated)?;
    match peer::is_secret(sent, token) {
        true => Ok(()),
        false => Err(ApiError::invalid_token()),
    }
}

async fn condition(name: &str, asked: impl Future<Output = storage::error::Result<()>>) -> Condition {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(())) => Condition::Ok,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "{name} does not answer");
            Condition::Unavailable
        }
        Err(late) => {
            tracing::warn!(error = %late, "{name} does not answer within {PATIENCE:?}");
            Condition::Unavailable
        }
    }
}
