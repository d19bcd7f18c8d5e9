use std::time::Duration;

use chrono::DateTime;
use poem::http::Method;
use serde_json::{Value, json};
use storage::conversations::{Conversation, NewConversation, NewUtterance, Speaker};
use storage::ids::UserId;
use uuid::Uuid;

use crate::client::{Answer, TestApp, by_cookie};

const PROMPT: &str = "You are a friendly travel assistant.";

#[tokio::test]
async fn history_is_as_the_document_shows_it() {
    let (app, cookie, user) = browser("user@example.com").await;
    let started = start(&app, user).await;
    for (role, text) in [
        (Speaker::Agent, "Hello! How can I help you today?"),
        (Speaker::User, "I want to plan a trip to Paris."),
    ] {
        app.clock.advance(Duration::from_secs(5));
        let new = NewUtterance { role, text: text.to_owned(), event: String::new(), is_final: true };
        app.storage.conversations.say(&started, new).await.unwrap();
    }
    let running = get(&app, &cookie, "").await.expect(200).json().await;
    assert_eq!(running["results"][0]["ended_at"], Value::Null);
    app.storage.conversations.end(&started).await.unwrap();

    let list = get(&app, &cookie, "?limit=20&offset=0").await.expect(200).json().await;
    assert_eq!(keys(&list), ["count", "next", "previous", "results"]);
    assert_eq!((&list["count"], &list["next"], &list["previous"]), (&json!(1), &Value::Null, &Value::Null));
    let item = &list["results"][0];
    assert_eq!(keys(item), ["ended_at", "id", "room", "started_at", "system_prompt", "utterance_count"]);
    assert_eq!((&item["room"], &item["system_prompt"]), (&json!("quickstart"), &json!(PROMPT)));
    assert_eq!((&item["id"], &item["utterance_count"]), (&json!(started.id), &json!(2)));

    let detail = get(&app, &cookie, &format!("/{}", started.id)).await.expect(200).json().await;
    let all = ["ended_at", "id", "metadata", "room", "started_at", "system_prompt", "utterances"];
    assert_eq!(keys(&detail), all);
    assert_eq!(detail["metadata"], json!({"user_id": "user-123"}));
    for field in ["id", "room", "started_at", "ended_at", "system_prompt"] {
        assert_eq!(detail[field], item[field], "{field}");
    }
    let said = &detail["utterances"][1];
    assert_eq!(keys(said), ["created_at", "event", "id", "is_final", "role", "session", "text"]);
    assert_eq!((&said["session"], &said["role"]), (&detail["id"], &json!("user")));
    assert_eq!((&said["text"], &said["event"]), (&json!("I want to plan a trip to Paris."), &json!("")));
    assert_eq!((&said["is_final"], &detail["utterances"][0]["role"]), (&json!(true), &json!("agent")));
    for time in [&item["started_at"], &item["ended_at"], &said["created_at"]] {
        DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn pages_lead_to_one_another() {
    let (app, cookie, user) = browser("user@example.com").await;
    for _ in 0..45 {
        app.clock.advance(Duration::from_secs(1));
        start(&app, user).await;
    }
    let (mut path, mut seen) = (String::new(), vec![]);
    loop {
        let page = get(&app, &cookie, &path).await.expect(200).json().await;
        assert_eq!(page["count"], 45);
        seen.extend(page["results"].as_array().unwrap().iter().map(|one| one["started_at"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        path = next.strip_prefix("/api/users/history").unwrap().to_owned();
        assert_eq!(path, format!("?limit=20&offset={}", seen.len()));
    }
    assert_eq!(seen.len(), 45);
    assert!(seen.windows(2).all(|pair| pair[0].as_str() > pair[1].as_str()), "newest first");
    let last = get(&app, &cookie, "?limit=20&offset=40").await.expect(200).json().await;
    assert_eq!(
        (&last["next"], &last["previous"]),
        (&Value::Null, &json!("/api/users/history?limit=20&offset=20"))
    );
    let beyond = get(&app, &cookie, "?limit=1&offset=1000000000").await.expect(200).json().await;
    assert_eq!((&beyond["results"], &beyond["next"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_conversation_is_its_users_alone() {
    let (app, cookie, user) = browser("user@example.com").await;
    let other = register(&app, "other@example.com").await;
    let started = start(&app, user).await;
    let path = format!("/{}", started.id);
    get(&app, &cookie, &path).await.expect(200);
    let missing = json!({"detail": "Session not found"});
    assert_eq!(get(&app, &other, &path).await.expect(404).json().await, missing);
    assert_eq!(get(&app, &cookie, &format!("/{}", Uuid::new_v4())).await.expect(404).json().await, missing);
    get(&app, &cookie, "/x").await.expect(404);
    assert_eq!(get(&app, &other, "").await.expect(200).json().await["count"], 0);
    let stranger = app.get(&format!("/api/users/history{path}"), "").await.expect(401).json().await;
    assert_eq!(stranger, json!({"detail": "Authentication credentials were not provided."}));
}

/// An app, the cookie of a user, and who that is.
async fn browser(email: &str) -> (TestApp, String, UserId) {
    let app = TestApp::new().await;
    let cookie = register(&app, email).await;
    let user = app.storage.users.by_email(email).await.unwrap().unwrap().id;
    (app, cookie, user)
}

async fn register(app: &TestApp, email: &str) -> String {
    let account = json!({"email": email, "password": "securepass123", "display_name": "John Doe"});
    app.post("/api/auth/register", "", &account).await.expect(201).session()
}

async fn start(app: &TestApp, user: UserId) -> Conversation {
    let new = NewConversation {
        user: Some(user),
        room: "quickstart".to_owned(),
        system_prompt: PROMPT.to_owned(),
        metadata: json!({"user_id": "user-123"}),
    };
    app.storage.conversations.start(new).await.unwrap()
}

async fn get(app: &TestApp, cookie: &str, path: &str) -> Answer {
    app.send(by_cookie(Method::GET, &format!("/api/users/history{path}"), cookie).finish()).await
}

/// In order.
fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
