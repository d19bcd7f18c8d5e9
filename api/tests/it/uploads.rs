use std::collections::HashSet;
use std::sync::Arc;

use poem::http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::client::{Answer, MAX_UPLOAD, TestApp, request};
use crate::doubles::{SlowProbe, wav};

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}

async fn begin(app: &TestApp, token: &str, bytes: &[u8]) -> Value {
    let body = json!({"filename": "talk.wav", "size_bytes": bytes.len(), "content_type": "audio/wav",
        "project_name": "P", "sha256": hex::encode(Sha256::digest(bytes)).to_uppercase()});
    app.post("/api/v1/files/uploads", token, &body).await.expect(201).json().await
}

async fn put(app: &TestApp, url: &str, bytes: &[u8]) -> Answer {
    app.send(request(Method::PUT, url, "").body(bytes.to_vec())).await
}

#[tokio::test]
async fn parts_become_a_file() {
    let (app, token) = TestApp::with_user().await;
    let bytes = wav(5000);
    let upload = begin(&app, &token, &bytes).await;
    let parts = upload["parts"].as_array().unwrap();
    assert_eq!((parts.len(), &parts[0]["number"], &parts[0]["received"]), (1, &json!(1), &json!(false)));
    let complete = text(&upload, "complete_url");

    app.post_bytes(complete, &token, "").await.error(409, "conflict").await;
    put(&app, text(&parts[0], "url"), &bytes[1..]).await.invalid("body").await;
    put(&app, text(&parts[0], "url"), &[bytes.as_slice(), b"x"].concat()).await.invalid("body").await;
    let part = put(&app, text(&parts[0], "url"), &bytes).await.expect(200).json().await;
    assert_eq!((&part["number"], &part["size_bytes"]), (&json!(1), &json!(5000)));
    put(&app, text(&parts[0], "url"), &bytes).await.expect(200);

    let path = format!("/api/v1/files/uploads/{}", text(&upload, "id"));
    let seen = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!(seen["parts"][0]["received"], true);

    let file = app.post_bytes(complete, &token, "").await.expect(201).json().await;
    assert_eq!((text(&file, "filename"), text(&file, "project_name")), ("talk.wav", "P"));
    let content = app.get(text(&file, "download_url"), "").await.expect(200);
    assert_eq!(content.bytes().await, bytes);
    app.get(&path, &token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn an_upload_becomes_one_file_however_often_it_is_completed() {
    let (app, token) = TestApp::with_user().await;
    let bytes = wav(5000);
    let upload = begin(&app, &token, &bytes).await;
    put(&app, text(&upload["parts"][0], "url"), &bytes).await.expect(200);
    let complete = text(&upload, "complete_url");
    let answers = futures_util::future::join_all((0..4).map(|_| app.post_bytes(complete, &token, ""))).await;
    let mut files = HashSet::new();
    for answer in answers {
        match answer.status.as_u16() {
            201 => drop(files.insert(text(&answer.json().await, "file_id").to_owned())),
            status => assert_eq!(status, 404, "it is a file by now"),
        }
    }
    assert_eq!(files.len(), 1);
    assert_eq!(app.get("/api/v1/usage", &token).await.json().await["files"], 1);
    assert_eq!(app.storage.objects.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_upload_becomes_a_file_though_nobody_waits_for_it() {
    let probe = Arc::new(SlowProbe { begun: Semaphore::new(0), may_end: Semaphore::new(0) });
    let app = TestApp::serving(|services| services.probe = probe.clone()).await;
    let token = app.user("ann@example.com").await;
    let bytes = wav(5000);
    let upload = begin(&app, &token, &bytes).await;
    put(&app, text(&upload["parts"][0], "url"), &bytes).await.expect(200);
    let complete = text(&upload, "complete_url");
    tokio::select! {
        _ = app.post_bytes(complete, &token, "") => panic!("nobody has looked into it yet"),
        begun = probe.begun.acquire() => begun.unwrap().forget(),
    }
    // Only one may end: who asks again begins nothing anew.
    probe.may_end.add_permits(1);
    let again = app.post_bytes(complete, &token, "").await;
    assert!([201, 404].contains(&again.status.as_u16()), "{}", again.status);
    assert_eq!(app.get("/api/v1/usage", &token).await.json().await["files"], 1);
    assert_eq!(probe.begun.available_permits(), 0);
}

#[tokio::test]
async fn other_bytes_than_announced_are_refused() {
    let (app, token) = TestApp::with_user().await;
    let upload = begin(&app, &token, &wav(100)).await;
    put(&app, text(&upload["parts"][0], "url"), &[0; 100]).await.expect(200);
    app.post_bytes(text(&upload, "complete_url"), &token, "").await.error(409, "conflict").await;
    assert_eq!(app.get("/api/v1/usage", &token).await.json().await["files"], 0);
}

#[tokio::test]
async fn an_upload_is_its_owners() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let upload = begin(&app, &token, &wav(100)).await;
    let path = format!("/api/v1/files/uploads/{}", text(&upload, "id"));
    app.get(&path, &stranger).await.error(404, "not_found").await;
    app.delete(&path, &stranger).await.error(404, "not_found").await;
    app.post_bytes(&format!("{path}/complete"), &stranger, "").await.error(404, "not_found").await;
    let part = |token: &str, number: &str| {
        request(Method::PUT, &format!("{path}/parts/{number}"), token).body(wav(100))
    };
    app.send(part(&stranger, "1")).await.error(404, "not_found").await;
    app.send(part("", "1")).await.error(401, "unauthorized").await;
    for number in ["0", "2", "-1", "x"] {
        app.send(part(&token, number)).await.error(404, "not_found").await;
    }
    app.send(part(&token, "1")).await.expect(200);
    app.delete(&path, &token).await.expect(204);
    app.get(&path, &token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn an_upload_must_fit_and_be_sane() {
    let (app, token) = TestApp::with_user().await;
    let begin = async |changes: Value| {
        let mut body = json!({"filename": "talk.wav", "size_bytes": 100});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        app.post("/api/v1/files/uploads", &token, &body).await
    };
    begin(json!({"size_bytes": MAX_UPLOAD + 1})).await.error(413, "payload_too_large").await;
    begin(json!({"size_bytes": 0})).await.invalid("size_bytes").await;
    begin(json!({"size_bytes": "1"})).await.invalid("size_bytes").await;
    begin(json!({"sha256": "z".repeat(64)})).await.invalid("sha256").await;
    begin(json!({"filename": ""})).await.invalid("filename").await;
    begin(json!({"size_bytes": MAX_UPLOAD})).await.expect(201);
}
