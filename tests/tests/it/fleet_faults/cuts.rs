//! A process that reaches one of the back ends no more, while the others do.

use super::{GIVES_UP, SOON, SOUND, Sort, load, settle};
use reqwest::StatusCode;
use serde_json::json;
use std::time::{Duration, Instant};
use tests::fleet::{BackEnds, Ways};
use tests::server::eventually;
use tests::servers::Fault;
use tests::storm::{Load, Ship};

/// And a little more.
const LEASE: Duration = Duration::from_secs(65);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_taken_from_a_worker_without_database_is_not_published_by_it() {
    let mut load = load().await.with_sound(SOUND).await;
    let ways = ways(&load);
    let cut_off = load.fleet().worker_with(&ways.settings());
    let job = load.submit(Sort::Long).await;
    load.user().in_stage(&job, "extracting").await;
    let cut = Instant::now();
    ways.postgres.fail(Fault::BlackHole);
    let _other = load.fleet().worker();
    load.take_from(cut_off.process_id()).await;
    assert_eq!(load.user().ended(&job).await["status"], "completed");
    let cut_for = cut.elapsed();
    ways.postgres.pass();
    eventually("the end of its run", SOON, async || {
        (cut_off.counted("voxmill_job_runs_total", "lost").await == 1).then_some(())
    })
    .await;
    let refused = cut_off.counted("voxmill_stale_writes_total", "extract-audio").await;
    assert!(refused > 0 || cut_for > GIVES_UP, "it wrote nothing within {cut_for:?}");
    load.until_completed_by(&cut_off).await;
    settle(&load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_redis_or_store_leaves_the_jobs_to_others_and_comes_back() {
    let mut load = load().await;
    let ways = ways(&load);
    // It leads the dispatch.
    let cut_off = load.fleet().worker_with(&ways.settings());
    load.until_completed_by(&cut_off).await;
    let other = load.fleet().worker();

    ways.redis.fail(Fault::BlackHole);
    load.until_completed_by(&other).await;
    ways.redis.pass();
    load.until_completed_by(&cut_off).await;

    ways.s3.fail(Fault::BlackHole);
    eventually("a job that hangs", SOON, async || {
        load.submit(Sort::Quick).await;
        (!load.rows.running_in(cut_off.process_id()).is_empty()).then_some(())
    })
    .await;
    ways.s3.pass();
    load.until_completed_by(&cut_off).await;
    let taken = "SELECT count(*) FROM jobs WHERE attempt > 1";
    settle(&load).await;
    assert_eq!(load.rows.number(taken), 0, "nobody lost a lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_for_a_while_costs_a_job_no_attempt() {
    let mut load = load().await.with_sound(SOUND).await;
    let ways = ways(&load);
    let _worker = load.fleet().worker_with(&ways.settings());
    let job = load.submit(Sort::Long).await;
    load.user().in_stage(&job, "extracting").await;
    ways.s3.fail(Fault::Unavailable);
    load.user().in_stage(&job, "storing").await;
    eventually("more requests than one call of the store makes", SOON, async || {
        (ways.s3.struck() > 8).then_some(())
    })
    .await;
    ways.s3.pass();
    let ended = load.user().ended(&job).await;
    assert_eq!((&ended["status"], &ended["attempts"]), (&json!("completed"), &json!(1)), "{ended:#}");
    settle(&load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_process_can_work_is_said_within_seconds() {
    let load = load().await;
    let ways = ways(&load);
    let api = load.fleet().api_with(&ways.settings());
    let readiness = async || reqwest::get(format!("{}/readiness", api.url)).await.unwrap();
    assert_eq!(readiness().await.status(), StatusCode::OK);
    for (way, name) in [(&ways.postgres, "database"), (&ways.s3, "storage"), (&ways.redis, "cache")] {
        way.fail(Fault::BlackHole);
        let asked = Instant::now();
        let answer = readiness().await;
        assert!(asked.elapsed() < Duration::from_secs(5), "{name}: {:?}", asked.elapsed());
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{name}");
        let said: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(said[name], "unavailable", "{said}");
        way.pass();
        eventually("it is ready again", SOON, async || {
            (readiness().await.status() == StatusCode::OK).then_some(())
        })
        .await;
    }
}

fn ways(load: &Load) -> Ways {
    Ways::to(BackEnds::shared(), load.fleet())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_postgres_that_outlasts_leases_is_no_crash() {
    let mut back_ends = BackEnds::start();
    let mut load = Load::begin(Ship::fleet(&back_ends, 0)).await.with_sound(6_000).await;
    let worker = load.fleet().worker_with(&[("VOXMILL_SLOTS", "extract-audio=3")]);
    let _reaps_too = load.fleet().worker_with(&[("VOXMILL_QUEUES", "deliver-webhook")]);
    for _ in 0..3 {
        load.submit(Sort::Long).await;
    }
    eventually("a child for each", SOON, async || (worker.children().len() == 3).then_some(())).await;
    back_ends.postgres.kill();
    let killed = Instant::now();
    eventually("their end", 2 * SOON, async || worker.children().is_empty().then_some(())).await;
    eventually("the end of their leases", 2 * SOON, async || (killed.elapsed() > LEASE).then_some(())).await;
    back_ends.postgres.restart();
    let goes_on = "SELECT count(*) FROM jobs WHERE kind = 'extract-audio' AND crashes = 0 AND attempt = 1 \
                   AND (state = 'completed' OR (state = 'running' AND lease_epoch = 2))";
    eventually("each to run again, or to be done", SOON, async || {
        (load.rows.number(goes_on) == 3).then_some(())
    })
    .await;
}
