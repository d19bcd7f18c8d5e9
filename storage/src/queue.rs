//! The queue: it carries wake-ups for workers, each the id of one job, and owns nothing.
//!
//! The job's row is the truth. A wake-up that is lost is pushed again by the dispatcher, one that comes twice finds the
//! row claimed. This file is the only home of apalis.

use crate::error::{Error, Result};
use crate::ids::JobId;
use apalis::prelude::{MemorySink, MemoryStorage, MemoryStorageError, Task, TaskBuilder, WorkerBuilder};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt as _, StreamExt as _, lock, sink, stream};
use pipeline::parameters::JobKind;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Called with each job that is ready. It answers once the job is somebody's, not once it is done.
pub type Handler = Arc<dyn Fn(JobId) -> BoxFuture<'static, ()> + Send + Sync>;

/// One queue for each kind of job.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Wakes one worker for `job`.
    async fn push(&self, kind: JobKind, job: JobId) -> Result<()>;

    /// Hands the jobs of `kind` to `handler`, one after the other, until `shutdown`.
    /// A call of the handler that has begun is finished.
    async fn run(&self, kind: JobKind, handler: Handler, shutdown: CancellationToken) -> Result<()>;
}

/// The queue of a single process: apalis' memory storage, refilled from the rows at start.
pub struct MemoryQueue {
    lanes: HashMap<JobKind, Lane>,
}

struct Lane {
    sink: MemorySink<WakeUp>,
    /// Taken by the one consumer.
    storage: Mutex<Option<MemoryStorage<WakeUp>>>,
}

/// What travels. It must always decode, also in an older or newer process, so it holds nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct WakeUp {
    job_id: JobId,
}

impl MemoryQueue {
    pub fn new() -> Self {
        Self { lanes: JobKind::ALL.into_iter().map(|kind| (kind, Lane::new())).collect() }
    }

    fn lane(&self, kind: JobKind) -> &Lane {
        self.lanes.get(&kind).expect("every kind has its lane. This is a bug.")
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl Lane {
    fn new() -> Self {
        // Not bounded here: the dispatcher keeps no more in it than the workers can soon take.
        let (sender, mut receiver) = mpsc::unbounded_channel::<Task<WakeUp>>();
        let push = sink::unfold(sender, |sender, task| {
            ready(match sender.send(task) {
                Ok(()) => Ok(sender),
                Err(gone) => Err(MemoryStorageError::Other(gone.to_string().into())),
            })
        });
        let sink = MemorySink::new(Arc::new(lock::Mutex::new(Box::new(Box::pin(push)))));
        let pulled = stream::poll_fn(move |context| receiver.poll_recv(context));
        let storage = MemoryStorage::new_with(sink.clone(), pulled.boxed());
        Self { sink, storage: Mutex::new(Some(storage)) }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, kind: JobKind, job: JobId) -> Result<()> {
        let mut sink = self.lane(kind).sink.clone();
        let task = TaskBuilder::new(WakeUp { job_id: job }).build();
        sink.send(task).await.map_err(Error::internal)
    }

    async fn run(&self, kind: JobKind, handler: Handler, shutdown: CancellationToken) -> Result<()> {
        let storage = self.lane(kind).storage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(storage) = storage else {
            return Err(Error::internal(format!("the queue {} has a consumer already", kind.as_str())));
        };
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = consume(kind, storage, handler) => ended,
        }
    }
}

fn consume(
    kind: JobKind,
    storage: MemoryStorage<WakeUp>,
    handler: Handler,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let worker = WorkerBuilder::new(format!("{}-{}", kind.as_str(), Uuid::new_v4())).backend(storage).build(
        move |wake_up: WakeUp| {
            // A task of its own: a shutdown drops this future, and must not drop a claim in the making.
            let call = tokio::spawn(handler(wake_up.job_id));
            async move { call.await.map_err(|error| error.to_string()) }
        },
    );
    let mut events = worker.stream().boxed();
    async move {
        while let Some(event) = events.next().await {
            event.map_err(|error| Error::internal(error.to_string()))?;
        }
        Ok(())
    }
}
