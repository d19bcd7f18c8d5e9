//! A job under which workers die.

use super::{LIMIT, SOUND, Sort, load};
use std::time::Duration;
use tests::server::{Often, Server, eventually_each};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_workers_fails_and_the_others_do_not() {
    let mut load = load().await.with_sound(SOUND).await;
    let mut workers: [Server; 2] = std::array::from_fn(|_| load.fleet().worker());
    let poison = load.submit(Sort::Long).await;
    let often = Often { every: Duration::from_millis(100), limit: LIMIT };
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
    let findings = load.settle(Some(tests::fleet::BackEnds::shared()), LIMIT).await;
    assert_eq!((findings.failed, findings.completed), (1, load.jobs() - 1));
}
