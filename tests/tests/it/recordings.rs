//! Recordings of sessions, as a browser sends them: live `WebM`, which has no length and cannot be sought.

use crate::media;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::path::Path;
use tests::server::{Server, eventually};
use tests::shared_data;
use tests::user::{Answer, JOB, User};

#[tokio::test(flavor = "multi_thread")]
async fn a_live_recording_becomes_a_file_and_its_transcript() {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let directory = tempfile::tempdir().unwrap();
    let webm = live_webm(directory.path(), &["-i", speech.to_str().unwrap()]);
    let server = Server::start();
    let user = server.user().await;
    let session = live_session(&user).await;
    let started = act(&user, &session, "start").await.expect(StatusCode::CREATED);
    let url = started["data"]["uploadUrl"].as_str().unwrap();
    // The browser lost the connection once, and sends again what may not have come.
    let chunks: Vec<_> = webm.chunks(10_000).enumerate().collect();
    assert!(chunks.len() > 3, "{}", chunks.len());
    for (number, bytes) in chunks.iter().rev().chain(&chunks[1..2]) {
        let sent = user.request(Method::PUT, &format!("{}/{number}", path_of(url)));
        assert_eq!(sent.body(bytes.to_vec()).send().await.unwrap().status(), StatusCode::OK);
    }
    let stopped = act(&user, &session, "stop").await.expect(StatusCode::OK);
    let recording = &stopped["data"];
    let file = format!("/api/v1/files/{}", recording["fileId"].as_str().unwrap());
    let file = user.get(&file).await.expect(StatusCode::OK);
    assert_eq!(
        (&file["content_type"], &file["media"]["audio"]["codec"]),
        (&json!("audio/webm"), &json!("opus"))
    );
    let seconds = file["media"]["duration_seconds"].as_f64().unwrap();
    assert!((seconds - 11.0).abs() < 0.2, "{seconds}");
    assert_eq!(user.download(file["download_url"].as_str().unwrap()).await, webm);
    let job = user.ended(recording["jobId"].as_str().unwrap()).await;
    assert_eq!(job["status"], "completed", "{job:#}");
    let text = job["result"]["text"].as_str().unwrap().to_lowercase();
    assert!(text.contains("your country"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_outlives_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let tone = ["-f", "lavfi", "-i", "sine=frequency=300:duration=4"];
    let webm = live_webm(directory.path(), &tone);
    let mut server = Server::start();
    let user = server.user().await;
    let session = live_session(&user).await;
    let started = act(&user, &session, "start").await.expect(StatusCode::CREATED);
    let url = started["data"]["uploadUrl"].as_str().unwrap();
    let (first, rest) = webm.split_at(webm.len() / 2);
    let put = async |user: &User, number: usize, bytes: &[u8]| {
        let sent = user.request(Method::PUT, &format!("{}/{number}", path_of(url)));
        sent.body(bytes.to_vec()).send().await.map(|answer| answer.status())
    };
    assert_eq!(put(&user, 0, first).await.unwrap(), StatusCode::OK);
    server.kill();
    server.restart();
    let user = user.at(&server.url);
    assert_eq!(put(&user, 1, rest).await.unwrap(), StatusCode::OK);
    user.post(&format!("/api/v1/sessions/{session}/end"), &json!({})).await.expect(StatusCode::OK);
    let seen = eventually("the file of the recording", JOB, async || {
        let path = format!("/api/v1/recordings/{}", started["data"]["recordingId"].as_str().unwrap());
        let seen = user.get(&path).await.expect(StatusCode::OK);
        seen["data"]["fileId"].is_string().then_some(seen)
    })
    .await;
    assert_eq!(seen["data"]["status"], "STOPPED");
}

async fn live_session(user: &User) -> String {
    let room = user.post("/api/v1/rooms", &json!({ "name": "Standup" })).await.expect(StatusCode::CREATED);
    let path = format!("/api/v1/rooms/{}/sessions/start", room["data"]["id"].as_str().unwrap());
    let session = user.post(&path, &json!({})).await.expect(StatusCode::CREATED);
    session["data"]["id"].as_str().unwrap().to_owned()
}

async fn act(user: &User, session: &str, action: &str) -> Answer {
    user.post(&format!("/api/v1/sessions/{session}/recording/{action}"), &json!({})).await
}

/// Of a URL of a server, which may have moved to another port since.
fn path_of(url: &str) -> &str {
    &url[url.find("/api/").unwrap()..]
}

/// What a browser's recorder would have given: written to a pipe, so nothing is filled in afterwards.
fn live_webm(directory: &Path, input: &[&str]) -> Vec<u8> {
    let path = directory.join("live.webm");
    let arguments = [input, &["-c:a", "libopus", "-b:a", "64k", "-live", "1", "-f", "webm"]].concat();
    media::make(&path, &arguments);
    std::fs::read(&path).unwrap()
}
