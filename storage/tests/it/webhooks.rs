//! Webhooks: each end of a job is told once, by a job that nobody sees.

use crate::{
    lifecycle::completion,
    world::{World, transcribe},
};
use chrono::{DateTime, Utc};
use pipeline::{
    failure::Failure,
    parameters::{JobKind, Parameters},
    retry::{MAX_CRASHES, max_attempts, wait},
    state::JobState,
};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{
    Storage,
    error::Error,
    ids::{DeliveryId, JobId, UserId},
    jobs::{Claim, Completion, DELIVERIES_AT_ONCE, Job, JobFilter, NewJob},
    page::Page,
    webhooks::{
        ATTEMPTS_KEPT, Attempt, AttemptOutcome, Callback, Delivery, DeliveryFilter, DeliveryStatus, JobEvent,
        OVERLAP,
    },
};

const KIND: JobKind = JobKind::DeliverWebhook;

pub(crate) fn callback() -> Option<Callback> {
    let (url, status_urls) = ("https://example.org/hook".into(), "https://voxmill.example/status/".into());
    Some(Callback { url, status_urls })
}

impl World {
    /// A transcribe job whose end is told.
    async fn told_job(&self, owner: UserId) -> Job {
        let file = self.audio(owner).await;
        self.submit(NewJob { callback: callback(), ..transcribe(owner, file) }).await
    }

    pub(crate) async fn deliveries(&self, owner: UserId, job: JobId) -> Vec<Delivery> {
        let filter = DeliveryFilter { job: Some(job), status: None };
        self.storage.webhooks.list(owner, &filter, &Page::first()).await.unwrap().items
    }

    /// A delivery that is due: that of a job cancelled just now.
    async fn delivery(&self, owner: UserId) -> Delivery {
        let job = self.told_job(owner).await;
        self.storage.jobs.cancel(owner, job.id).await.unwrap();
        self.deliveries(owner, job.id).await.pop().unwrap()
    }

    /// Begins the only run that is due.
    async fn claim_run(&self) -> Claim {
        let due = self.storage.jobs.dispatch(KIND, 10).await.unwrap();
        assert_eq!(due.len(), 1);
        self.storage.jobs.claim(due[0], "worker").await.unwrap().unwrap()
    }

    async fn shown(&self, delivery: &Delivery) -> Delivery {
        self.storage.webhooks.find(delivery.owner, delivery.id).await.unwrap()
    }

    async fn end_run(&self) {
        let claim = self.claim_run().await;
        assert!(self.storage.jobs.complete(&claim.lease, nothing()).await.unwrap());
    }
}

fn nothing() -> Completion {
    Completion { outputs: vec![], result: json!({"status_code": 204}) }
}

fn attempt(world: &World, outcome: AttemptOutcome) -> Attempt {
    Attempt { started_at: world.clock.now(), duration: Duration::from_millis(7), outcome }
}

#[tokio::test]
async fn every_way_to_an_end_is_told_once() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    for way in [
        "cancelled while waiting",
        "cancelled while queued",
        "cancelled while running",
        "completed",
        "completed after all",
        "failed",
        "failed too often",
        "failed after all",
        "handed back after all",
        "dead after all",
        "poison",
    ] {
        let job = world.told_job(ada).await;
        let cancel = async || jobs.cancel(ada, job.id).await.unwrap();
        let event = match way {
            "cancelled while waiting" => {
                cancel().await;
                cancel().await;
                JobEvent::Cancelled
            }
            "cancelled while queued" => {
                world.dispatch(1).await;
                cancel().await;
                JobEvent::Cancelled
            }
            "cancelled while running" => {
                let lease = world.claim(job.id).await.lease;
                cancel().await;
                assert_eq!(world.deliveries(ada, job.id).await, [], "it runs still");
                assert!(jobs.cancelled(&lease).await.unwrap());
                assert!(!jobs.cancelled(&lease).await.unwrap());
                JobEvent::Cancelled
            }
            "completed" => {
                let lease = world.claim(job.id).await.lease;
                let completion = completion(&world, &lease, &["a.txt"]).await;
                assert!(jobs.complete(&lease, completion.clone()).await.unwrap());
                assert!(jobs.complete(&lease, completion).await.unwrap(), "the answer may have been lost");
                assert!(!jobs.fail(&lease, &Failure::timed_out(), 0.5).await.unwrap());
                JobEvent::Completed
            }
            "completed after all" => {
                let lease = world.claim(job.id).await.lease;
                cancel().await;
                let completion = completion(&world, &lease, &["a.txt"]).await;
                assert!(!jobs.complete(&lease, completion).await.unwrap());
                JobEvent::Cancelled
            }
            "failed" => {
                let lease = world.claim(job.id).await.lease;
                assert!(jobs.fail(&lease, &Failure::timed_out(), 0.5).await.unwrap());
                assert!(!jobs.fail(&lease, &Failure::timed_out(), 0.5).await.unwrap());
                JobEvent::Failed
            }
            "failed too often" => {
                for _ in 0..max_attempts(job.kind) {
                    assert_eq!(world.deliveries(ada, job.id).await, [], "it is tried again");
                    let lease = world.claim(job.id).await.lease;
                    assert!(jobs.fail(&lease, &Failure::internal(), 0.0).await.unwrap());
                }
                JobEvent::Failed
            }
            "failed after all" => {
                let lease = world.claim(job.id).await.lease;
                cancel().await;
                assert!(jobs.fail(&lease, &Failure::internal(), 0.0).await.unwrap());
                JobEvent::Cancelled
            }
            "handed back after all" => {
                let lease = world.claim(job.id).await.lease;
                assert!(jobs.hand_back(&lease).await.unwrap());
                assert_eq!(world.deliveries(ada, job.id).await, [], "it runs again");
                let lease = world.claim(job.id).await.lease;
                cancel().await;
                assert!(jobs.hand_back(&lease).await.unwrap());
                JobEvent::Cancelled
            }
            "dead after all" => {
                world.claim(job.id).await;
                cancel().await;
                world.pass(61);
                assert_eq!(jobs.reap().await.unwrap().cancelled, [job.id]);
                JobEvent::Cancelled
            }
            "poison" => {
                for _ in 0..MAX_CRASHES {
                    assert_eq!(world.deliveries(ada, job.id).await, [], "it runs again");
                    world.claim(job.id).await;
                    world.pass(61);
                    jobs.reap().await.unwrap();
                }
                JobEvent::Failed
            }
            other => panic!("{other}"),
        };
        let told = world.deliveries(ada, job.id).await;
        let events: Vec<_> = told.iter().map(|delivery| delivery.event).collect();
        assert_eq!(events, [event], "{way}");
        assert_eq!(told[0].status, DeliveryStatus::Pending);
        // Nothing is told of the end of what tells.
        world.end_run().await;
        assert_eq!(world.deliveries(ada, job.id).await.len(), 1);
    }
    let silent = world.job(ada).await;
    jobs.cancel(ada, silent.id).await.unwrap();
    assert_eq!(world.deliveries(ada, silent.id).await, []);
}

#[tokio::test]
async fn what_is_told_is_the_status_and_nothing_more() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.told_job(ada).await;
    let lease = world.claim(job.id).await.lease;
    let failure = Failure::permanent("input_unusable", "x".repeat(100_000));
    world.storage.jobs.fail(&lease, &failure, 0.0).await.unwrap();
    let told = world.deliveries(ada, job.id).await.pop().unwrap();
    assert!(told.body.len() < 20_000);
    let ended = world.storage.jobs.find(ada, job.id).await.unwrap();
    let body: Value = serde_json::from_str(&told.body).unwrap();
    let time = |value: &Value| value.as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(body["type"], "job.failed");
    assert_eq!(Some(time(&body["timestamp"])), ended.finished_at);
    let data = &body["data"];
    assert_eq!(
        (&data["job_id"], &data["kind"], &data["status"], &data["attempts"]),
        (&json!(job.id), &json!("transcribe"), &json!("failed"), &json!(1))
    );
    assert_eq!(data["error"]["code"], "input_unusable");
    assert_eq!(data["status_url"], format!("https://voxmill.example/status/{}", job.id));
    assert_eq!(
        (time(&data["created_at"]), Some(time(&data["started_at"]))),
        (job.created_at, ended.started_at)
    );

    // Begun again, it has another end, and that is told too.
    world.storage.jobs.retry(ada, job.id).await.unwrap();
    let lease = world.claim(job.id).await.lease;
    let completion = completion(&world, &lease, &["a.txt"]).await;
    world.storage.jobs.complete(&lease, completion).await.unwrap();
    let told = world.deliveries(ada, job.id).await;
    assert_eq!(told.iter().map(|one| one.event).collect::<Vec<_>>(), [JobEvent::Completed, JobEvent::Failed]);
    assert!(!told[0].body.contains("a.txt"));
}

#[tokio::test]
async fn nobody_sees_the_jobs_that_tell() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let delivery = world.delivery(ada).await;
    let jobs = &world.storage.jobs;
    let claim = world.claim_run().await;
    let run = claim.job.id;
    let Parameters::DeliverWebhook(parameters) = &claim.parameters else { panic!("{claim:?}") };
    assert_eq!((claim.job.owner, parameters.delivery_id), (ada, delivery.id.as_uuid()));
    let filter = JobFilter::default();
    let listed = jobs.list(ada, &filter, &Page::first()).await.unwrap().items;
    assert_eq!(listed.iter().map(|job| job.id).collect::<Vec<_>>(), [delivery.job]);
    assert_eq!(jobs.list_all(&filter, &Page::first()).await.unwrap().items, listed);
    assert!(matches!(jobs.find(ada, run).await, Err(Error::NotFound)));
    assert!(matches!(jobs.cancel(ada, run).await, Err(Error::NotFound)));
    jobs.fail(&claim.lease, &Failure::permanent("receiver_gone", "Gone."), 0.0).await.unwrap();
    assert!(matches!(jobs.retry(ada, run).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_crash_between_the_end_and_the_delivery_loses_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let delivery = world.delivery(ada).await;
    let run = world.claim_run().await.job.id;
    // The process dies under it, and another starts.
    let restarted = Storage::open_with_clock(&world.config, world.clock.clone()).await.unwrap();
    assert_eq!(restarted.jobs.end_all_leases().await.unwrap(), 1);
    assert_eq!(restarted.jobs.reap().await.unwrap().returned, [run]);
    assert_eq!(restarted.jobs.dispatch(KIND, 10).await.unwrap(), [run]);
    let lease = restarted.jobs.claim(run, "another").await.unwrap().unwrap().lease;
    assert!(restarted.jobs.complete(&lease, nothing()).await.unwrap());
    assert_eq!(world.shown(&delivery).await.status, DeliveryStatus::Delivered);
}

#[tokio::test]
async fn a_delivery_is_tried_by_its_own_schedule_and_given_up() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let delivery = world.delivery(ada).await;
    assert!(delivery.next_attempt_at.unwrap() <= world.clock.now());
    let jobs = &world.storage.jobs;
    let failure = Failure::transient("receiver_failed", "The receiver answered 500.");
    let last = max_attempts(KIND);
    for number in 1..=last {
        let claim = world.claim_run().await;
        let outcome = match number {
            2 => AttemptOutcome::Unanswered("timed_out".into()),
            _ => AttemptOutcome::Answered(500),
        };
        world.storage.webhooks.record(&claim.lease, &delivery, attempt(&world, outcome)).await.unwrap();
        // The receiver asked for more patience once, and once for less than there is anyway.
        let (failure, expected) = match number {
            1 => (failure.clone().not_before(Duration::from_secs(90)), Duration::from_secs(90)),
            2 => (failure.clone().not_before(Duration::from_secs(1)), wait(KIND, 2, 0.5)),
            _ => (failure.clone(), wait(KIND, number, 0.5)),
        };
        assert!(jobs.fail(&claim.lease, &failure, 0.5).await.unwrap());
        let shown = world.shown(&delivery).await;
        assert_eq!(shown.attempts.len(), number as usize);
        if number == last {
            assert_eq!((shown.status, shown.next_attempt_at), (DeliveryStatus::Failed, None));
            break;
        }
        let next = shown.next_attempt_at.unwrap();
        let left = (next - world.clock.now()).to_std().unwrap();
        assert!(left <= expected && left + Duration::from_secs(5) > expected, "{left:?} for {expected:?}");
        assert_eq!(jobs.dispatch(KIND, 10).await.unwrap(), [], "it waits for its time");
        world.clock.advance(left + Duration::from_millis(1));
    }
    let shown = world.shown(&delivery).await;
    assert_eq!(shown.attempts[1].outcome, AttemptOutcome::Unanswered("timed_out".into()));
    assert_eq!(shown.attempts[0].duration, Duration::from_millis(7));
    let failed = DeliveryFilter { job: None, status: Some(DeliveryStatus::Failed) };
    assert_eq!(world.storage.webhooks.list(ada, &failed, &Page::first()).await.unwrap().items, [shown]);
}

#[tokio::test]
async fn a_delivery_is_sent_again_in_whatever_state_it_is() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let webhooks = &world.storage.webhooks;
    let delivery = world.delivery(ada).await;
    assert!(matches!(webhooks.redeliver(bob, delivery.id).await, Err(Error::NotFound)));
    assert!(matches!(webhooks.redeliver(ada, DeliveryId::new()).await, Err(Error::NotFound)));
    assert!(matches!(webhooks.find(bob, delivery.id).await, Err(Error::NotFound)));
    assert_eq!(webhooks.list(bob, &DeliveryFilter::default(), &Page::first()).await.unwrap().items, []);

    let first = world.claim_run().await;
    let failure = Failure::transient("receiver_failed", "The receiver answered 500.");
    world.storage.jobs.fail(&first.lease, &failure, 0.0).await.unwrap();
    assert_eq!(world.storage.jobs.dispatch(KIND, 10).await.unwrap(), []);
    webhooks.redeliver(ada, delivery.id).await.unwrap();
    let again = world.claim_run().await;
    assert_eq!((again.job.id, again.job.attempt), (first.job.id, 2), "it does not wait any longer");
    webhooks.redeliver(ada, delivery.id).await.unwrap();
    assert_eq!(world.storage.jobs.dispatch(KIND, 10).await.unwrap(), [], "it is being sent");
    world.storage.jobs.complete(&again.lease, nothing()).await.unwrap();
    assert_eq!(world.shown(&delivery).await.status, DeliveryStatus::Delivered);

    let (one, other) =
        tokio::join!(webhooks.redeliver(ada, delivery.id), webhooks.redeliver(ada, delivery.id));
    for asked in [one, other] {
        assert_eq!(asked.unwrap().status, DeliveryStatus::Pending);
    }
    let run = world.claim_run().await;
    assert_ne!(run.job.id, first.job.id, "a run of its own, with all its attempts");
    world.storage.jobs.complete(&run.lease, nothing()).await.unwrap();
    assert_eq!(world.shown(&delivery).await.status, DeliveryStatus::Delivered);
    assert_eq!(world.deliveries(ada, delivery.job).await.len(), 1);
}

#[tokio::test]
async fn attempts_are_bounded_and_told_by_the_lease_alone() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let delivery = world.delivery(ada).await;
    let lease = world.claim_run().await.lease;
    let record = async |status| {
        let attempt = attempt(&world, AttemptOutcome::Answered(status));
        world.storage.webhooks.record(&lease, &delivery, attempt).await.unwrap()
    };
    for number in 0..60 {
        assert!(record(200 + number).await);
    }
    let shown = world.shown(&delivery).await.attempts;
    assert_eq!(shown.len(), ATTEMPTS_KEPT as usize);
    assert_eq!(shown.last().unwrap().outcome, AttemptOutcome::Answered(259));
    world.storage.jobs.complete(&lease, nothing()).await.unwrap();
    assert!(!record(500).await);
    assert_eq!(world.shown(&delivery).await.attempts, shown);
}

#[tokio::test]
async fn a_key_is_made_once_and_overlaps_with_the_next() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let webhooks = &world.storage.webhooks;
    let (one, other) = tokio::join!(webhooks.keys(ada), webhooks.keys(ada));
    let first = one.unwrap();
    assert_eq!(first, other.unwrap());
    assert_eq!(first.previous, None);
    assert_ne!(first.current, webhooks.keys(bob).await.unwrap().current);
    assert!(!format!("{first:?}").contains(&format!("{:?}", first.current.as_bytes())));

    let second = webhooks.rotate(ada).await.unwrap();
    assert_eq!(webhooks.keys(ada).await.unwrap(), second);
    assert_ne!(second.current, first.current);
    assert_eq!(second.previous, Some((first.current.clone(), second.created_at + OVERLAP)));
    let third = webhooks.rotate(ada).await.unwrap();
    assert_eq!(third.previous.unwrap().0, second.current);
    world.clock.advance(OVERLAP.to_std().unwrap() + Duration::from_secs(1));
    let alone = webhooks.keys(ada).await.unwrap();
    assert_eq!((alone.current, alone.previous), (third.current, None));
    let carol = world.user("carol").await;
    webhooks.rotate(carol).await.unwrap();
}

#[tokio::test]
async fn one_owners_deliveries_hold_up_nobody_elses() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let jobs = &world.storage.jobs;
    let file = world.audio(ada).await;
    // More than one pick looks at, and all of them come back to the front when they failed.
    for _ in 0..300 {
        let job = world.submit(NewJob { callback: callback(), ..transcribe(ada, file) }).await;
        jobs.cancel(ada, job.id).await.unwrap();
    }
    let share = DELIVERIES_AT_ONCE as usize;
    let hers = jobs.dispatch(KIND, 16).await.unwrap();
    assert_eq!(hers.len(), share);
    assert_eq!(jobs.dispatch(KIND, 16).await.unwrap(), []);
    let his = world.delivery(bob).await;
    let claim = world.claim_run().await;
    assert_eq!(claim.job.owner, bob);
    jobs.complete(&claim.lease, nothing()).await.unwrap();
    assert_eq!(world.shown(&his).await.status, DeliveryStatus::Delivered);

    // What tells takes nothing from what is asked for.
    let (of_ada, of_bob) = (world.job(ada).await, world.job(bob).await);
    assert_eq!(world.dispatch(1).await, [of_ada.id], "by age, whatever ada's deliveries do");
    assert_eq!(world.dispatch(1).await, [of_bob.id]);
    let lease = jobs.claim(hers[0], "worker").await.unwrap().unwrap().lease;
    jobs.complete(&lease, nothing()).await.unwrap();
    assert_eq!(jobs.dispatch(KIND, 16).await.unwrap().len(), 1, "one in place of the one that ended");
}

#[tokio::test]
async fn deliveries_go_with_their_time_and_with_their_owner() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let delivered = world.delivery(ada).await;
    let lease = world.claim_run().await.lease;
    let one = attempt(&world, AttemptOutcome::Answered(204));
    world.storage.webhooks.record(&lease, &delivered, one).await.unwrap();
    world.storage.jobs.complete(&lease, nothing()).await.unwrap();
    let pending = world.delivery(ada).await;
    let his = world.delivery(bob).await;
    world.storage.webhooks.rotate(bob).await.unwrap();
    world.clock.advance(crate::world::RETENTION + Duration::from_secs(1));
    world.storage.sweep().await.unwrap();
    assert!(matches!(world.storage.webhooks.find(ada, delivered.id).await, Err(Error::NotFound)));
    assert_eq!(world.shown(&pending).await.status, DeliveryStatus::Pending, "it is tried still");

    world.storage.erase(bob).await.unwrap();
    assert!(matches!(world.storage.webhooks.find(bob, his.id).await, Err(Error::NotFound)));
    let due = world.storage.jobs.dispatch(KIND, 10).await.unwrap();
    assert_eq!(due.len(), 1, "bob's run went with him");
}

#[tokio::test]
async fn an_end_that_is_told_wakes_the_dispatcher() {
    use futures_util::FutureExt;
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.told_job(ada).await;
    let woken = || world.storage.jobs.due().notified().now_or_never().is_some();
    assert!(woken() && !woken());
    let lease = world.claim(job.id).await.lease;
    let completion = completion(&world, &lease, &["a.txt"]).await;
    world.storage.jobs.complete(&lease, completion).await.unwrap();
    assert!(woken());
    assert_eq!(world.storage.jobs.find(ada, job.id).await.unwrap().state, JobState::Completed);
}
