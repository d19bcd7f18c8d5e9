use std::time::Duration;

use futures_util::future::join_all;
use poem::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Answer, MAX_UPLOAD, PUBLIC_URL, QUOTA, TestApp, request};
use crate::doubles::wav;

#[tokio::test]
async fn chunks_become_a_file_of_the_owner_and_a_job() {
    let (app, ann, session) = live().await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let id = text(&started, "recordingId");
    assert_eq!((text(&started, "id"), text(&started, "sessionId")), (id, session.as_str()));
    assert_eq!((&started["status"], &started["fileId"]), (&json!("RECORDING"), &Value::Null));
    assert!(started["startedBy"].is_string() && started["startedAt"].is_string());
    let url = text(&started, "uploadUrl");
    assert!(url.starts_with(PUBLIC_URL) && !url.contains('?'), "{url}");
    act(&app, &ann, &session, "start").await.error(409, "conflict").await;

    let bytes = wav(3000);
    put(&app, &ann, url, "1", &bytes[1000..]).await.expect(200);
    put(&app, &ann, url, "0", b"broken off").await.expect(200);
    assert_eq!(data(act(&app, &ann, &session, "pause").await.expect(200)).await["status"], "PAUSED");
    let chunk = data(put(&app, &ann, url, "0", &bytes[..1000]).await.expect(200)).await;
    assert_eq!((&chunk["number"], &chunk["sizeBytes"]), (&json!(0), &json!(1000)));
    act(&app, &ann, &session, "pause").await.error(409, "conflict").await;
    assert_eq!(data(act(&app, &ann, &session, "resume").await.expect(200)).await["status"], "RECORDING");
    act(&app, &ann, &session, "resume").await.error(409, "conflict").await;
    let path = format!("/api/v1/recordings/{id}");
    let seen = data(app.get(&path, &ann).await.expect(200)).await;
    assert_eq!((&seen["chunks"], &seen["sizeBytes"]), (&json!(2), &json!(3000)));

    let mut stops = join_all((0..3).map(|_| act(&app, &ann, &session, "stop"))).await;
    stops.sort_by_key(|answer| answer.status);
    let statuses: Vec<_> = stops.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 409, 409]);
    let stopped = data(stops.remove(0)).await;
    assert_eq!((&stopped["status"], &stopped["error"]), (&json!("STOPPED"), &Value::Null));
    assert!(stopped["stoppedAt"].is_string());
    assert_eq!(data(app.get(&path, &ann).await.expect(200)).await, stopped);
    let file = app.get(&format!("/api/v1/files/{}", text(&stopped, "fileId")), &ann).await.expect(200);
    let file = file.json().await;
    assert_eq!((&file["kind"], &file["size_bytes"]), (&json!("audio"), &json!(3000)));
    assert!(text(&file, "filename").starts_with("recording-20"));
    assert_eq!(app.get(text(&file, "download_url"), "").await.expect(200).bytes().await, bytes);
    let job = app.get(&format!("/api/v1/process/status/{}", text(&stopped, "jobId")), &ann).await;
    assert_eq!(job.expect(200).json().await["kind"], "transcribe");
    let jobs = app.get("/api/v1/process/jobs", &ann).await.expect(200).json().await;
    assert_eq!(jobs["items"].as_array().unwrap().len(), 1);
    let usage = app.get("/api/v1/usage", &ann).await.expect(200).json().await;
    assert_eq!((&usage["files"], &usage["used_bytes"]), (&json!(1), &json!(3000)));

    put(&app, &ann, url, "2", b"late").await.error(409, "conflict").await;
    let next = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let listed = app.get(&format!("/api/v1/sessions/{session}/recordings"), &ann).await.expect(200);
    let listed = listed.json().await;
    let ids: Vec<_> = listed["data"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!((ids, &listed["nextCursor"]), (vec![&next["id"], &stopped["id"]], &Value::Null));
    let short = format!("/api/v1/sessions/{session}/recordings?limit=1");
    assert!(app.get(&short, &ann).await.expect(200).json().await["nextCursor"].is_string());
}

#[tokio::test]
async fn what_is_missing_or_unreadable_is_said_and_may_be_mended() {
    let (app, ann, session) = live().await;
    act(&app, &ann, &session, "stop").await.error(409, "conflict").await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let (url, path) = (text(&started, "uploadUrl"), format!("/api/v1/recordings/{}", text(&started, "id")));
    let body = act(&app, &ann, &session, "stop").await.error(409, "conflict").await;
    assert!(text(&body, "message").contains("no chunk has come"), "{body}");

    let bytes = wav(300);
    put(&app, &ann, url, "2", &bytes[200..]).await.expect(200);
    put(&app, &ann, url, "0", b"not what it seems\0").await.expect(200);
    let body = act(&app, &ann, &session, "stop").await.error(409, "conflict").await;
    assert!(text(&body, "message").contains("missing: 1."), "{body}");
    let failed = data(app.get(&path, &ann).await.expect(200)).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("FAILED"), &json!("chunks_missing")));

    put(&app, &ann, url, "1", &bytes[100..200]).await.expect(200);
    act(&app, &ann, &session, "stop").await.error(415, "unsupported_media_type").await;
    let failed = data(app.get(&path, &ann).await.expect(200)).await;
    assert_eq!((&failed["error"]["code"], &failed["fileId"]), (&json!("media_unreadable"), &Value::Null));
    assert_eq!((&failed["chunks"], failed["error"]["message"].is_string()), (&json!(3), true));

    put(&app, &ann, url, "0", b"words").await.expect(200);
    put(&app, &ann, url, "1", b" and ").await.expect(200);
    put(&app, &ann, url, "2", b"words").await.expect(200);
    act(&app, &ann, &session, "stop").await.error(415, "unsupported_media_type").await;

    for (number, part) in bytes.chunks(100).enumerate() {
        put(&app, &ann, url, &number.to_string(), part).await.expect(200);
    }
    // Nobody has to be in the session any more.
    app.post_bytes(&format!("/api/v1/sessions/{session}/end"), &ann, "").await.expect(200);
    let stopped = data(act(&app, &ann, &session, "stop").await.expect(200)).await;
    assert_eq!((stopped["fileId"].is_string(), stopped["jobId"].is_string()), (true, true));
    act(&app, &ann, &session, "start").await.error(409, "conflict").await;
}

#[tokio::test]
async fn a_recording_is_for_hosts_and_a_secret_from_strangers() {
    let (app, ann, session) = live().await;
    let bob = app.user("bob@example.com").await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let (url, path) = (text(&started, "uploadUrl"), format!("/api/v1/recordings/{}", text(&started, "id")));
    let list = format!("/api/v1/sessions/{session}/recordings");
    let hosts_own = async |token: &str| {
        let mut answers = vec![put(&app, token, url, "0", b"a").await];
        for action in ["start", "pause", "resume", "stop"] {
            answers.push(act(&app, token, &session, action).await);
        }
        answers
    };
    for answer in hosts_own(&bob).await {
        answer.error(404, "not_found").await;
    }
    app.get(&path, &bob).await.error(404, "not_found").await;
    app.get(&list, &bob).await.error(404, "not_found").await;
    app.post_bytes(&format!("/api/v1/sessions/{session}/participants"), &bob, "").await.expect(201);
    for answer in hosts_own(&bob).await {
        answer.error(403, "forbidden").await;
    }
    app.get(&path, &bob).await.expect(200);
    assert_eq!(data(app.get(&list, &bob).await.expect(200)).await.as_array().unwrap().len(), 1);
    put(&app, "", url, "0", b"a").await.error(401, "unauthorized").await;
    for number in ["x", "-1", "4294967296"] {
        put(&app, &ann, url, number, b"a").await.error(404, "not_found").await;
    }
    put(&app, &ann, url, "100000", b"a").await.invalid("number").await;
    let unknown = format!("/api/v1/recordings/{}", Uuid::new_v4());
    app.get(&unknown, &ann).await.error(404, "not_found").await;
    app.get("/api/v1/recordings/x", &ann).await.error(404, "not_found").await;
    put(&app, &ann, &format!("{unknown}/chunks"), "0", b"a").await.error(404, "not_found").await;
    app.get(&format!("{list}?limit=0"), &ann).await.invalid("limit").await;
    app.get(&format!("{list}?cursor=x"), &ann).await.invalid("cursor").await;
}

#[tokio::test]
async fn a_recording_must_fit() {
    let (app, ann, session) = live().await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let url = text(&started, "uploadUrl");
    let (limit, quota) = (usize::try_from(MAX_UPLOAD).unwrap(), usize::try_from(QUOTA).unwrap());
    put(&app, &ann, url, "0", &vec![1; limit + 1]).await.error(413, "payload_too_large").await;
    put(&app, &ann, url, "0", &vec![1; limit - 10]).await.expect(200);
    put(&app, &ann, url, "1", &[1; 11]).await.error(413, "payload_too_large").await;
    app.file(&ann, "a.wav", &wav(quota - limit + 5)).await;
    put(&app, &ann, url, "1", &[1; 6]).await.error(507, "insufficient_storage").await;
    put(&app, &ann, url, "1", &[1; 5]).await.expect(200);
    // What is sent again needs no room of its own.
    put(&app, &ann, url, "0", &vec![2; limit - 10]).await.expect(200);
    let seen = data(app.get(&format!("/api/v1/recordings/{}", text(&started, "id")), &ann).await).await;
    assert_eq!((&seen["chunks"], &seen["sizeBytes"]), (&json!(2), &json!(MAX_UPLOAD - 5)));
    assert_eq!(app.storage.objects.list("recordings/").await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_end_of_a_session_makes_the_file_too() {
    let (app, ann, session) = live().await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    put(&app, &ann, text(&started, "uploadUrl"), "0", &wav(100)).await.expect(200);
    app.post_bytes(&format!("/api/v1/sessions/{session}/end"), &ann, "").await.expect(200);
    let seen = data(app.get(&format!("/api/v1/recordings/{}", text(&started, "id")), &ann).await).await;
    assert_eq!((&seen["status"], seen["fileId"].is_string()), (&json!("STOPPED"), true));
    assert!(seen["jobId"].is_string());
    act(&app, &ann, &session, "stop").await.error(409, "conflict").await;

    // The end of a session does not depend on what was recorded.
    let (app, ann, session) = live().await;
    act(&app, &ann, &session, "start").await.expect(201);
    app.post_bytes(&format!("/api/v1/sessions/{session}/end"), &ann, "").await.expect(200);
}

#[tokio::test]
async fn five_minutes_without_a_chunk_stop_a_recording_and_lose_nothing() {
    let (app, ann, session) = live().await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    let path = format!("/api/v1/recordings/{}", text(&started, "id"));
    put(&app, &ann, text(&started, "uploadUrl"), "0", &wav(100)).await.expect(200);
    app.clock.advance(Duration::from_secs(299));
    api::finish_recordings(app.services.clone()).await;
    assert_eq!(data(app.get(&path, &ann).await).await["status"], "RECORDING");
    app.clock.advance(Duration::from_secs(1));
    api::finish_recordings(app.services.clone()).await;
    let stopped = data(app.get(&path, &ann).await).await;
    assert_eq!((&stopped["status"], stopped["fileId"].is_string()), (&json!("STOPPED"), true));
    assert!(stopped["jobId"].is_string());
}

#[tokio::test]
async fn a_recording_without_sound_is_a_file_all_the_same() {
    let (app, ann, session) = live().await;
    let started = data(act(&app, &ann, &session, "start").await.expect(201)).await;
    // A picture without sound is nothing to transcribe.
    put(&app, &ann, text(&started, "uploadUrl"), "0", &crate::doubles::silent_mp4(100)).await.expect(200);
    let stopped = data(act(&app, &ann, &session, "stop").await.expect(200)).await;
    assert_eq!((&stopped["status"], &stopped["jobId"]), (&json!("STOPPED"), &Value::Null));
    assert!(stopped["fileId"].is_string());
    assert_eq!(stopped["error"]["code"], "not_transcribed");
}

/// An app, the token of a user, and the id of a live session of theirs.
async fn live() -> (TestApp, String, String) {
    let (app, ann) = TestApp::with_user().await;
    let room = data(app.post("/api/v1/rooms", &ann, &json!({"name": "A room"})).await.expect(201)).await;
    let path = format!("/api/v1/rooms/{}/sessions/start", text(&room, "id"));
    let session = data(app.post_bytes(&path, &ann, "").await.expect(201)).await;
    (app, ann, text(&session, "id").to_owned())
}

async fn act(app: &TestApp, token: &str, session: &str, action: &str) -> Answer {
    app.post_bytes(&format!("/api/v1/sessions/{session}/recording/{action}"), token, "").await
}

async fn put(app: &TestApp, token: &str, url: &str, number: &str, bytes: &[u8]) -> Answer {
    app.send(request(Method::PUT, &format!("{url}/{number}"), token).body(bytes.to_vec())).await
}

async fn data(answer: Answer) -> Value {
    answer.json().await["data"].take()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}
