//! `[video-cloning]`

use super::{Client, Fields};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::time::Duration;
use tests::server::{Server, eventually};
use tests::shared_data;
use tests::user::JOB;

#[tokio::test(flavor = "multi_thread")]
async fn files_processing_and_voices() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let server = Server::start();
    let mut client = Client::new("video-cloning", &server);
    log_in(&mut client).await;

    let video = Part::bytes(std::fs::read(talk).unwrap()).file_name("talk.mp4");
    let form = Form::new().part("file", video).text("project_name", "My Project");
    let upload = client.request(Method::POST, "/api/v1/files/upload").multipart(form);
    let file = json!({ "file_id": "uuid-here", "project_name": "My Project", "download_url": "https://..." });
    let video = client.exchange(upload, 201, Fields(file.clone())).await["file_id"].clone();
    client.get(&format!("/api/v1/files/{}", video.as_str().unwrap()), 200, file).await;

    let body = json!({ "video_file_id": video, "audio_format": "wav", "sample_rate": 44100 });
    let audio = process(&mut client, "extract-audio", body).await;
    let body = json!({ "audio_file_id": audio, "source_language": "en", "model": "whisper-large" });
    process(&mut client, "transcribe", body).await;
    let profile = voices(&mut client, &audio).await;
    let body = json!({
        "audio_file_id": audio, "target_language": "es", "voice_profile_id": profile,
        "text_content": "Translated text to speak",
    });
    let cloned = process(&mut client, "clone-voice", body).await;
    let body = json!({
        "original_video_id": video, "cloned_audio_id": cloned, "output_format": "mp4", "quality": "high",
    });
    process(&mut client, "generate-video", body).await;

    client.delete(&format!("/api/v1/files/{}", video.as_str().unwrap()), 204).await;
    refusals(&mut client, video.as_str().unwrap()).await;
    client.delete("/api/v1/auth/logout", 204).await;
    let refused = json!({ "error": "unauthorized", "message": "Invalid or expired token" });
    client.get("/api/v1/voices/profiles", 401, refused).await;
}

async fn log_in(client: &mut Client) {
    let account = json!({ "fullName": "User", "email": "user@example.com", "password": "password123" });
    client.http.post(format!("{}/api/v1/auth/register", client.url)).json(&account).send().await.unwrap();
    let body = json!({ "email": "user@example.com", "password": "password123" });
    let pair = json!({ "access_token": "eyJ...", "token_type": "bearer", "expires_in": 3600 });
    let tokens = client.post("/api/v1/auth/login", body, (200, pair.clone())).await;
    client.token = tokens["refresh_token"].as_str().map(str::to_owned);
    let refresh = client.request(Method::POST, "/api/v1/auth/refresh");
    let tokens = client.exchange(refresh, 200, Fields(pair)).await;
    client.token = tokens["access_token"].as_str().map(str::to_owned);
}

/// Starts a job, sees it at work as the document shows it, and gives the file that it made.
async fn process(client: &mut Client, kind: &str, body: Value) -> Value {
    let accepted = json!({ "job_id": "uuid-here", "status": "queued", "progress": 0 });
    let job = client.post(&format!("/api/v1/process/{kind}"), body, (202, accepted)).await;
    let path = format!("/api/v1/process/status/{}", job["job_id"].as_str().unwrap());
    let ended = eventually(kind, JOB, async || {
        let status = super::read(client.request(Method::GET, &path).send().await.unwrap()).await.1;
        let over = !matches!(status["status"].as_str(), Some("queued" | "processing"));
        over.then_some(status)
    })
    .await;
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let example = json!({
        "job_id": "uuid-here", "status": "completed", "progress": 75.0, "estimated_completion": null,
        "result_url": "https://...",
    });
    client.get(&path, 200, example).await;
    ended["result"]["files"][0]["file_id"].clone()
}

/// A profile of the voice in `audio`.
async fn voices(client: &mut Client, audio: &Value) -> Value {
    let body = json!({
        "name": "My Voice", "audio_sample_id": audio, "language": "en",
        "description": "Professional voice for presentations",
    });
    let profile = json!({
        "id": "uuid-here", "name": "My Voice", "language": "en",
        "description": "Professional voice for presentations", "created_at": "2024-01-15T10:00:00Z",
    });
    let made = client.post("/api/v1/voices/create-profile", body, (201, profile)).await;
    let listed = client.get("/api/v1/voices/profiles?language=en", 200, json!({})).await;
    let example = json!({
        "id": "uuid-here", "name": "My Voice", "language": "en", "gender": null,
        "created_at": "2024-01-15T10:00:00Z",
    });
    let listed = listed["profiles"].as_array().unwrap();
    let ours = listed.iter().find(|profile| profile["id"] == made["id"]).unwrap();
    assert_eq!(super::differences(&example, ours, ""), Vec::<String>::new());
    let id = made["id"].as_str().unwrap();
    let preview = format!("/api/v1/voices/preview/{id}?text=Good%20morning&language=en");
    let sound = client.request(Method::GET, &preview);
    let sound = client.exchange(sound, 200, Fields(Value::Null)).await;
    assert!(sound.as_str().unwrap().ends_with(" bytes"), "{sound}");
    made["id"].clone()
}

async fn refusals(client: &mut Client, deleted: &str) {
    let invalid = json!({
        "error": "validation_error", "message": "Invalid request parameters",
        "details": { "field": "email", "issue": "Invalid email format" },
    });
    let body = json!({ "fullName": "User", "email": "user", "password": "password123" });
    client.post("/api/v1/auth/register", body, (400, invalid)).await;
    let missing = json!({ "error": "not_found", "message": "Resource not found" });
    client.get(&format!("/api/v1/files/{deleted}"), 404, missing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    let server = Server::start_with(&[("VOXMILL_RATE_LIMITS", "on")]);
    let mut client = Client::new("video-cloning, limits", &server);
    let body = json!({ "email": "user@example.com", "password": "password123" });
    let wrong = json!({ "error": "unauthorized" });
    for _ in 0..5 {
        client.post("/api/v1/auth/login", body.clone(), (401, wrong.clone())).await;
    }
    let refused = json!({
        "error": "rate_limit_exceeded", "message": "Too many requests, please try again later",
        "retry_after": 60,
    });
    let refused = client.post("/api/v1/auth/login", body, (429, refused)).await;
    assert!(Duration::from_secs(refused["retry_after"].as_u64().unwrap()) <= Duration::from_secs(60));
}
