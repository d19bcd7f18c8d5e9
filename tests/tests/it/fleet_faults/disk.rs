//! A worker whose disk is full, beside others.

use super::{SOON, Sort, load, settle};
use tests::server::eventually;

/// In MiB.
const DISK: u32 = 75;
/// In seconds. It takes ten megabytes, and what becomes of it 57.
const SOUND: u32 = 600;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_disk_is_full_leaves_the_jobs_to_others_until_it_is_not() {
    let mut load = load().await.with_sound(SOUND).await;
    let full = load.fleet().worker_on_disk_of(DISK);
    full.fill_disk(30 << 20);
    let job = load.submit(Sort::Large).await;
    eventually("the end of the first attempt", SOON, async || {
        let status = load.user().status(&job).await;
        (status["status"] == "queued" && status["attempts"] != 0).then_some(())
    })
    .await;
    let blocker = full.fill_disk(0);
    let quick = load.submit(Sort::Quick).await;
    let other = load.fleet().worker();
    for job in [&job, &quick] {
        assert_eq!(load.user().ended(job).await["status"], "completed");
    }
    load.until_completed_by(&other).await;
    std::fs::remove_file(blocker).unwrap();
    load.until_completed_by(&full).await;
    settle(&load).await;
}
