//! Machines whose clocks are wrong, by the library of Debian's package faketime.

use super::{SOON, SOUND, Sort, load, settle};
use reqwest::StatusCode;
use tests::fleet::off_by;
use tests::server::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong_takes_no_lease_and_loses_none() {
    let mut load = load().await.with_sound(SOUND).await;
    let steady = load.fleet().worker();
    let long = load.submit(Sort::Long).await;
    load.user().in_stage(&long, "extracting").await;
    // The lease is the worker's still, the duties are anybody's.
    load.rows.query("DELETE FROM duties");
    let ahead = load.fleet().worker_with(&off_by("+10m"));
    let behind = load.fleet().worker_with(&off_by("-10m"));
    let of_ahead = format!(
        "SELECT count(*) FROM duties WHERE name = 'reap' AND holder LIKE '%-{}-%'",
        ahead.process_id()
    );
    eventually("the one that is ahead looks for dead leases", SOON, async || {
        (load.rows.number(&of_ahead) == 1).then_some(())
    })
    .await;
    for worker in [&ahead, &behind, &steady] {
        load.until_completed_by(worker).await;
    }
    assert_eq!(load.user().ended(&long).await["status"], "completed");
    for worker in [&ahead, &behind, &steady] {
        assert_eq!(worker.counted("voxmill_leases_reaped_total", "").await, 0);
        assert_eq!(worker.counted("voxmill_stale_writes_total", "").await, 0);
        assert!(!worker.log().contains("not registered"), "nobody is taken for dead:\n{}", worker.log());
    }
    let odd = "SELECT count(*) FROM jobs WHERE attempt > 1 OR created_at > started_at OR started_at > finished_at \
               OR finished_at > now() + interval '1 minute' OR created_at < now() - interval '5 minutes'";
    settle(&load).await;
    assert_eq!(load.rows.number(odd), 0, "times are the database's");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_good_at_an_api_whose_clock_is_wrong_by_minutes() {
    let mut load = load().await;
    let apis = [load.fleet().api_with(&off_by("+10m")), load.fleet().api_with(&off_by("-10m"))];
    let _worker = load.fleet().worker();
    let user = load.user();
    for (here, there) in [(&apis[0], &apis[1]), (&apis[1], &apis[0])] {
        user.at(&here.url).get("/api/v1/files").await.expect(StatusCode::OK);
        let tokens = user.at(&here.url).log_in().await;
        let user = user.with_token(tokens["access_token"].as_str().unwrap()).at(&there.url);
        user.get("/api/v1/files").await.expect(StatusCode::OK);
    }
    let late = load.fleet().api_with(&off_by("+2h"));
    user.at(&late.url).get("/api/v1/files").await.expect(StatusCode::UNAUTHORIZED);
    for api in &apis {
        load.submit_at(&api.url, Sort::Quick).await;
    }
    settle(&load).await;
}
