//! What must happen now and then: leases of dead workers end, and what nobody refers to any more is swept.

use crate::Services;
use std::error::Error;
use std::time::Duration;
use storage::Storage;
use storage::duties::Duty;
use storage::jobs::Reaped;
use storage::workers::{BEAT, Worker};
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// With leases of 60 s, a dead worker is noticed within 70 s; within 85 s, if it was the one that reaps.
const REAP: Duration = Duration::from_secs(10);
const REAPER: Duration = Duration::from_secs(15);
/// A database that was away for longer than this is left alone for a while: who lives renews his leases first, or hands
/// his jobs back, once he has noticed which connections are dead.
const SLOW: Duration = Duration::from_secs(5);
const AFTER_OUTAGE: Duration = Duration::from_secs(40);
const LONGEST_REAP: Duration = Duration::from_secs(60);
const SWEEP: Duration = Duration::from_secs(600);
const LONGEST_SWEEP: Duration = Duration::from_secs(2 * 3600);

/// Says that this worker lives.
pub(crate) async fn beat(
    services: Services,
    worker: Worker,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let work = || async {
        if let Err(error) = services.storage.workers.beat(&worker).await {
            tracing::error!(error = &error as &dyn Error, "could not say that this worker lives");
        }
    };
    every(Turns { period: BEAT, limit: BEAT }, &shutdown, work).await
}

pub(crate) async fn reap(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Services { storage, config, .. } = &services;
    let away_at = Mutex::new(None::<Instant>);
    let work = || async {
        let asked = Instant::now();
        // Of all processes one does it for all.
        let taken = timeout(REAPER, storage.duties.take(Duty::Reap, &config.name, REAPER)).await;
        let mut away_at = away_at.lock().await;
        if asked.elapsed() > SLOW || !matches!(taken, Ok(Ok(_))) {
            *away_at = Some(Instant::now());
        }
        let was_away = away_at.is_some_and(|seen| seen.elapsed() < AFTER_OUTAGE);
        let reaped = match taken {
            Ok(Ok(true)) if !was_away => storage.jobs.reap().await,
            // Whom the database answers at once may do it meanwhile.
            Ok(Ok(true)) => {
                storage.duties.give_up(Duty::Reap, &config.name).await.map(|()| Reaped::default())
            }
            Ok(Ok(false)) => Ok(Reaped::default()),
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => return tracing::error!("the database does not say who ends dead leases"),
        };
        match reaped {
            Ok(reaped) => note(&reaped),
            Err(error) => tracing::error!(error = &error as &dyn Error, "could not end dead leases"),
        }
    };
    every(Turns { period: REAP, limit: LONGEST_REAP }, &shutdown, work).await
}

/// Apart from the reaper, for a sweep may take minutes; it may be left off anywhere.
pub(crate) async fn sweep(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Services { storage, config, .. } = &services;
    let work = || async {
        let swept = async {
            // Of all processes one does it for all.
            if storage.duties.take(Duty::Sweep, &config.name, SWEEP + SWEEP / 2).await? {
                storage.sweep().await?;
            } else {
                storage.sweep_staging().await?;
            }
            storage::error::Result::Ok(())
        };
        if let Err(error) = swept.await {
            tracing::error!(error = &error as &dyn Error, "could not sweep");
        }
    };
    every(Turns { period: SWEEP, limit: LONGEST_SWEEP }, &shutdown, work).await
}

/// For a process that runs no jobs: what it staged and did not finish lies on its own disk.
pub async fn sweep_staging(storage: Storage, shutdown: CancellationToken) -> anyhow::Result<()> {
    let work = || async {
        if let Err(error) = storage.sweep_staging().await {
            tracing::error!(error = &error as &dyn Error, "could not sweep what was staged");
        }
    };
    every(Turns { period: SWEEP, limit: LONGEST_SWEEP }, &shutdown, work).await
}

struct Turns {
    period: Duration,
    /// A database or store that falls silent must not end what is to be done now and then.
    limit: Duration,
}

async fn every<Work>(
    Turns { period, limit }: Turns,
    shutdown: &CancellationToken,
    work: impl Fn() -> Work,
) -> anyhow::Result<()>
where
    Work: Future<Output = ()>,
{
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let forever = async {
        loop {
            ticks.tick().await;
            if timeout(limit, work()).await.is_err() {
                tracing::error!(
                    limit_seconds = limit.as_secs(),
                    "gave up what did not end; it is due again soon"
                );
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = forever => Ok(()),
    }
}

fn note(reaped: &Reaped) {
    let (returned, poisoned) = (reaped.returned.len(), reaped.poisoned.len());
    if returned + poisoned > 0 {
        tracing::warn!(returned, poisoned, "ended the leases of dead workers");
    }
    metrics::counter!("voxmill_leases_reaped_total").increment((returned + poisoned) as u64);
}
