//! `/api/users`, as its document has it.

use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, TestApp, by_cookie, request};

async fn send(app: &TestApp, method: Method, path: &str, (cookie, body): (&str, Value)) -> Answer {
    let sent = by_cookie(method, path, cookie).content_type("application/json");
    app.send(sent.body(body.to_string())).await
}

async fn browser(app: &TestApp, email: &str) -> String {
    let body = json!({"email": email, "password": "oldpassword123", "display_name": "John Doe"});
    app.post("/api/auth/register", "", &body).await.expect(201).session()
}

async fn profile(app: &TestApp, cookie: &str) -> Value {
    let sent = by_cookie(Method::GET, "/api/users/profile", cookie).finish();
    app.send(sent).await.expect(200).json().await
}

#[tokio::test]
async fn the_document_is_followed_to_the_letter() {
    let app = TestApp::new().await;
    let cookie = browser(&app, "user@example.com").await;
    let first = profile(&app, &cookie).await;
    let keys: Vec<_> = first.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["created_at", "display_name", "email", "id", "preferences"]);
    let usual = json!({"preferred_voice": "alloy", "preferred_language": "en", "favorite_topics": [], "system_prompt_override": ""});
    assert_eq!(first["preferences"], usual);

    let path = "/api/users/profile";
    let change = json!({"display_name": "Jane Doe"});
    let changed = send(&app, Method::PATCH, path, (&cookie, change)).await.expect(200).json().await;
    assert_eq!((&changed["display_name"], &changed["email"]), (&json!("Jane Doe"), &first["email"]));
    let change = json!({"email": "newemail@example.com"});
    let changed = send(&app, Method::PATCH, path, (&cookie, change)).await.expect(200).json().await;
    assert_eq!(
        (&changed["display_name"], &changed["email"]),
        (&json!("Jane Doe"), &json!("newemail@example.com"))
    );
    assert_eq!(profile(&app, &cookie).await, changed);
    let me = app.send(by_cookie(Method::GET, "/auth/me", &cookie).finish()).await.json().await;
    assert_eq!((&me["first_name"], &me["last_name"]), (&json!("Jane"), &json!("Doe")));

    let wanted = json!({
        "preferred_voice": "nova",
        "preferred_language": "es",
        "favorite_topics": ["travel", "technology"],
        "system_prompt_override": "You are a helpful travel assistant.",
    });
    let set = send(&app, Method::PUT, "/api/users/preferences", (&cookie, wanted.clone())).await;
    assert_eq!(set.expect(200).json().await, wanted);
    assert_eq!(profile(&app, &cookie).await["preferences"], wanted);

    let change = json!({"current_password": "oldpassword123", "new_password": "newpassword456"});
    let done = send(&app, Method::POST, "/api/users/change-password", (&cookie, change)).await.expect(200);
    assert_eq!(done.json().await, json!({"message": "Password changed successfully"}));

    let history = by_cookie(Method::GET, "/api/users/history?limit=20&offset=0", &cookie).finish();
    let history = app.send(history).await.expect(200).json().await;
    assert_eq!(history, json!({"count": 0, "next": null, "previous": null, "results": []}));
}

#[tokio::test]
async fn a_profile_takes_no_nonsense_and_nobodys_address() {
    let app = TestApp::new().await;
    browser(&app, "bob@example.com").await;
    let cookie = browser(&app, "user@example.com").await;
    let before = profile(&app, &cookie).await;
    for (change, refusal) in [
        (json!({"email": "BOB@example.com"}), json!({"email": ["User with this email already exists."]})),
        (json!({"email": "nobody"}), json!({"email": ["Enter a valid email address."]})),
        (
            json!({"email": "", "display_name": " "}),
            json!({"email": ["Enter a valid email address."], "display_name": ["This field may not be blank."]}),
        ),
        (json!({"display_name": 1}), json!({"display_name": ["must be a string"]})),
        (json!([]), json!({"body": ["must be an object"]})),
    ] {
        let answer = send(&app, Method::PATCH, "/api/users/profile", (&cookie, change)).await;
        assert_eq!(answer.expect(400).json().await, refusal);
    }
    let unchanged = json!({"id": "00000000-0000-0000-0000-000000000000", "role": "admin"});
    send(&app, Method::PATCH, "/api/users/profile", (&cookie, unchanged)).await.expect(200);
    assert_eq!(profile(&app, &cookie).await, before);
}

#[tokio::test]
async fn preferences_are_bounded() {
    let app = TestApp::new().await;
    let cookie = browser(&app, "user@example.com").await;
    for (field, value) in [
        ("preferred_voice", json!("")),
        ("preferred_voice", json!("a".repeat(101))),
        ("preferred_language", json!("EN")),
        ("preferred_language", json!("english")),
        ("favorite_topics", json!("travel")),
        ("favorite_topics", json!(vec!["a"; 101])),
        ("favorite_topics", json!(["a".repeat(201)])),
        ("system_prompt_override", json!("a".repeat(20_001))),
        ("system_prompt_override", Value::Null),
    ] {
        let mut body = json!({"preferred_voice": "nova", "preferred_language": "es", "favorite_topics": [], "system_prompt_override": ""});
        body[field] = value;
        let answer = send(&app, Method::PUT, "/api/users/preferences", (&cookie, body)).await.expect(400);
        assert!(answer.json().await[field].is_array(), "{field}");
    }
    for query in ["limit=0", "limit=101", "limit=x", "offset=-1"] {
        let sent = by_cookie(Method::GET, &format!("/api/users/history?{query}"), &cookie).finish();
        let name = query.split('=').next().unwrap();
        assert!(app.send(sent).await.expect(400).json().await[name].is_array(), "{query}");
    }
}

#[tokio::test]
async fn another_password_ends_every_other_login_at_once() {
    let app = TestApp::new().await;
    let cookie = browser(&app, "user@example.com").await;
    let account = json!({"email": "user@example.com", "password": "oldpassword123"});
    let other = app.post("/api/auth/login", "", &account).await.expect(200).session();
    let day = app.post("/auth/login", "", &account).await.expect(200).json().await;
    let pair = app.post("/api/v1/auth/login", "", &account).await.expect(200).json().await;
    let path = "/api/users/change-password";
    for (current, new, refusal) in [
        ("wrong", "newpassword456", json!({"current_password": ["Current password is incorrect."]})),
        (
            "oldpassword123",
            "short",
            json!({"new_password": ["This password is too short. It must contain at least 8 characters."]}),
        ),
    ] {
        let change = json!({"current_password": current, "new_password": new});
        let answer = send(&app, Method::POST, path, (&cookie, change)).await.expect(400);
        assert_eq!(answer.json().await, refusal);
    }
    app.get("/auth/me", day["token"].as_str().unwrap()).await.expect(200);

    let change = |new: &str| json!({"current_password": "oldpassword123", "new_password": new});
    let (one, two) = tokio::join!(
        send(&app, Method::POST, path, (&cookie, change("newpassword456"))),
        send(&app, Method::POST, path, (&cookie, change("newpassword789"))),
    );
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400], "of two at once one comes too late");
    app.send(by_cookie(Method::GET, "/api/auth/me", &cookie).finish()).await.expect(200);
    app.send(by_cookie(Method::GET, "/api/auth/me", &other).finish()).await.expect(401);
    app.get("/auth/me", day["token"].as_str().unwrap()).await.enveloped(401, "AUTH_003").await;
    app.get("/api/v1/files", pair["access_token"].as_str().unwrap()).await.error(401, "unauthorized").await;
    for token in [&day["refresh_token"], &pair["refresh_token"]] {
        let sent = request(Method::POST, "/auth/refresh-token", token.as_str().unwrap()).finish();
        app.send(sent).await.enveloped(401, "AUTH_003").await;
    }
    app.post("/api/auth/login", "", &account).await.expect(401);
}

#[tokio::test]
async fn no_login_by_the_old_password_outlives_it() {
    let app = TestApp::new().await;
    let cookie = browser(&app, "user@example.com").await;
    let account = json!({"email": "user@example.com", "password": "oldpassword123"});
    let change = json!({"current_password": "oldpassword123", "new_password": "newpassword456"});
    let logins = (0..6).map(|_| app.post("/api/auth/login", "", &account));
    let change = send(&app, Method::POST, "/api/users/change-password", (&cookie, change));
    let (logins, changed) = tokio::join!(futures_util::future::join_all(logins), change);
    changed.expect(200);
    for login in logins.into_iter().filter(|login| login.status == 200) {
        let me = by_cookie(Method::GET, "/api/auth/me", &login.session()).finish();
        app.send(me).await.expect(401);
    }
}
