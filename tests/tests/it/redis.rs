//! A server whose wake-ups go by Redis: whatever happens to that, jobs that were accepted run, and soon.

use crate::media;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::server::{Server, eventually};
use tests::servers::Redis;
use tests::user::User;

/// Until a job has ended whose wake-up is gone.
const SOON: Duration = Duration::from_secs(20);

struct Fixture {
    redis: Redis,
    server: Server,
    user: User,
    body: Value,
    _folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let redis = Redis::start();
        let url = redis.url();
        Self::over(redis, &[("VOXMILL_REDIS_URL", &url)]).await
    }

    async fn over(redis: Redis, settings: &[(&str, &str)]) -> Self {
        let server = Server::start_with(settings);
        let user = server.user().await;
        let folder = TempDir::new().unwrap();
        let video = folder.path().join("short.mp4");
        media::video(&video, 1);
        let body = json!({ "video_file_id": user.uploaded(&video).await });
        Self { redis, server, user, body, _folder: folder }
    }

    async fn start(&self) -> String {
        self.user.start("extract-audio", &self.body).await
    }

    async fn completes(&self, job: &str) {
        let begun = Instant::now();
        let status = self.user.ended(job).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        assert_eq!(status["attempts"], 1, "{status:#}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }

    async fn readiness(&self) -> u16 {
        reqwest::get(format!("{}/readiness", self.server.url)).await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_whether_redis_forgets_or_dies() {
    let mut fixture = Fixture::new().await;
    assert_eq!(fixture.readiness().await, 200);
    let job = fixture.start().await;
    fixture.completes(&job).await;

    let jobs = [fixture.start().await, fixture.start().await, fixture.start().await];
    fixture.redis.flush();
    for job in &jobs {
        fixture.completes(job).await;
    }

    fixture.redis.kill();
    let jobs = [fixture.start().await, fixture.start().await, fixture.start().await];
    assert_eq!(fixture.readiness().await, 503);
    fixture.redis.restart();
    for job in &jobs {
        fixture.completes(job).await;
    }
    eventually("it is ready again", SOON, async || (fixture.readiness().await == 200).then_some(())).await;
    let left = fixture.redis.cli(&["KEYS", "voxmill:queue:*:data"]);
    assert_eq!(left, "", "no wake-up is kept that was answered");
    assert!(fixture.server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_spoken_to_over_tls() {
    let redis = Redis::start_with_tls();
    let (url, trusted) = (redis.tls_url().unwrap(), redis.certificate().display().to_string());
    let fixture = Fixture::over(redis, &[("VOXMILL_REDIS_URL", &url), ("SSL_CERT_FILE", &trusted)]).await;
    assert_eq!(fixture.readiness().await, 200);
    let job = fixture.start().await;
    fixture.completes(&job).await;
    let prefix = fixture.server.setting("VOXMILL_REDIS_PREFIX").unwrap_or("voxmill");
    assert_ne!(fixture.redis.cli(&["KEYS", &format!("{prefix}:*")]), "", "its wake-up came by Redis");
}
