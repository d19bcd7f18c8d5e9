//! `/auth`, as its document has it.

use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{TestApp, request};

/// The requests of the document, and the fields that its answers show.
#[tokio::test]
async fn the_document_is_followed_to_the_letter() {
    let app = TestApp::new().await;
    let body = json!({"email": "user@example.com", "password": "SecurePass123!", "first_name": "John", "last_name": "Doe"});
    let user = app.post("/auth/register", "", &body).await.expect(201).json().await;
    assert_eq!(keys(&user), ["created_at", "email", "first_name", "id", "last_name"]);
    assert_eq!(
        (&user["email"], &user["first_name"], &user["last_name"]),
        (&body["email"], &body["first_name"], &body["last_name"])
    );

    let body = json!({"email": "user@example.com", "password": "SecurePass123!"});
    let login = app.post("/auth/login", "", &body).await.expect(200).json().await;
    assert_eq!(keys(&login), ["expires_in", "refresh_token", "token", "user"]);
    assert_eq!(login["expires_in"], 86_400);
    assert_eq!(login["user"], json!({"id": user["id"], "email": "user@example.com", "role": "user"}));

    let token = login["token"].as_str().unwrap();
    let me = app.get("/auth/me", token).await.expect(200).json().await;
    assert_eq!(keys(&me), ["created_at", "email", "first_name", "id", "last_name", "role"]);
    assert_eq!((&me["id"], &me["role"], &me["first_name"]), (&user["id"], &json!("user"), &json!("John")));

    let refresh = login["refresh_token"].as_str().unwrap();
    for _ in 0..3 {
        let sent = request(Method::POST, "/auth/refresh-token", refresh).finish();
        let fresh = app.send(sent).await.expect(200).json().await;
        assert_eq!(keys(&fresh), ["expires_in", "token"]);
        assert_eq!(fresh["expires_in"], 86_400);
        app.get("/auth/me", fresh["token"].as_str().unwrap()).await.expect(200);
    }
}

#[tokio::test]
async fn a_user_of_one_door_enters_by_all() {
    let app = TestApp::new().await;
    app.user("ann@example.com").await;
    let body = json!({"email": "ANN@example.com", "password": "password123"});
    let login = app.post("/auth/login/", "", &body).await.expect(200).json().await;
    let token = login["token"].as_str().unwrap();
    let me = app.get("/auth/me", token).await.expect(200).json().await;
    assert_eq!((&me["first_name"], &me["last_name"]), (&json!("Ann"), &json!("Example")));
    app.get("/api/v1/files", token).await.expect(200);
    app.get("/api/users/profile", token).await.expect(200);

    // What holds at one door holds at the other, and what is good for once has a successor at both.
    let holds = json!({"refresh_token": login["refresh_token"]});
    for _ in 0..2 {
        let pair = app.post("/api/v1/auth/refresh", "", &holds).await.expect(200).json().await;
        assert_eq!(pair["refresh_token"], login["refresh_token"]);
        app.get("/auth/me", pair["access_token"].as_str().unwrap()).await.expect(200);
    }
    let pair = app.post("/api/v1/auth/login", "", &body).await.expect(200).json().await;
    app.get("/auth/me", pair["access_token"].as_str().unwrap()).await.expect(200);
    let once = json!({"refresh_token": pair["refresh_token"]});
    let fresh = app.post("/auth/refresh-token", "", &once).await.expect(200).json().await;
    let next = json!({"refresh_token": fresh["refresh_token"]});
    app.post("/api/v1/auth/refresh", "", &next).await.expect(200);
    app.post("/auth/refresh-token", "", &once).await.enveloped(401, "AUTH_003").await;
    app.get("/auth/me", fresh["token"].as_str().unwrap()).await.enveloped(401, "AUTH_003").await;

    app.delete("/api/v1/auth/logout", token).await.expect(204);
    app.post("/auth/refresh-token", "", &holds).await.enveloped(401, "AUTH_003").await;
}

#[tokio::test]
async fn refusals_come_in_the_envelope() {
    let app = TestApp::new().await;
    let sign_up = |change: Value| {
        let mut body = json!({"email": "user@example.com", "password": "SecurePass123!", "first_name": "John", "last_name": "Doe"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let register = async |body: Value| app.post("/auth/register", "", &body).await;
    for (change, details) in [
        (json!({"email": "nobody"}), "email: Invalid email format"),
        (json!({"email": 1}), "email: must be a string"),
        (json!({"password": "short"}), "password: must be at least 8 characters"),
        (json!({"first_name": " "}), "first_name: must not be blank"),
        (json!({"first_name": "a\u{0}"}), "first_name: must not hold NUL"),
        (json!({"last_name": null}), "last_name: must not be null"),
        (json!({"last_name": "a".repeat(101)}), "last_name: must be at most 100 characters"),
    ] {
        let refusal = register(sign_up(change)).await.enveloped(400, "REQUEST_001").await;
        assert_eq!(refusal, (json!("Invalid request"), json!(details)));
    }
    register(sign_up(json!({"first_name": "Mary Ann"}))).await.expect(201);
    let taken =
        register(sign_up(json!({"email": "USER@example.com"}))).await.enveloped(409, "AUTH_005").await;
    assert_eq!(taken.0, "Email already registered");

    let attempt = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        app.post("/auth/login", "", &body).await.enveloped(401, "AUTH_001").await
    };
    let refused = (json!("Invalid credentials"), Value::Null);
    assert_eq!(attempt("user@example.com", "wrong").await, refused);
    assert_eq!(attempt("nobody@example.com", "SecurePass123!").await, refused);
    assert_eq!(attempt("no address", "SecurePass123!").await, refused);

    let (message, details) = app.get("/auth/me", "").await.enveloped(401, "AUTH_003").await;
    assert_eq!(
        (message, details),
        (json!("Token invalid"), json!("Authentication credentials were not provided."))
    );
    app.get("/auth/me", "nonsense").await.enveloped(401, "AUTH_003").await;
    let plain = request(Method::POST, "/auth/login", "").content_type("text/plain").body("{}");
    app.send(plain).await.enveloped(415, "REQUEST_005").await;
    let large = format!("{{\"x\": \"{}\"}}", "a".repeat(4 << 20));
    app.post_bytes("/auth/login", "", large).await.enveloped(413, "REQUEST_004").await;
}

#[tokio::test]
async fn of_two_who_take_an_address_at_once_one_gets_it() {
    let app = TestApp::new().await;
    let body = json!({"email": "user@example.com", "password": "SecurePass123!", "first_name": "John", "last_name": ""});
    let old = json!({"email": "user@example.com", "password": "SecurePass123!", "fullName": "John"});
    let (one, other) =
        tokio::join!(app.post("/auth/register", "", &body), app.post("/api/v1/auth/register", "", &old));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}
