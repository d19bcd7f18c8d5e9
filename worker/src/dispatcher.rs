//! Fills the queue from the rows: due jobs by priority, fairness and age, and never more than the workers can soon take.

use crate::Services;
use pipeline::parameters::JobKind;
use std::time::Duration;
use storage::Storage;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How often rows are looked at when nobody says that one is due.
const TICK: Duration = Duration::from_millis(500);
/// A wake-up unanswered for this long is taken for lost and pushed again.
const LOST_AFTER: Duration = Duration::from_secs(60);
const LOST_TICK: Duration = Duration::from_secs(15);

pub(crate) async fn run(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    refill(&services.storage).await?;
    let mut tick = interval(TICK);
    let mut lost_tick = interval(LOST_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = lost_tick.tick() => push_lost(&services.storage).await,
            _ = tick.tick() => dispatch_all(&services).await,
            () = services.storage.jobs.due().notified() => dispatch_all(&services).await,
        }
    }
}

/// The memory queue is empty at start, whatever the rows say.
async fn refill(storage: &Storage) -> storage::error::Result<()> {
    for (kind, job) in storage.jobs.all_queued().await? {
        storage.queue.push(kind, job).await?;
    }
    Ok(())
}

async fn dispatch_all(services: &Services) {
    for (&kind, &slots) in &services.config.slots {
        if let Err(error) = dispatch(&services.storage, kind, 2 * slots as u64).await {
            tracing::error!(%error, job.kind = kind.as_str(), "could not dispatch jobs");
        }
    }
}

/// Keeps `depth` jobs of `kind` in the queue: what is not yet pushed can still be overtaken by what is more urgent.
async fn dispatch(storage: &Storage, kind: JobKind, depth: u64) -> storage::error::Result<()> {
    let room = depth.saturating_sub(storage.jobs.queued(kind).await?);
    if room == 0 {
        return Ok(());
    }
    for job in storage.jobs.dispatch(kind, room as usize).await? {
        storage.queue.push(kind, job).await?;
    }
    Ok(())
}

async fn push_lost(storage: &Storage) {
    let pushed = async {
        for (kind, job) in storage.jobs.requeue_lost(LOST_AFTER).await? {
            tracing::debug!(job.id = %job, "pushing a wake-up again");
            storage.queue.push(kind, job).await?;
        }
        storage::error::Result::Ok(())
    };
    if let Err(error) = pushed.await {
        tracing::error!(%error, "could not push lost wake-ups again");
    }
}
