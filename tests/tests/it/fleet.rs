//! Many processes over Postgres, Redis and an S3 store: nothing is lost and nothing is done twice, whoever dies.

use crate::media;
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::json;
use std::time::Duration;
use tempfile::TempDir;
use tests::fleet::{BackEnds, Fleet};
use tests::server::{Server, eventually};
use tests::shared_data;
use tests::storm::{self, Plan, Ship};

/// The short form of `make torture`.
fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        jobs: 60,
        workers: 2,
        kills: 3,
        api_kills: 1,
        pause: Duration::from_secs(3),
        limit: Duration::from_secs(240),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_whose_processes_are_killed_loses_nothing() {
    let back_ends = BackEnds::start();
    let report = storm::run(Ship::fleet(&back_ends, 2), Some(&back_ends), plan(1)).await;
    println!("{report:?}");
    assert_eq!(report.findings.completed, 60);
    assert!(report.recoveries.iter().all(|seconds| *seconds < 90.0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_alone_that_is_killed_loses_nothing() {
    let report = storm::run(Ship::alone(), None, plan(2)).await;
    println!("{report:?}");
    assert_eq!(report.findings.completed, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_cancels_cross_processes() {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let back_ends = BackEnds::start();
    let fleet = Fleet::new(back_ends.settings());
    let (one, other, _worker) = (fleet.api(), fleet.api(), fleet.worker());
    let user = one.user().await;
    let there = user.at(&other.url);
    let body = json!({ "audio_file_id": user.uploaded(&speech).await });
    let job = user.start("transcribe", &body).await;
    // Followed at the one, cancelled at the other.
    let events = user.request(reqwest::Method::GET, &format!("/api/v1/process/jobs/{job}/events"));
    let mut events = events.send().await.unwrap().bytes_stream();
    there.in_stage(&job, "transcribing").await;
    there.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await.expect(StatusCode::OK);
    let mut told = String::new();
    while !told.contains("\"cancelled\"") {
        let piece = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
        told += &String::from_utf8_lossy(&piece.unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_dies_is_waited_for() {
    let mut back_ends = BackEnds::start();
    let fleet = Fleet::new(back_ends.settings());
    let (api, _worker) = (fleet.api(), fleet.worker());
    let (user, folder) = (api.user().await, TempDir::new().unwrap());
    let video = folder.path().join("long.mp4");
    media::video(&video, 120);
    let body = json!({ "video_file_id": user.uploaded(&video).await });
    let jobs = [user.start("extract-audio", &body).await, user.start("extract-audio", &body).await];
    back_ends.postgres.kill();
    back_ends.postgres.restart();
    for job in &jobs {
        let status = eventually("the end of a job", Duration::from_secs(150), async || {
            let answer = user.get(&format!("/api/v1/process/status/{job}")).await;
            let over = matches!(answer.body["status"].as_str(), Some("completed" | "failed" | "cancelled"));
            over.then_some(answer.body)
        })
        .await;
        assert_eq!(status["status"], "completed", "{status:#}");
        assert_eq!(status["attempts"], 1, "{status:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_takes_what_it_is_told_to_and_no_more() {
    let back_ends = BackEnds::start();
    let fleet = Fleet::new(back_ends.settings());
    let api = fleet.api();
    let transcriber = fleet.worker_with(&[("VOXMILL_QUEUES", "transcribe")]);
    let (user, folder) = (api.user().await, TempDir::new().unwrap());
    let video = folder.path().join("short.mp4");
    media::video(&video, 1);
    let body = json!({ "video_file_id": user.uploaded(&video).await });
    let job = user.start("extract-audio", &body).await;
    let metrics = metrics(&api).await;
    assert!(metrics.contains("voxmill_worker_slots{kind=\"transcribe\"} 1"), "{metrics}");
    assert!(!metrics.contains("voxmill_worker_slots{kind=\"extract-audio\"}"), "{metrics}");
    assert_eq!(user.status(&job).await["status"], "queued");
    let _extractor = fleet.worker_with(&[("VOXMILL_QUEUES", "extract-audio")]);
    assert_eq!(user.ended(&job).await["status"], "completed");
    for path in ["/health", "/readiness"] {
        let answer = reqwest::get(format!("{}{path}", transcriber.url)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    let answer = reqwest::get(format!("{}/api/v1/files", transcriber.url)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "a worker serves no clients");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drains_is_watched_to_its_end() {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let back_ends = BackEnds::start();
    let fleet = Fleet::new(back_ends.settings());
    let (api, mut worker) = (fleet.api(), fleet.worker());
    let (user, folder) = (api.user().await, TempDir::new().unwrap());
    let long = folder.path().join("speech.flac");
    media::make(&long, &["-stream_loop", "20", "-i", &speech.to_string_lossy()]);
    let job = user.start("transcribe", &json!({ "audio_file_id": user.uploaded(&long).await })).await;
    user.in_stage(&job, "transcribing").await;
    worker.ask_to_end();
    let status = async |path: &str| reqwest::get(format!("{}{path}", worker.url)).await.unwrap().status();
    eventually("the news that it drains", Duration::from_secs(5), async || {
        (status("/readiness").await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!((status("/health").await, status("/metrics").await), (StatusCode::OK, StatusCode::OK));
    user.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await.expect(StatusCode::OK);
    assert!(worker.ended().success());
}

async fn metrics(server: &Server) -> String {
    reqwest::get(format!("{}/metrics", server.url)).await.unwrap().text().await.unwrap()
}
