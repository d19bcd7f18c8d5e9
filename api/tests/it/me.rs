use poem::http::Method;
use serde_json::{Value, json};
use storage::conversations::{NewConversation, NewUtterance, Speaker};

use crate::agents::agent;
use crate::client::{Answer, TestApp, request};

async fn erase(app: &TestApp, token: &str, password: &str) -> Answer {
    let sent = request(Method::DELETE, "/api/v1/auth/me", token).content_type("application/json");
    app.send(sent.body(json!({"password": password}).to_string())).await
}

#[tokio::test]
async fn an_owner_erases_the_account_with_everything_in_it() {
    let (app, token) = TestApp::with_user().await;
    let other = app.user("bob@example.com").await;
    let file = app.file(&token, "a.wav", b"RIFF\0").await;
    let kept = app.file(&other, "b.wav", b"RIFF\0").await;
    let key = app.post("/api/v1/auth/api-keys", &token, &json!({"name": "script"})).await.json().await;

    let issue = erase(&app, &token, "another password").await.invalid("password").await;
    assert_eq!(issue, "is not the password of this account");
    app.get("/api/v1/files", &token).await.expect(200);

    erase(&app, &token, "password123").await.expect(204);
    app.get("/api/v1/files", &token).await.error(401, "unauthorized").await;
    app.get("/api/v1/files", key["key"].as_str().unwrap()).await.error(401, "unauthorized").await;
    app.get(file["download_url"].as_str().unwrap(), "").await.error(404, "not_found").await;
    app.get(kept["download_url"].as_str().unwrap(), "").await.expect(200);
    let body = json!({"email": "ann@example.com", "password": "password123"});
    app.post("/api/v1/auth/login", "", &body).await.error(401, "unauthorized").await;
    assert_eq!(app.storage.objects.list("").await.unwrap().len(), 1);

    // The address is free again, and what comes by it is a stranger.
    let stranger = app.user("ann@example.com").await;
    let files = app.get("/api/v1/files", &stranger).await.expect(200).json().await;
    assert_eq!(files["items"], json!([]));
}

#[tokio::test]
async fn of_two_erasures_at_once_both_end_in_peace() {
    let (app, token) = TestApp::with_user().await;
    let (one, other) = tokio::join!(erase(&app, &token, "password123"), erase(&app, &token, "password123"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert!(matches!(statuses, [204, 401 | 404]), "{statuses:?}");
}

#[tokio::test]
async fn an_owner_takes_everything_out() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    app.file(&stranger, "b.wav", b"RIFF\0").await;
    // More than are read at once.
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    for number in 0..101 {
        app.storage.api_keys.create(owner, &format!("key {number}"), None).await.unwrap();
    }
    let file = app.file(&token, "a.wav", b"RIFF\0").await;
    let job = json!({"audio_file_id": file["id"]});
    let job = app.post("/api/v1/process/transcribe", &token, &job).await.expect(202).json().await;

    let agent = app.post("/agents", &token, &agent("Sales")).await.expect(201).json().await;
    let campaign = json!({"name": "a", "agent_id": agent["id"], "phone_numbers": ["+12", "+13"]});
    let first = app.post("/campaigns", &token, &campaign).await.expect(201).json().await;
    let second = app.post("/campaigns", &token, &campaign).await.expect(201).json().await;

    let answer = app.get("/api/v1/auth/me/export", &token).await.expect(200);
    assert!(answer.header("content-disposition").starts_with("attachment"));
    let export = answer.json().await;
    let keys: Vec<_> = export.as_object().unwrap().keys().collect();
    let expected = "account agents api_keys call_logs campaigns chat_messages exported_at files history jobs participations \
        preferences projects recordings room_sessions rooms voice_sessions voices webhook_deliveries";
    assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(export["agents"], json!([agent]));
    assert_eq!(export["campaigns"], json!([second, first]));
    assert_eq!(export["account"]["email"], "ann@example.com");
    assert_eq!(export["preferences"]["preferred_voice"], "alloy");
    assert_eq!(export["api_keys"].as_array().unwrap().len(), 101);
    assert_eq!(export["files"].as_array().unwrap().len(), 1);
    assert_eq!(export["files"][0]["id"], file["id"]);
    assert_eq!(export["jobs"][0]["job_id"], job["job_id"]);
    assert_eq!(export["voices"], json!([]));
    assert!(!export.to_string().contains("argon2"));

    let empty = app.get("/api/v1/auth/me/export", &stranger).await.expect(200).json().await;
    for list in ["api_keys", "jobs", "agents", "campaigns"] {
        assert_eq!(empty[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn what_was_held_and_said_is_taken_out_too() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let data = async |answer: Answer| answer.expect(201).json().await["data"].take();
    let start = async |token: &str, name: &str| {
        let room = data(app.post("/api/v1/rooms", token, &json!({"name": name})).await).await;
        let path = format!("/api/v1/rooms/{}/sessions/start", room["id"].as_str().unwrap());
        (room, data(app.post_bytes(&path, token, "").await).await)
    };
    let (room, session) = start(&token, "Hers").await;
    let (_, other) = start(&stranger, "His").await;
    let at =
        |session: &Value, rest: &str| format!("/api/v1/sessions/{}/{rest}", session["id"].as_str().unwrap());
    data(app.post_bytes(&at(&other, "participants"), &token, "").await).await;
    let recording = data(app.post_bytes(&at(&session, "recording/start"), &token, "").await).await;
    data(app.post_bytes(&at(&other, "recording/start"), &stranger, "").await).await;
    let hers = data(app.post(&at(&other, "chat"), &token, &json!({"message": "hers"})).await).await;
    data(app.post(&at(&other, "chat"), &stranger, &json!({"message": "his"})).await).await;
    // More than are read at once.
    let mut projects = vec![];
    for number in 0..101 {
        let project = json!({"name": format!("project {number}")});
        projects.push(app.post("/api/v1/projects", &token, &project).await.expect(201).json().await);
    }
    let voice = json!({"project_id": projects[0]["id"]});
    let voice = app.post("/api/v1/sessions/start", &token, &voice).await.expect(201).json().await;
    let user = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    let new = NewConversation {
        user: Some(user),
        room: "quickstart".to_owned(),
        system_prompt: String::new(),
        metadata: json!({}),
    };
    let conversation = app.storage.conversations.start(new).await.unwrap();
    let words =
        NewUtterance { role: Speaker::User, text: "Paris".to_owned(), event: String::new(), is_final: true };
    app.storage.conversations.say(&conversation, words).await.unwrap();

    let export = app.get("/api/v1/auth/me/export", &token).await.expect(200).json().await;
    let one = |section: &str| match export[section].as_array().unwrap().as_slice() {
        [one] => one.clone(),
        other => panic!("{section}: {other:?}"),
    };
    assert_eq!(one("rooms")["id"], room["id"]);
    assert_eq!(one("room_sessions")["id"], session["id"]);
    assert_eq!(one("recordings")["id"], recording["id"]);
    assert_eq!(one("chat_messages"), hers);
    assert_eq!(one("voice_sessions")["id"], voice["id"]);
    assert_eq!(one("history")["utterances"][0]["text"], "Paris");
    let parts = export["participations"].as_array().unwrap();
    assert_eq!(parts.len(), 2, "in her own session and in his");
    let mut taken: Vec<_> = export["projects"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    taken.reverse();
    assert_eq!(taken, projects.iter().map(|one| &one["id"]).collect::<Vec<_>>());
    let text = export.to_string();
    assert!(!text.contains("\"his\"") && !text.contains("passcode"), "{text}");
}
