//! Whatever dies: a job that was accepted ends, publishes one result, and leaves nothing behind.

use crate::media;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::server::{Server, eventually, is_running};
use tests::shared_data;
use tests::user::User;

/// One kind of job on inputs that keep it busy for some seconds, and the stage in which it is caught.
struct Work {
    kind: &'static str,
    stage: &'static str,
    body: Value,
}

/// Files that the jobs read, made once a test.
struct Inputs {
    /// Of hours, but quick to read.
    hours: String,
    video: String,
    speech: String,
    tone: String,
}

impl Inputs {
    async fn upload(user: &User, folder: &Path) -> Option<Self> {
        let speech = shared_data("speech/jfk.wav")?;
        let video = folder.join("long.mp4");
        media::video(&video, 900);
        let hours = folder.join("hours.mp4");
        media::make(&hours, &["-stream_loop", "15", "-i", video.to_str().unwrap(), "-c", "copy"]);
        let minutes = folder.join("speech.flac");
        let speech = speech.to_string_lossy().into_owned();
        media::make(&minutes, &["-stream_loop", "20", "-i", &speech]);
        let tone = folder.join("tone.wav");
        media::make(&tone, &["-f", "lavfi", "-i", "sine=duration=800"]);
        Some(Self {
            hours: user.uploaded(&hours).await,
            video: user.uploaded(&video).await,
            speech: user.uploaded(&minutes).await,
            tone: user.uploaded(&tone).await,
        })
    }

    fn all(&self) -> [Work; 4] {
        let text = "The mill by the river turns night and day. ".repeat(12);
        [
            Work {
                kind: "extract-audio",
                stage: "extracting",
                body: json!({ "video_file_id": self.hours, "audio_format": "opus" }),
            },
            Work {
                kind: "transcribe",
                stage: "transcribing",
                body: json!({ "audio_file_id": self.speech, "source_language": "en", "model": "whisper-tiny.en" }),
            },
            Work {
                kind: "clone-voice",
                stage: "speaking",
                body: json!({ "audio_file_id": self.speech, "text_content": text, "target_language": "en" }),
            },
            Work {
                kind: "generate-video",
                stage: "rendering",
                body: json!({ "original_video_id": self.video, "cloned_audio_id": self.tone, "quality": "low" }),
            },
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_no_job_and_publishes_each_once() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start();
    let mut user = server.user().await;
    let Some(inputs) = Inputs::upload(&user, folder.path()).await else { return };
    for work in (0..rounds()).flat_map(|_| inputs.all()) {
        let job = user.start(work.kind, &work.body).await;
        user.in_stage(&job, work.stage).await;
        let children = server.children();
        server.kill();
        eventually("the end of the children", Duration::from_secs(2), async || {
            children.iter().all(|id| !is_running(*id)).then_some(())
        })
        .await;
        server.restart();
        user = user.at(&server.url);
        let status = user.ended(&job).await;
        assert_eq!(status["status"], "completed", "{status:#}");
        assert_eq!(status["attempts"], 2, "{status:#}");
        published_once(&server, &user, &job).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_stops_within_two_seconds_and_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let server = Server::start();
    let user = server.user().await;
    let Some(inputs) = Inputs::upload(&user, folder.path()).await else { return };
    let before = server.stored_files();
    for work in inputs.all() {
        let job = user.start(work.kind, &work.body).await;
        user.in_stage(&job, work.stage).await;
        let asked = Instant::now();
        user.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await.expect(StatusCode::OK);
        let status = user.ended(&job).await;
        let took = asked.elapsed();
        assert_eq!(status["status"], "cancelled", "{status:#}");
        assert!(took < Duration::from_secs(2), "{} took {took:?} to stop", work.kind);
        assert_eq!(status["result_url"], Value::Null);
        eventually("an empty work directory", Duration::from_secs(2), async || {
            (server.stored_files() == before).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_process_hands_its_job_back_without_using_up_an_attempt() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start_with(&[("VOXMILL_GRACE_SECONDS", "0")]);
    let user = server.user().await;
    let Some(inputs) = Inputs::upload(&user, folder.path()).await else { return };
    let [_, transcribe, ..] = inputs.all();
    let job = user.start(transcribe.kind, &transcribe.body).await;
    user.in_stage(&job, transcribe.stage).await;
    assert!(server.terminate().success());
    server.restart();
    let user = user.at(&server.url);
    let status = user.ended(&job).await;
    assert_eq!((&status["status"], &status["attempts"]), (&json!("completed"), &json!(1)), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_makes_one_job_of_many_requests() {
    let Some(talk) = shared_data("speech/jfk.wav") else { return };
    let server = Server::start();
    let user = server.user().await;
    let file = user.uploaded(&talk).await;
    let post = async |body: Value| {
        let request = user.request(reqwest::Method::POST, "/api/v1/process/extract-audio");
        request.header("Idempotency-Key", "nightly-1").json(&body).send().await.unwrap()
    };
    let body = json!({ "video_file_id": file, "audio_format": "flac" });
    let answers = futures_util::future::join_all((0..8).map(|_| post(body.clone()))).await;
    let mut jobs = vec![];
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        jobs.push(answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned());
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    let other = post(json!({ "video_file_id": file, "audio_format": "mp3" })).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    assert_eq!(user.ended(&jobs[0]).await["status"], "completed");
}

/// How often each kind is killed: `TEST_ROUNDS`, or once.
fn rounds() -> usize {
    std::env::var("TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// Every object belongs to a file that a user sees, every file has its bytes, and the job made each of its files once.
async fn published_once(server: &Server, user: &User, job: &str) {
    let status = user.status(job).await;
    let mut names = vec![];
    for file in status["result"]["files"].as_array().unwrap() {
        let bytes = user.download(file["download_url"].as_str().unwrap()).await;
        assert_eq!(bytes.len() as u64, file["size_bytes"].as_u64().unwrap());
        names.push(file["filename"].as_str().unwrap().to_owned());
    }
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    let files = user.get("/api/v1/files?limit=100").await.expect(StatusCode::OK);
    let known = files["items"].as_array().unwrap().len();
    let stored: Vec<PathBuf> = server.stored_files();
    assert_eq!(stored.len(), known, "{stored:#?}");
}
