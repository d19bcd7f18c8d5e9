//! A worker that is told to end while it runs a long job.

use super::{SOON, SOUND, Sort, load, settle};
use tests::server::eventually;
use tests::storm::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_keeps_the_lease_of_its_job_or_hands_it_back() {
    let mut load = load().await.with_sound(SOUND).await;
    let mut patient = load.fleet().worker_with(&[("VOXMILL_GRACE_SECONDS", "300")]);
    let job = begun(&mut load).await;
    patient.ask_to_end();
    // Else it would have to be waited for as long as a lease lasts.
    load.rows.query("UPDATE jobs SET lease_until = now() + interval '5 seconds' WHERE state = 'running'");
    let renewed =
        "SELECT count(*) FROM jobs WHERE state = 'running' AND lease_until > now() + interval '30 seconds'";
    eventually("a renewal", SOON, async || (load.rows.number(renewed) == 1).then_some(())).await;
    load.rows.query("DELETE FROM duties");
    let mut hasty = load.fleet().worker_with(&[("VOXMILL_GRACE_SECONDS", "0")]);
    assert!(patient.ended().success());
    completed_at_first(&load, &job).await;
    assert_eq!(hasty.counted("voxmill_leases_reaped_total", "").await, 0);

    let job = begun(&mut load).await;
    assert!(hasty.terminate().success());
    let _other = load.fleet().worker();
    completed_at_first(&load, &job).await;
    settle(&load).await;
}

/// The id of a long job that has begun.
async fn begun(load: &mut Load) -> String {
    let job = load.submit(Sort::Long).await;
    load.user().in_stage(&job, "extracting").await;
    job
}

async fn completed_at_first(load: &Load, job: &str) {
    let ended = load.user().ended(job).await;
    assert_eq!((&ended["status"], ended["attempts"].as_u64()), (&"completed".into(), Some(1)), "{ended:#}");
}
