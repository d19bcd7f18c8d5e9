//! What must happen now and then: leases of dead workers end, and what nobody refers to any more is swept.

use crate::Services;
use std::time::Duration;
use storage::jobs::Reaped;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// With leases of 60 s, a dead worker is noticed within 70 s.
const REAP: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_secs(600);

pub(crate) async fn reap(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let work = || async {
        match services.storage.jobs.reap().await {
            Ok(reaped) => note(&reaped),
            Err(error) => tracing::error!(%error, "could not end dead leases"),
        }
    };
    every(REAP, &shutdown, work).await
}

/// Apart from the reaper, for a sweep may take minutes; it may be left off anywhere.
pub(crate) async fn sweep(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let work = || async {
        if let Err(error) = services.storage.sweep().await {
            tracing::error!(%error, "could not sweep");
        }
    };
    every(SWEEP, &shutdown, work).await
}

async fn every<Work>(
    period: Duration,
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
            work().await;
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
