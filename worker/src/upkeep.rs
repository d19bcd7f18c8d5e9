//! What must happen now and then: leases of dead workers end, and what nobody refers to any more is swept.

use crate::Services;
use std::time::Duration;
use storage::jobs::Reaped;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// With leases of 60 s, a dead worker is noticed within 70 s.
const REAP: Duration = Duration::from_secs(10);
const SWEEP: Duration = Duration::from_secs(600);

pub(crate) async fn run(services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (mut reap, mut sweep) = (interval(REAP), interval(SWEEP));
    reap.set_missed_tick_behavior(MissedTickBehavior::Delay);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = reap.tick() => match services.storage.jobs.reap().await {
                Ok(reaped) => note(&reaped),
                Err(error) => tracing::error!(%error, "could not end dead leases"),
            },
            _ = sweep.tick() => if let Err(error) = services.storage.sweep().await {
                tracing::error!(%error, "could not sweep");
            },
        }
    }
}

fn note(reaped: &Reaped) {
    let (returned, poisoned) = (reaped.returned.len(), reaped.poisoned.len());
    if returned + poisoned > 0 {
        tracing::warn!(returned, poisoned, "ended the leases of dead workers");
    }
    metrics::counter!("voxmill_leases_reaped_total").increment((returned + poisoned) as u64);
}
