//! Several processes on one database: what one changes the others tell, sooner with Redis than without.

use crate::client::{Answer, TestApp, request};
use crate::doubles::mp4;
use crate::jobs::next_event;
use crate::servers::Redis;
use futures_util::Stream;
use pipeline::parameters::JobKind;
use poem::http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(1);
/// A look every two seconds, and the time to look.
const LATER: Duration = Duration::from_millis(2_500);

/// Two processes beside one whose storage made the database, and a user of all.
struct Fleet {
    one: TestApp,
    other: TestApp,
    token: String,
    _first: TestApp,
}

impl Fleet {
    async fn new(redis: &Redis) -> Self {
        let (first, token) = TestApp::with_user().await;
        let (one, other) = (first.beside(redis).await, first.beside(redis).await);
        Self { one, other, token, _first: first }
    }

    /// A job that was made by one process and is followed at the other, and its first event heard.
    async fn followed(&self) -> (String, impl Stream<Item = std::io::Result<bytes::Bytes>> + Unpin + use<>) {
        let video = self.one.file(&self.token, "a.mp4", &mp4(100)).await["id"].clone();
        let body = json!({ "video_file_id": video });
        let accepted = self.one.post("/api/v1/process/extract-audio", &self.token, &body).await;
        let job = accepted.expect(202).json().await["job_id"].as_str().unwrap().to_owned();
        let path = format!("/api/v1/process/jobs/{job}/events");
        let followed = self.other.send(request(Method::GET, &path, &self.token).finish()).await;
        let mut events = followed.expect(200).into_body().into_bytes_stream();
        assert_eq!(next_event(&mut events).await.unwrap().1["status"], "queued");
        (job, events)
    }

    async fn cancel(&self, job: &str) {
        let path = format!("/api/v1/process/jobs/{job}/cancel");
        self.one.post_bytes(&path, &self.token, "").await.expect(200);
    }

    /// How long it takes until the other process tells that one cancelled the job.
    async fn cancel_is_told_after(&self) -> Duration {
        let (job, mut events) = self.followed().await;
        self.cancel(&job).await;
        let changed = Instant::now();
        assert_eq!(next_event(&mut events).await.unwrap().1["status"], "cancelled");
        changed.elapsed()
    }

    async fn hears_all(&self) {
        for app in [&self.one, &self.other] {
            eventually("they hear each other", async || app.storage.events.hear_all()).await;
        }
    }
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}");
        tick.tick().await;
    }
}

#[tokio::test]
async fn a_change_is_told_by_the_other_process_at_once() {
    let redis = Redis::start();
    let fleet = Fleet::new(&redis).await;
    fleet.hears_all().await;
    let took = fleet.cancel_is_told_after().await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn while_redis_is_away_a_change_is_seen_by_looking() {
    let mut redis = Redis::start();
    let fleet = Fleet::new(&redis).await;
    fleet.hears_all().await;
    let (job, mut events) = fleet.followed().await;
    redis.kill();
    fleet.cancel(&job).await;
    let changed = Instant::now();
    assert_eq!(next_event(&mut events).await.unwrap().1["status"], "cancelled");
    assert!(changed.elapsed() < LATER, "{:?}", changed.elapsed());
    redis.restart();
    fleet.hears_all().await;
    let took = fleet.cancel_is_told_after().await;
    assert!(took < SOON, "{took:?}");
}

/// Also over a connection that was cut: whoever follows is told once to look when it is there again.
#[tokio::test]
async fn a_connection_that_is_cut_hides_no_change() {
    let redis = Redis::start();
    let fleet = Fleet::new(&redis).await;
    fleet.hears_all().await;
    for _ in 0..3 {
        let (job, mut events) = fleet.followed().await;
        redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        fleet.cancel(&job).await;
        let changed = Instant::now();
        assert_eq!(next_event(&mut events).await.unwrap().1["status"], "cancelled");
        assert!(changed.elapsed() < LATER, "{:?}", changed.elapsed());
    }
}

#[tokio::test]
async fn the_dispatcher_of_another_process_is_woken() {
    let redis = Redis::start();
    let fleet = Fleet::new(&redis).await;
    fleet.hears_all().await;
    let due = fleet.other.storage.jobs.due();
    // What it heard when it began to listen.
    tokio::time::timeout(SOON, due.notified()).await.unwrap();
    let (job, _events) = fleet.followed().await;
    tokio::time::timeout(SOON, due.notified()).await.expect("it hears that the job is due");
    let picked = fleet.other.storage.jobs.dispatch(JobKind::ExtractAudio, 5).await.unwrap();
    assert_eq!(picked.into_iter().map(|id| id.to_string()).collect::<Vec<_>>(), [job]);
}

#[tokio::test]
async fn a_process_without_its_redis_says_so_and_serves() {
    let mut redis = Redis::start();
    let fleet = Fleet::new(&redis).await;
    let readiness = async || fleet.one.get("/readiness", "").await;
    let ready = |answer: Answer| async move { answer.expect(200).json().await };
    assert_eq!(ready(readiness().await).await["cache"], "ok");
    redis.kill();
    let answer: Value = readiness().await.expect(503).json().await;
    assert_eq!(answer, json!({"database": "ok", "storage": "ok", "cache": "unavailable"}));
    let took = fleet.cancel_is_told_after().await;
    assert!(took < LATER, "{took:?}");
    redis.restart();
    eventually("it is ready again", async || readiness().await.status == 200).await;
}
