//! Jobs under which workers die.

use super::{Load, Outcome, SOUND, Ship, Sort, stale_writes};
use crate::fleet::BackEnds;
use crate::server::{Often, Server, eventually_each};
use std::time::{Duration, Instant};

/// Kills whoever runs a job until it fails, one such job after the other, and submits another one at each kill.
///
/// # Panics
/// Where something that must hold does not: the jobs that kill fail as poison after four attempts, the others complete.
pub async fn poison(back_ends: &BackEnds, jobs: usize, limit: Duration) -> Outcome {
    let begun = Instant::now();
    let mut load = Load::begin(Ship::fleet(back_ends, 0)).await.with_sound(SOUND).await;
    let mut workers: [Server; 2] = std::array::from_fn(|_| load.fleet().worker());
    for _ in 0..jobs {
        let poison = load.submit(Sort::Long).await;
        let often = Often { every: Duration::from_millis(100), limit };
        let failed = eventually_each("the end of the job", often, async || {
            let status = load.user().status(&poison).await;
            if status["status"] == "failed" {
                return Some(status);
            }
            for worker in &mut workers {
                let id = worker.process_id();
                if load.rows.running_in(id).iter().any(|(job, _)| *job == poison) {
                    worker.kill();
                    worker.restart();
                    load.take_from(id).await;
                    load.submit(Sort::Quick).await;
                }
            }
            None
        })
        .await;
        assert_eq!((&failed["error"]["code"], failed["attempts"].as_u64()), (&"poison".into(), Some(4)));
    }
    let findings = load.settle(Some(back_ends), limit).await;
    assert_eq!((findings.failed, findings.completed), (jobs, load.jobs() - jobs));
    let stale_writes = stale_writes(&workers).await;
    Outcome { findings, stale_writes, seconds: begun.elapsed().as_secs_f64() }
}
