//! Execution: takes jobs from the queue, runs them under a lease, and publishes what they make.
//!
//! [`run`] starts the loops of one process: the [`dispatcher`] fills the queue from the rows, the consumers claim, a
//! [`runner`] sees each claimed job through, and [`upkeep`] ends dead leases and sweeps.

mod capacity;
mod context;
mod dispatcher;
mod egress;
pub mod engines;
mod jobs;
mod patience;
mod progress;
mod runner;
mod signature;
mod upkeep;

pub use egress::{Egress, InvalidNetwork, Network};

use engines::Engines;
use futures_util::future::BoxFuture;
use pipeline::media::MediaRunner;
use pipeline::parameters::JobKind;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use storage::Storage;
use storage::ids::JobId;
use storage::queue::Handler;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
pub use upkeep::sweep_staging;

#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Names this process in leases; different at each start.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// Every job runs in a directory of its own below this one.
    pub work_directory: PathBuf,
    /// How many jobs of each kind run at once. A kind that is absent, or whose models are, is not run here.
    pub slots: BTreeMap<JobKind, usize>,
    /// The longest that one attempt may take.
    pub time_limit: Duration,
    /// How long running jobs may go on after a shutdown was asked for; then they are handed back.
    pub grace: Duration,
}

/// What a running job may use.
#[derive(Clone)]
pub struct Services {
    pub storage: Storage,
    pub media: MediaRunner,
    pub engines: Arc<Engines>,
    pub egress: Egress,
    pub config: Arc<WorkerConfig>,
}

/// Makes the directory that jobs run in, empty: before anything else of the process uses it.
pub async fn prepare(work_directory: &Path) -> anyhow::Result<()> {
    runner::clear(work_directory).await
}

/// Runs jobs until `shutdown`, then drains: nothing new is claimed, and what runs ends or is handed back. The work
/// directory must be there, by [`prepare`].
///
/// # Errors
/// When a loop ends by itself, which leaves the process unable to work.
pub async fn run(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let running = TaskTracker::new();
    let slots = capacity::runnable(&services);
    let worker = capacity::described(&services, &slots);
    // Before the first dispatch, which goes by it.
    services.storage.workers.beat(&worker).await?;
    let mut loops = JoinSet::new();
    loops.spawn(upkeep::beat(services.clone(), worker, shutdown.clone()));
    loops.spawn(dispatcher::run(services.clone(), shutdown.clone()));
    loops.spawn(upkeep::reap(services.clone(), shutdown.clone()));
    loops.spawn(upkeep::sweep(services.clone(), shutdown.clone()));
    // Jobs outlive the shutdown by the grace; this token is what stops them then.
    let hand_back = CancellationToken::new();
    for (kind, slots) in slots {
        let handler = consumer(
            &services,
            Consumer { kind, slots, running: running.clone(), hand_back: hand_back.clone() },
        );
        let (storage, shutdown) = (services.storage.clone(), shutdown.clone());
        loops.spawn(async move { Ok(storage.queue.run(kind, handler, shutdown).await?) });
    }
    let mut outcome = Ok(());
    while let Some(ended) = loops.join_next().await {
        outcome = outcome.and(ended.map_err(anyhow::Error::from).flatten());
        if !shutdown.is_cancelled() {
            tracing::error!(error = ?outcome, "a loop of the worker ended by itself; shutting down");
            shutdown.cancel();
        }
    }
    // Nothing more is dispatched for it.
    let left = services.storage.workers.leave(&services.config.name).await;
    drain(&running, &hand_back, services.config.grace).await;
    outcome.and(left.map_err(anyhow::Error::from))
}

struct Consumer {
    kind: JobKind,
    slots: usize,
    running: TaskTracker,
    hand_back: CancellationToken,
}

/// The handler of one queue: leaves the job to a task of its own, and takes the next when a slot is free: one that waits
/// here could be run elsewhere.
fn consumer(services: &Services, consumer: Consumer) -> Handler {
    let slots = Arc::new(Semaphore::new(consumer.slots));
    let (services, consumer) = (services.clone(), Arc::new(consumer));
    Arc::new(move |job: JobId| -> BoxFuture<'static, ()> {
        let (slots, services, consumer) = (slots.clone(), services.clone(), consumer.clone());
        Box::pin(async move {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            // A delivery takes none to speak of.
            if consumer.kind != JobKind::DeliverWebhook {
                if !capacity::has_room(&services) {
                    put_back(&services, consumer.kind, job).await;
                    return capacity::await_room(&services).await;
                }
                capacity::await_memory(&services, consumer.kind).await;
            }
            // Tracked from here on: a shutdown drops the wait for a slot, but a claim in the making is seen through.
            consumer.running.clone().spawn(async move {
                claim_and_run(services, &consumer, job).await;
                drop(slot);
            });
            // Nobody else takes the slots of this kind.
            drop(slots.acquire().await);
        })
    })
}

/// Others may be able to take it.
async fn put_back(services: &Services, kind: JobKind, job: JobId) {
    if let Err(error) = services.storage.queue.push(kind, job).await {
        tracing::error!(error = &error as &dyn Error, job.id = %job, "could not put a wake-up back; it is pushed again later");
    }
}

async fn claim_and_run(services: Services, consumer: &Consumer, job: JobId) {
    match services.storage.jobs.claim(job, &services.config.name).await {
        Ok(Some(claim)) => runner::run(services, claim, consumer.hand_back.clone()).await,
        // Somebody else has it, or its owner cancelled it.
        Ok(None) => {}
        // The row is queued or in line, and the dispatcher pushes it again.
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, job.id = %job, job.kind = consumer.kind.as_str(), "could not claim the job");
        }
    }
}

async fn drain(running: &TaskTracker, hand_back: &CancellationToken, grace: Duration) {
    running.close();
    if !running.is_empty() {
        tracing::info!(jobs = running.len(), grace_seconds = grace.as_secs(), "waiting for running jobs");
    }
    if tokio::time::timeout(grace, running.wait()).await.is_err() {
        tracing::info!(jobs = running.len(), "grace is over; handing running jobs back");
        hand_back.cancel();
        running.wait().await;
    }
    hand_back.cancel();
}
