//! The engine: leases, ends, retries, crashes, and that no order of events breaks the rules.

use crate::world::{World, transcribe};
use futures_util::{FutureExt, StreamExt};
use pipeline::{
    failure::Failure,
    parameters::JobKind,
    retry::{MAX_ATTEMPTS, MAX_CRASHES},
    state::JobState,
};
use sea_orm::ConnectionTrait as _;
use serde_json::Value;
use std::time::Duration;
use storage::{
    error::{Conflict, Error},
    files::FileKind,
    jobs::{Completion, Lease, NewOutput, Reaped, Renewal},
};

#[tokio::test]
async fn a_completed_job_shows_its_files_in_order_and_only_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.storage.projects.find_or_create(ada, "film").await.unwrap();
    let file = world.audio(ada).await;
    let new = storage::jobs::NewJob { project: Some(project.id), ..transcribe(ada, file) };
    let job = world.submit(new).await;
    let claim = world.claim(job.id).await;
    let completion = completion(&world, &claim.lease, &["b.json", "a.txt", "c.srt"]).await;
    assert_eq!(world.storage.jobs.outputs(&job).await.unwrap(), [], "nothing shows before the end");
    assert!(world.storage.jobs.complete(&claim.lease, completion.clone()).await.unwrap());
    assert!(
        world.storage.jobs.complete(&claim.lease, completion).await.unwrap(),
        "the answer may have been lost"
    );

    let done = world.storage.jobs.find(ada, job.id).await.unwrap();
    assert_eq!((done.state, done.progress), (JobState::Completed, 100.0));
    assert_eq!(done.result, Some(serde_json::json!({"language": "en"})));
    let outputs = world.storage.jobs.outputs(&done).await.unwrap();
    let names: Vec<_> = outputs.iter().map(|file| file.filename.as_str()).collect();
    assert_eq!(names, ["b.json", "a.txt", "c.srt"]);
    for output in &outputs {
        assert_eq!((output.owner, output.job), (ada, Some(job.id)));
        assert_eq!(output.project, Some((project.id, project.name.clone())));
        assert_eq!(world.read(output).await, output.filename.as_bytes());
        assert_eq!(world.storage.files.find(ada, output.id).await.unwrap(), *output);
    }
    assert!(matches!(
        world.storage.jobs.cancel(ada, job.id).await,
        Err(Error::Conflict(Conflict::JobFinished))
    ));
}

#[tokio::test]
async fn a_lost_lease_can_do_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let stale = world.claim(job.id).await.lease;
    let late = completion(&world, &stale, &["late.txt"]).await;
    world.pass(61);
    assert_eq!(world.storage.jobs.reap().await.unwrap().returned, [job.id]);
    let lost = async || {
        let jobs = &world.storage.jobs;
        let before = jobs.find(ada, job.id).await.unwrap();
        assert_eq!(jobs.renew(&stale, 50.0, "storing").await.unwrap(), Renewal::Lost);
        assert_eq!(jobs.standing(&stale).await.unwrap(), Renewal::Lost);
        assert!(!jobs.complete(&stale, late.clone()).await.unwrap());
        assert!(!jobs.fail(&stale, &Failure::internal(), 0.5).await.unwrap());
        assert!(!jobs.cancelled(&stale).await.unwrap());
        assert!(!jobs.hand_back(&stale).await.unwrap());
        assert_eq!(jobs.find(ada, job.id).await.unwrap(), before);
    };
    lost().await;
    let held = world.claim(job.id).await.lease;
    lost().await;
    assert_eq!(world.storage.jobs.standing(&held).await.unwrap(), Renewal::Held);
    let good = completion(&world, &held, &["good.txt"]).await;
    assert!(world.storage.jobs.complete(&held, good).await.unwrap());
    lost().await;
    let outputs = world.storage.jobs.outputs(&job).await.unwrap();
    assert_eq!(outputs.iter().map(|file| file.filename.as_str()).collect::<Vec<_>>(), ["good.txt"]);
    world.storage.sweep().await.unwrap();
    assert_eq!(world.objects().await.iter().filter(|key| key.starts_with("jobs/")).count(), 1);
    assert_eq!(world.read(&outputs[0]).await, b"good.txt");
}

#[tokio::test]
async fn outputs_of_another_lease_are_refused() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let lease = world.claim(job.id).await.lease;
    let foreign = Lease { epoch: lease.epoch + 1, ..lease };
    let completion = completion(&world, &foreign, &["a.txt"]).await;
    assert!(matches!(world.storage.jobs.complete(&lease, completion).await, Err(Error::Internal(_))));
    assert!(lease.object_key("../../escape").is_err());
}

#[tokio::test]
async fn progress_does_not_go_back_within_an_attempt() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let lease = world.claim(job.id).await.lease;
    let mut version = job.version;
    for (told, shown) in [(10.0, 10.0), (5.0, 10.0), (70.5, 70.5), (250.0, 100.0), (-3.0, 100.0)] {
        assert_eq!(world.storage.jobs.renew(&lease, told, "transcribing").await.unwrap(), Renewal::Held);
        let now = world.storage.jobs.find(ada, job.id).await.unwrap();
        assert_eq!((now.progress, now.stage.as_deref()), (shown, Some("transcribing")));
        assert!(now.version > version);
        version = now.version;
    }
    world.storage.jobs.fail(&lease, &Failure::internal(), 0.0).await.unwrap();
    let again = world.claim(job.id).await.job;
    assert_eq!((again.progress, again.stage, again.attempt), (0.0, None, 2));
}

#[tokio::test]
async fn a_renewed_lease_is_not_reaped() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let lease = world.claim(job.id).await.lease;
    for _ in 0..5 {
        world.pass(59);
        assert_eq!(world.storage.jobs.reap().await.unwrap(), Reaped::default());
        assert_eq!(world.storage.jobs.renew(&lease, 1.0, "x").await.unwrap(), Renewal::Held);
    }
    world.pass(60);
    assert_eq!(world.storage.jobs.reap().await.unwrap().returned, [job.id]);
}

#[tokio::test]
async fn a_job_that_runs_here_is_not_taken_for_dead_however_long_its_lease_is_over() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let claim = world.claim(job.id).await;
    // The machine slept: the clock jumps, and nobody could renew.
    world.pass(8 * 3600);
    assert_eq!(world.storage.jobs.reap().await.unwrap(), Reaped::default());
    assert_eq!(world.storage.jobs.renew(&claim.lease, 1.0, "x").await.unwrap(), Renewal::Held);
    world.pass(8 * 3600);
    drop(claim);
    assert_eq!(world.storage.jobs.reap().await.unwrap().returned, [job.id]);
}

#[tokio::test]
async fn a_job_is_cancelled_in_every_state_that_can_be() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;

    let waiting = world.job(ada).await;
    let cancelled = jobs.cancel(ada, waiting.id).await.unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    assert!(cancelled.finished_at.is_some());
    assert_eq!(jobs.cancel(ada, waiting.id).await.unwrap(), cancelled, "once more is fine");
    assert_eq!(world.dispatch(10).await, []);

    let queued = world.job(ada).await;
    assert_eq!(world.dispatch(10).await, [queued.id]);
    assert_eq!(jobs.cancel(ada, queued.id).await.unwrap().state, JobState::Cancelled);
    assert!(jobs.claim(queued.id, "worker").await.unwrap().is_none());

    let ends: [(&str, JobState); 5] = [
        ("cancelled", JobState::Cancelled),
        ("complete", JobState::Cancelled),
        ("fail", JobState::Cancelled),
        ("hand back", JobState::Cancelled),
        ("die", JobState::Cancelled),
    ];
    for (end, expected) in ends {
        let job = world.job(ada).await;
        let lease = world.claim(job.id).await.lease;
        let asked = jobs.cancel(ada, job.id).await.unwrap();
        assert_eq!((asked.state, asked.cancel_requested), (JobState::Running, true));
        assert_eq!(jobs.cancel(ada, job.id).await.unwrap().version, asked.version);
        assert_eq!(jobs.standing(&lease).await.unwrap(), Renewal::CancelRequested);
        assert_eq!(jobs.renew(&lease, 1.0, "x").await.unwrap(), Renewal::CancelRequested);
        match end {
            "cancelled" => assert!(jobs.cancelled(&lease).await.unwrap()),
            "complete" => {
                let completion = completion(&world, &lease, &["unwanted.txt"]).await;
                assert!(!jobs.complete(&lease, completion).await.unwrap());
            }
            "fail" => assert!(jobs.fail(&lease, &Failure::internal(), 0.5).await.unwrap()),
            "hand back" => assert!(jobs.hand_back(&lease).await.unwrap()),
            "die" => {
                world.pass(61);
                assert_eq!(jobs.reap().await.unwrap().cancelled, [job.id]);
            }
            other => panic!("{other}"),
        }
        let ended = jobs.find(ada, job.id).await.unwrap();
        assert_eq!((ended.state, ended.error.clone()), (expected, None), "{end}");
        assert_eq!(jobs.outputs(&ended).await.unwrap(), [], "{end}");
    }
    world.storage.sweep().await.unwrap();
    assert!(world.objects().await.iter().all(|key| key.starts_with("files/")), "no partial file is left");
}

#[tokio::test]
async fn an_error_is_retried_with_backoff_until_the_attempts_are_used_up() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let jobs = &world.storage.jobs;
    let failure = Failure::transient("network", "It did not answer.");
    for attempt in 1..MAX_ATTEMPTS {
        let claim = world.claim(job.id).await;
        assert_eq!(claim.job.attempt, attempt);
        assert!(jobs.fail(&claim.lease, &failure, 1.0).await.unwrap());
        let waiting = jobs.find(ada, job.id).await.unwrap();
        assert_eq!((waiting.state, waiting.error.clone()), (JobState::Waiting, None));
        assert_eq!(world.dispatch(10).await, [], "it waits for its time");
        let wait = (waiting.run_after - world.clock.now()).to_std().unwrap();
        assert!(wait <= pipeline::retry::backoff(attempt, 1.0));
        world.clock.advance(wait + Duration::from_millis(1));
    }
    let claim = world.claim(job.id).await;
    assert!(jobs.fail(&claim.lease, &failure, 1.0).await.unwrap());
    let failed = jobs.find(ada, job.id).await.unwrap();
    assert_eq!((failed.state, failed.error, failed.attempt), (JobState::Failed, Some(failure), MAX_ATTEMPTS));
}

#[tokio::test]
async fn a_job_that_kills_its_workers_is_poison() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let jobs = &world.storage.jobs;
    for crash in 1..MAX_CRASHES {
        world.claim(job.id).await;
        world.pass(61);
        assert_eq!(jobs.reap().await.unwrap().returned, [job.id], "crash {crash}");
        assert_eq!(jobs.find(ada, job.id).await.unwrap().crashes, crash);
    }
    world.claim(job.id).await;
    world.pass(61);
    assert_eq!(jobs.reap().await.unwrap().poisoned, [job.id]);
    let failed = jobs.find(ada, job.id).await.unwrap();
    assert_eq!((failed.state, failed.error), (JobState::Failed, Some(Failure::poison())));
    let again = jobs.retry(ada, job.id).await.unwrap();
    assert_eq!((again.crashes, again.attempt), (0, 0));
}

#[tokio::test]
async fn a_job_handed_back_runs_at_once_and_keeps_its_attempt() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let other = world.user("bob").await;
    let claim = world.claim(job.id).await;
    let younger = world.job(other).await;
    assert!(world.storage.jobs.hand_back(&claim.lease).await.unwrap());
    let waiting = world.storage.jobs.find(ada, job.id).await.unwrap();
    assert_eq!((waiting.state, waiting.attempt, waiting.crashes), (JobState::Waiting, 0, 0));
    assert_eq!(world.dispatch(10).await, [job.id, younger.id], "it goes in front of what came later");
    let claim = world.storage.jobs.claim(job.id, "another").await.unwrap().unwrap();
    assert_eq!((claim.job.attempt, claim.lease.epoch), (1, 2));
}

#[tokio::test]
async fn a_job_that_only_a_newer_version_can_read_is_left_to_one() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let new = transcribe(ada, world.audio(ada).await);
    let parameters = serde_json::to_value(&new.parameters).unwrap();
    let job = world.submit(new).await;
    let jobs = &world.storage.jobs;
    let database = sea_orm::Database::connect(world.config.database_url.as_str()).await.unwrap();
    let write = async |parameters: &Value| {
        let statement = format!("UPDATE jobs SET parameters = '{parameters}'");
        database.execute_unprepared(&statement).await.unwrap();
    };
    let mut of_tomorrow = parameters.clone();
    of_tomorrow["whisper_back"] = true.into();
    write(&of_tomorrow).await;
    assert_eq!(jobs.find(ada, job.id).await.unwrap(), job, "it can be shown");
    assert_eq!(world.dispatch(10).await, [job.id]);
    assert!(jobs.claim(job.id, "of yesterday").await.is_err());
    assert!(world.dispatch(10).await.is_empty(), "not at once, again and again");

    write(&parameters).await;
    world.pass(11);
    assert_eq!(world.dispatch(10).await, [job.id]);
    let claim = jobs.claim(job.id, "of today").await.unwrap().unwrap();
    assert_eq!((claim.job.attempt, claim.job.crashes), (1, 0));
    assert_eq!(serde_json::to_value(claim.parameters).unwrap(), parameters);
}

#[tokio::test]
async fn after_a_restart_running_jobs_are_taken_back_at_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let lease = world.claim(job.id).await.lease;
    let waiting = world.job(ada).await;
    let restarted = storage::Storage::open_with_clock(&world.config, world.clock.clone()).await.unwrap();
    assert_eq!(restarted.jobs.reap().await.unwrap(), Reaped::default());
    assert_eq!(restarted.jobs.end_all_leases().await.unwrap(), 1);
    assert_eq!(restarted.jobs.reap().await.unwrap().returned, [job.id]);
    assert_eq!(restarted.jobs.standing(&lease).await.unwrap(), Renewal::Lost);
    let dispatched = restarted.jobs.dispatch(JobKind::Transcribe, 10).await.unwrap();
    assert_eq!(dispatched, [job.id, waiting.id]);
    assert_eq!(
        restarted.jobs.all_queued().await.unwrap(),
        [(JobKind::Transcribe, job.id), (JobKind::Transcribe, waiting.id)]
    );
}

#[tokio::test]
async fn a_push_that_was_lost_is_pushed_again() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let minute = Duration::from_secs(60);
    world.dispatch(10).await;
    assert_eq!(world.storage.jobs.requeue_lost(minute).await.unwrap(), []);
    world.pass(61);
    assert_eq!(world.storage.jobs.requeue_lost(minute).await.unwrap(), [(JobKind::Transcribe, job.id)]);
    assert_eq!(world.storage.jobs.requeue_lost(minute).await.unwrap(), [], "not again before another minute");
    assert!(world.storage.jobs.claim(job.id, "worker").await.unwrap().is_some());
    world.pass(61);
    assert_eq!(world.storage.jobs.requeue_lost(minute).await.unwrap(), []);
}

#[tokio::test]
async fn every_change_counts_up_the_version_and_is_told() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    let job = world.job(ada).await;
    let mut changes = world.storage.events.subscribe(job.id);
    let mut version = job.version;
    let mut expect_change = async || {
        assert_eq!(changes.next().now_or_never(), Some(Some(())));
        assert!(changes.next().now_or_never().is_none());
        let now = jobs.find(ada, job.id).await.unwrap().version;
        assert!(now > version);
        version = now;
    };
    world.dispatch(1).await;
    expect_change().await;
    let lease = jobs.claim(job.id, "worker").await.unwrap().unwrap().lease;
    expect_change().await;
    jobs.renew(&lease, 10.0, "transcribing").await.unwrap();
    expect_change().await;
    jobs.hand_back(&lease).await.unwrap();
    expect_change().await;
    let lease = world.claim(job.id).await.lease;
    expect_change().await;
    jobs.fail(&lease, &Failure::timed_out(), 0.5).await.unwrap();
    expect_change().await;
    jobs.retry(ada, job.id).await.unwrap();
    expect_change().await;
    world.claim(job.id).await;
    expect_change().await;
    world.pass(61);
    jobs.reap().await.unwrap();
    expect_change().await;
    let lease = world.claim(job.id).await.lease;
    expect_change().await;
    jobs.cancel(ada, job.id).await.unwrap();
    expect_change().await;
    jobs.cancelled(&lease).await.unwrap();
    expect_change().await;
}

#[tokio::test]
async fn the_dispatcher_is_woken_when_a_job_becomes_due() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    let woken = || world.storage.jobs.due().notified().now_or_never().is_some();
    assert!(woken());
    assert!(!woken());
    let lease = world.claim(job.id).await.lease;
    assert!(!woken());
    world.storage.jobs.hand_back(&lease).await.unwrap();
    assert!(woken());
}

/// Publishes objects that hold their own names.
pub(crate) async fn completion(world: &World, lease: &Lease, names: &[&str]) -> Completion {
    let mut outputs = vec![];
    for name in names {
        let path = world.directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        let object_key = lease.object_key(name).unwrap();
        let meta = world.storage.objects.publish_file(&path, &object_key).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        outputs.push(NewOutput {
            filename: (*name).into(),
            content_type: "text/plain".into(),
            kind: FileKind::Text,
            media: None,
            object_key,
            size_bytes: meta.size_bytes,
            sha256: meta.sha256,
        });
    }
    Completion { outputs, result: serde_json::json!({"language": "en"}) }
}
