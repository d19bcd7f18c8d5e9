//! Security events: what the audit log says of what clients did.

use poem::http::Method;
use serde_json::{Value, json};
use storage::audit::{Event, EventKind};
use storage::page::Page;

use crate::client::{TestApp, request};

/// All events, the oldest first.
async fn events(app: &TestApp) -> Vec<Event> {
    let mut events = app.storage.audit.list(None, &Page::first()).await.unwrap().items;
    events.reverse();
    events
}

async fn kinds(app: &TestApp) -> Vec<EventKind> {
    events(app).await.into_iter().map(|event| event.kind).collect()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}

#[tokio::test]
async fn what_happens_to_an_account_is_on_record() {
    let (app, token) = TestApp::with_user().await;
    let body = json!({"name": "script"});
    let key = app.post("/api/v1/auth/api-keys", &token, &body).await.expect(201).json().await;
    let path = format!("/api/v1/auth/api-keys/{}", text(&key, "id"));
    app.delete(&path, &token).await.expect(204);
    app.delete(&path, &token).await.expect(404);
    app.delete("/api/v1/auth/logout", &token).await.expect(204);
    use EventKind::{ApiKeyDeleted, ApiKeyMade, LoggedIn, LoggedOut, Registered};
    assert_eq!(kinds(&app).await, [Registered, LoggedIn, ApiKeyMade, ApiKeyDeleted, LoggedOut]);
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    assert!(events(&app).await.iter().all(|event| event.user == Some(owner)));
}

#[tokio::test]
async fn a_failed_login_names_the_account_where_there_is_one() {
    let (app, _) = TestApp::with_user().await;
    for email in ["ann@example.com", "nobody@example.com"] {
        let body = json!({"email": email, "password": "wrong password"});
        let sent = request(Method::POST, "/api/v1/auth/login", "").header("x-request-id", "mine");
        app.send(sent.content_type("application/json").body(body.to_string())).await.expect(401);
    }
    let events = events(&app).await;
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    for (event, user) in events[2..].iter().zip([Some(owner), None]) {
        assert_eq!((event.kind, event.user), (EventKind::LoginFailed, user));
        assert_eq!(event.request_id.as_deref(), Some("mine"));
    }
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_refresh_token_used_twice_is_on_record() {
    let (app, _) = TestApp::with_user().await;
    let body = json!({"email": "ann@example.com", "password": "password123"});
    let pair = app.post("/api/v1/auth/login", "", &body).await.expect(200).json().await;
    let refresh = async || app.post_bytes("/api/v1/auth/refresh", text(&pair, "refresh_token"), "").await;
    refresh().await.expect(200);
    for _ in 0..2 {
        refresh().await.expect(401);
    }
    let events = events(&app).await;
    assert_eq!(events.len(), 4, "a token that is revoked already is no event: {events:?}");
    assert_eq!(events[3].kind, EventKind::RefreshReused);
    assert_eq!(events[3].user, events[0].user);
}

#[tokio::test]
async fn what_was_refused_did_not_happen() {
    let (app, token) = TestApp::with_user().await;
    let before = kinds(&app).await;
    let taken = json!({"fullName": "Ann", "email": "ann@example.com", "password": "password123"});
    app.post("/api/v1/auth/register", "", &taken).await.expect(409);
    app.post("/api/v1/auth/api-keys", &token, &json!({})).await.expect(400);
    app.delete("/api/v1/auth/logout", "nonsense").await.expect(401);
    assert_eq!(kinds(&app).await, before);
}

#[tokio::test]
async fn every_door_is_on_record() {
    let app = TestApp::new().await;
    let body =
        json!({"email": "a@example.com", "password": "password123", "first_name": "A", "last_name": "B"});
    app.post("/auth/register", "", &body).await.expect(201);
    let token = app.post("/auth/login", "", &body).await.expect(200).json().await;
    let token = text(&token, "token");
    let body = json!({"email": "b@example.com", "password": "password123", "display_name": "B"});
    app.post("/api/auth/register", "", &body).await.expect(201);
    app.post("/api/auth/login", "", &body).await.expect(200);
    let change = json!({"current_password": "password123", "new_password": "password456"});
    app.post("/api/users/change-password", token, &change).await.expect(200);
    let change = json!({"email": "c@example.com"});
    let sent = request(Method::PATCH, "/api/users/profile", token).content_type("application/json");
    app.send(sent.body(change.to_string())).await.expect(200);
    let proof = json!({"password": "password456"});
    let sent = request(Method::DELETE, "/api/v1/auth/me", token).content_type("application/json");
    app.send(sent.body(proof.to_string())).await.expect(204);
    use EventKind::{AccountErased, EmailChanged, LoggedIn, PasswordChanged, Registered};
    let of_a = [Registered, LoggedIn, PasswordChanged, EmailChanged, AccountErased];
    let events = events(&app).await;
    let of = |first: &Event| -> Vec<EventKind> {
        events.iter().filter(|event| event.user == first.user).map(|event| event.kind).collect()
    };
    assert_eq!(of(&events[0]), of_a);
    assert_eq!(of(&events[2]), [Registered, LoggedIn, LoggedIn]);
}
