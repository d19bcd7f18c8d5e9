//! The queue: it carries wake-ups for workers, each the id of one job, and owns nothing.
//!
//! The job's row is the truth. A wake-up that is lost is pushed again by the dispatcher, one that comes twice finds the
//! row claimed. This folder is the only home of apalis.

mod memory;
mod redis;

pub use self::memory::MemoryQueue;
pub use self::redis::RedisQueue;

use crate::{error::Result, ids::JobId};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use pipeline::parameters::JobKind;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Called with each job that is ready. It answers once it can take the next, not once the job is done.
pub type Handler = Arc<dyn Fn(JobId) -> BoxFuture<'static, ()> + Send + Sync>;

/// One queue for each kind of job.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Wakes one worker for `job`. Pushing again what nobody took yet changes nothing. What a server that is away cannot
    /// take is no error: [`Queue::forgot`] tells of it when the server is back.
    async fn push(&self, kind: JobKind, job: JobId) -> Result<()>;

    /// Hands the jobs of `kind` to `handler`, one after the other, until `shutdown`, which drops a call that waits.
    async fn run(&self, kind: JobKind, handler: Handler, shutdown: CancellationToken) -> Result<()>;

    /// Whether a push failed, and the server has not answered since: others may reach it.
    fn is_behind(&self) -> bool;

    /// Returns when wake-ups may be missing that were pushed: once at the start, and each time that the queue lost what
    /// was in it. Whoever pushes has to push again then all that is queued.
    async fn forgot(&self);
}
