//! Webhooks, as whoever is told sees them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use storage::audit::EventKind;
use storage::ids::{DeliveryId, UserId};
use storage::page::Page;

use crate::client::{Answer, PUBLIC_URL, TestApp};
use crate::doubles::{mp4, wav};

const DELIVERIES: &str = "/api/v1/webhooks/deliveries";

/// The id of a job whose end was told.
async fn ended_job(app: &TestApp, token: &str) -> String {
    let sound = app.file(token, "a.wav", &wav(100)).await["id"].clone();
    let body = json!({"audio_file_id": sound, "callback_url": "https://Example.com/hook?key=1"});
    let job = app.post("/api/v1/process/transcribe", token, &body).await.expect(202).json().await;
    let job = job["job_id"].as_str().unwrap().to_owned();
    app.post(&format!("/api/v1/process/jobs/{job}/cancel"), token, &json!({})).await.expect(200);
    job
}

async fn listed(app: &TestApp, token: &str, query: &str) -> Vec<Value> {
    let list = app.get(&format!("{DELIVERIES}?{query}"), token).await.expect(200).json().await;
    list["items"].as_array().unwrap().clone()
}

async fn redeliver(app: &TestApp, token: &str, id: &str) -> Answer {
    app.post(&format!("{DELIVERIES}/{id}/redeliver"), token, &json!({})).await
}

#[tokio::test]
async fn every_job_takes_a_callback_and_refuses_what_is_none() {
    let (app, token) = TestApp::with_user().await;
    let video = app.file(&token, "a.mp4", &mp4(100)).await["id"].clone();
    let sound = app.file(&token, "a.wav", &wav(100)).await["id"].clone();
    for (kind, body) in [
        ("extract-audio", json!({"video_file_id": video})),
        ("transcribe", json!({"audio_file_id": sound})),
        ("clone-voice", json!({"audio_file_id": sound, "text_content": "Hi"})),
        ("generate-video", json!({"original_video_id": video, "cloned_audio_id": sound})),
    ] {
        let path = format!("/api/v1/process/{kind}");
        let post = async |url: Value| {
            let mut body = body.clone();
            body["callback_url"] = url;
            app.post(&path, &token, &body).await
        };
        for url in [json!("https://example.com/hook"), json!("http://127.0.0.1:1/"), Value::Null] {
            post(url).await.expect(202);
        }
        let long = format!("https://example.com/{}", "a".repeat(2048));
        for url in [
            json!("hook"),
            json!(""),
            json!("ftp://example.com/"),
            json!("https://ada:secret@example.com/"),
            json!("https://exam\u{0}ple.com/"),
            json!(long),
            json!(7),
        ] {
            post(url).await.invalid("callback_url").await;
        }
    }
    let jobs = app.get("/api/v1/process/jobs", &token).await.expect(200).json().await;
    assert_eq!(jobs["items"].as_array().unwrap().len(), 12);
}

#[tokio::test]
async fn a_delivery_is_shown_to_its_owner_alone() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let (job, other) = (ended_job(&app, &token).await, ended_job(&app, &token).await);
    ended_job(&app, &stranger).await;

    let all = listed(&app, &token, "").await;
    assert_eq!(all.iter().map(|one| &one["job_id"]).collect::<Vec<_>>(), [&json!(other), &json!(job)]);
    let of_job = listed(&app, &token, &format!("job_id={job}")).await;
    assert_eq!(of_job, [all[1].clone()]);
    let one = &of_job[0];
    assert_eq!(
        (&one["event"], &one["url"], &one["status"], &one["attempts"]),
        (&json!("job.cancelled"), &json!("https://example.com/hook?key=1"), &json!("pending"), &json!([]))
    );
    assert!(one["next_attempt_at"].is_string());
    assert_eq!(listed(&app, &token, "status=pending").await, all);
    assert_eq!(listed(&app, &token, "status=delivered").await, [] as [Value; 0]);
    assert_eq!(listed(&app, &stranger, &format!("job_id={job}")).await, [] as [Value; 0]);
    let page = app.get(&format!("{DELIVERIES}?limit=1"), &token).await.expect(200).json().await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(listed(&app, &token, &format!("limit=1&cursor={cursor}")).await, of_job);
    for (wrong, field) in [
        ("job_id=7", "job_id"),
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=x", "cursor"),
    ] {
        app.get(&format!("{DELIVERIES}?{wrong}"), &token).await.invalid(field).await;
    }

    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    let body = told(&app, owner, one).await;
    assert_eq!(body["data"]["status_url"], format!("{PUBLIC_URL}/api/v1/process/status/{job}"));
    let ended = app.get(&format!("/api/v1/process/status/{job}"), &token).await.expect(200).json().await;
    for field in ["job_id", "kind", "status", "error", "attempts", "created_at", "started_at", "finished_at"]
    {
        assert_eq!(body["data"][field], ended[field], "{field}");
    }

    let id = one["id"].as_str().unwrap();
    let accepted = redeliver(&app, &token, id).await.expect(202).json().await;
    assert_eq!((&accepted["id"], &accepted["status"]), (&one["id"], &json!("pending")));
    redeliver(&app, &stranger, id).await.error(404, "not_found").await;
    redeliver(&app, &token, &job).await.error(404, "not_found").await;
    redeliver(&app, &token, "7").await.error(404, "not_found").await;

    let export = app.get("/api/v1/auth/me/export", &token).await.expect(200).json().await;
    assert_eq!(export["webhook_deliveries"].as_array().unwrap().len(), 2);
    assert_eq!(export["jobs"].as_array().unwrap().len(), 2);
    assert!(!export.to_string().contains("whsec_"));
}

#[tokio::test]
async fn a_secret_is_made_kept_and_replaced() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let get = async |token: &str| app.get("/api/v1/webhooks/secret", token).await.expect(200).json().await;
    let first = get(&token).await;
    let key = first["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
    assert_eq!(first["previous_expires_at"], Value::Null);
    assert_eq!(get(&token).await, first);
    assert_ne!(get(&stranger).await["secret"], first["secret"]);

    let rotate = "/api/v1/webhooks/secret/rotate";
    let second = app.post(rotate, &token, &json!({})).await.expect(200).json().await;
    assert_ne!(second["secret"], first["secret"]);
    assert!(second["previous_expires_at"].is_string());
    assert_eq!(get(&token).await, second);
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    let events = app.storage.audit.list(Some(owner), &Page::first()).await.unwrap().items;
    assert_eq!(events[0].kind, EventKind::WebhookSecretRotated);
}

/// What is sent.
async fn told(app: &TestApp, owner: UserId, delivery: &Value) -> Value {
    let id: DeliveryId = delivery["id"].as_str().unwrap().parse().unwrap();
    serde_json::from_str(&app.storage.webhooks.find(owner, id).await.unwrap().body).unwrap()
}
