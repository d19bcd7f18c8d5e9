//! What administrators see and do, and what they do not.

use serde_json::{Value, json};
use storage::audit::EventKind;
use storage::page::Page;
use storage::users::Role;

use crate::client::TestApp;

/// An application with the administrator Ann and the user Bob, and both tokens.
async fn world() -> (TestApp, String, String) {
    let (app, ann) = TestApp::with_user().await;
    let bob = app.user("bob@example.com").await;
    app.storage.users.set_role("ann@example.com", Role::Admin).await.unwrap();
    (app, ann, bob)
}

async fn account(app: &TestApp, admin: &str, email: &str) -> Value {
    let listed = app.get(&format!("/api/v1/admin/users?email={email}"), admin).await.expect(200).json().await;
    listed["items"][0].clone()
}

fn path(account: &Value) -> String {
    format!("/api/v1/admin/users/{}", account["id"].as_str().unwrap())
}

#[tokio::test]
async fn administrators_list_accounts_and_jobs_without_what_is_in_them() {
    let (app, ann, bob) = world().await;
    let users = app.get("/api/v1/admin/users?limit=1", &ann).await.expect(200).json().await;
    assert_eq!(users["items"][0]["email"], "bob@example.com");
    let next = format!("/api/v1/admin/users?cursor={}", users["next_cursor"].as_str().unwrap());
    let users = app.get(&next, &ann).await.expect(200).json().await;
    assert_eq!((&users["items"][0]["role"], &users["next_cursor"]), (&json!("admin"), &Value::Null));
    assert_eq!(account(&app, &ann, "nobody@example.com").await, Value::Null);

    let file = app.file(&bob, "secret name.wav", b"RIFF\0").await;
    let job = json!({"audio_file_id": file["id"], "prompt": "secret words"});
    let job = app.post("/api/v1/process/transcribe", &bob, &job).await.expect(202).json().await;
    let bob_id = account(&app, &ann, "bob@example.com").await["id"].clone();
    for query in
        ["".to_owned(), format!("?user_id={}", bob_id.as_str().unwrap()), "?status=queued".to_owned()]
    {
        let jobs = app.get(&format!("/api/v1/admin/jobs{query}"), &ann).await.expect(200).json().await;
        assert_eq!(jobs["items"][0]["job_id"], job["job_id"]);
        assert_eq!(jobs["items"][0]["owner_id"], bob_id);
        assert!(!jobs.to_string().contains("secret"), "{jobs}");
    }
    let path = format!("/api/v1/files/{}", file["id"].as_str().unwrap());
    app.get(&path, &ann).await.error(404, "not_found").await;
    let path = format!("/api/v1/process/status/{}", job["job_id"].as_str().unwrap());
    app.get(&path, &ann).await.error(404, "not_found").await;
}

#[tokio::test]
async fn administrators_disable_accounts_and_set_quotas() {
    let (app, ann, bob) = world().await;
    let account = account(&app, &ann, "bob@example.com").await;
    let changed = app.patch(&path(&account), &ann, &json!({"quota_bytes": 3})).await.expect(200).json().await;
    assert_eq!((&changed["quota_bytes"], &changed["disabled"]), (&json!(3), &json!(false)));
    app.upload(&bob, &[("name=\"file\"; filename=\"a.wav\"", b"RIFF\0")])
        .await
        .error(507, "insufficient_storage")
        .await;

    app.patch(&path(&account), &ann, &json!({"disabled": true})).await.expect(200);
    app.get("/api/v1/files", &bob).await.error(401, "unauthorized").await;
    app.patch(&path(&account), &ann, &json!({"disabled": false})).await.expect(200);
    app.get("/api/v1/files", &bob).await.expect(200);
    let events = app.storage.audit.list(None, &Page::first()).await.unwrap().items;
    assert_eq!((events[0].kind, events[1].kind), (EventKind::AccountEnabled, EventKind::AccountDisabled));

    let own = self::account(&app, &ann, "ann@example.com").await;
    app.patch(&path(&own), &ann, &json!({"disabled": true})).await.error(409, "conflict").await;
    app.patch(&path(&own), &ann, &json!({"quota_bytes": -1})).await.invalid("quota_bytes").await;
    let missing = format!("/api/v1/admin/users/{}", uuid::Uuid::new_v4());
    app.get(&missing, &ann).await.error(404, "not_found").await;
    app.patch(&missing, &ann, &json!({"disabled": true})).await.error(404, "not_found").await;
}

#[tokio::test]
async fn administrators_give_keys_rates_of_their_own() {
    let (app, ann, bob) = world().await;
    let key =
        app.post("/api/v1/auth/api-keys", &bob, &json!({"name": "script"})).await.expect(201).json().await;
    let account = account(&app, &ann, "bob@example.com").await;
    let path = format!("{}/api-keys/{}", path(&account), key["id"].as_str().unwrap());
    app.patch(&path, &ann, &json!({"requests_per_minute": 900})).await.expect(204);
    let keys = app.get("/api/v1/auth/api-keys", &bob).await.expect(200).json().await;
    assert_eq!(keys["items"][0]["requests_per_minute"], 900);
    app.patch(&path, &ann, &json!({"requests_per_minute": 0})).await.invalid("requests_per_minute").await;
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let (app, ann, bob) = world().await;
    let account = account(&app, &ann, "ann@example.com").await;
    for path in ["/api/v1/admin/users", "/api/v1/admin/jobs", &path(&account)] {
        app.get(path, &bob).await.error(403, "forbidden").await;
        app.get(path, "").await.error(401, "unauthorized").await;
    }
    app.patch(&path(&account), &bob, &json!({"disabled": true})).await.error(403, "forbidden").await;
    app.get("/api/v1/files", &ann).await.expect(200);
}
