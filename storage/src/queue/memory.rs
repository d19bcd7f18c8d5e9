//! The queue of a single process.

use super::{Handler, Queue};
use crate::error::{Error, Result};
use crate::ids::JobId;
use apalis::layers::WorkerBuilderExt as _;
use apalis::prelude::{MemorySink, MemoryStorage, Task, TaskBuilder, TaskId, WorkerBuilder};
use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _, future, lock, sink, stream};
use pipeline::parameters::JobKind;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// apalis' memory storage, refilled from the rows at start.
pub struct MemoryQueue {
    lanes: HashMap<JobKind, Lane>,
    /// Whether it was told that nothing is in it yet.
    refilled: AtomicBool,
}

struct Lane {
    sender: mpsc::UnboundedSender<Task<WakeUp>>,
    /// Pushed and not yet taken, so that a job is never in the lane twice, however long it waits there.
    inside: Arc<Mutex<HashSet<JobId>>>,
    /// Taken by the one consumer.
    storage: Mutex<Option<MemoryStorage<WakeUp>>>,
}

/// What travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct WakeUp {
    job_id: JobId,
}

impl MemoryQueue {
    pub fn new() -> Self {
        let lanes = JobKind::ALL.into_iter().map(|kind| (kind, Lane::new())).collect();
        Self { lanes, refilled: AtomicBool::new(false) }
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
        let pulled = stream::poll_fn(move |context| receiver.poll_recv(context));
        // The worker locks the storage's own sink each time it looks for work, and goes to sleep for good where it finds
        // it locked: so nothing is pushed through it.
        let unused = MemorySink::new(Arc::new(lock::Mutex::new(Box::new(
            sink::drain().sink_map_err(|never| match never {}),
        ))));
        let storage = Mutex::new(Some(MemoryStorage::new_with(unused, pulled.boxed())));
        Self { sender, inside: Arc::default(), storage }
    }

    fn inside(&self) -> MutexGuard<'_, HashSet<JobId>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn push(&self, kind: JobKind, job: JobId) -> Result<()> {
        let lane = self.lane(kind);
        if !lane.inside().insert(job) {
            return Ok(());
        }
        let task =
            TaskBuilder::new(WakeUp { job_id: job }).task_id(TaskId::from_string(job.to_string())).build();
        lane.sender.send(task).map_err(Error::internal)
    }

    async fn run(&self, kind: JobKind, handler: Handler, shutdown: CancellationToken) -> Result<()> {
        let lane = self.lane(kind);
        let storage = lane.storage.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(storage) = storage else {
            return Err(Error::internal(format!("the queue {} has a consumer already", kind.as_str())));
        };
        let inside = lane.inside.clone();
        let take: Handler = Arc::new(move |job| {
            inside.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
            handler(job)
        });
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = consume(kind, storage, take) => ended,
        }
    }

    fn is_behind(&self) -> bool {
        false
    }

    async fn forgot(&self) {
        if self.refilled.swap(true, Ordering::Relaxed) {
            future::pending().await
        }
    }
}

fn consume(
    kind: JobKind,
    storage: MemoryStorage<WakeUp>,
    handler: Handler,
) -> impl Future<Output = Result<()>> + Send + 'static {
    let worker = WorkerBuilder::new(format!("{}-{}", kind.as_str(), Uuid::new_v4()))
        .backend(storage)
        // Else apalis takes all that there is at once, and the order in which it was pushed is lost.
        .concurrency(1)
        .build(move |wake_up: WakeUp| handler(wake_up.job_id));
    let mut events = worker.stream().boxed();
    async move {
        while let Some(event) = events.next().await {
            event.map_err(|error| Error::internal(error.to_string()))?;
        }
        Ok(())
    }
}
