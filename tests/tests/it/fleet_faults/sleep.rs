//! A machine that sleeps for longer than a lease lasts.

use super::{GIVES_UP, LIMIT, SOON, SOUND, Sort, load, settle};
use std::time::{Duration, Instant};
use tests::server::{eventually, is_running};

/// After so long without one, the runner's next look at its job is a write.
const RENEWAL_DUE: Duration = Duration::from_secs(16);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sleeper_writes_late_is_refused_and_counted() {
    let mut load = load().await.with_sound(SOUND).await;
    let sleeper = load.fleet().worker();
    let job = load.submit(Sort::Long).await;
    load.user().in_stage(&job, "extracting").await;
    let children = sleeper.children();
    assert!(!children.is_empty());
    let asleep = Instant::now();
    sleeper.sleep();
    let other = load.fleet().worker();
    load.take_from(sleeper.process_id()).await;
    let ended = load.user().ended(&job).await;
    assert_eq!((&ended["status"], ended["attempts"].as_u64()), (&"completed".into(), Some(2)), "{ended:#}");
    eventually("the time of a renewal", LIMIT, async || (asleep.elapsed() > RENEWAL_DUE).then_some(())).await;
    let slept = asleep.elapsed();
    sleeper.wake();
    eventually("the end of its children", SOON, async || {
        children.iter().all(|id| !is_running(*id)).then_some(())
    })
    .await;
    eventually("the end of its run", SOON, async || {
        (sleeper.counted("voxmill_job_runs_total", "lost").await == 1).then_some(())
    })
    .await;
    let refused = sleeper.counted("voxmill_stale_writes_total", "extract-audio").await;
    assert!(refused > 0 || slept > GIVES_UP, "it wrote nothing after {slept:?}");
    load.until_completed_by(&sleeper).await;
    assert_eq!(other.counted("voxmill_stale_writes_total", "").await, 0);
    settle(&load).await;
}
