use chrono::{TimeDelta, Utc};
use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{TestApp, request};

async fn login(app: &TestApp, email: &str) -> Value {
    let body = json!({"email": email, "password": "password123"});
    app.post("/api/v1/auth/login", "", &body).await.expect(200).json().await
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap()
}

#[tokio::test]
async fn a_user_registers_and_logs_in() {
    let app = TestApp::new().await;
    let body = json!({"fullName": "Ann Lee Example", "email": "Ann@Example.com", "password": "password123", "role": "admin"});
    let answer = app.post("/api/v1/auth/register", "", &body).await.expect(201).json().await;
    let data = &answer["data"];
    assert_eq!(data["fullName"], "Ann Lee Example");
    assert_eq!(data["email"], "ann@example.com");
    assert!(data["id"].is_string() && data["createdAt"].is_string());
    assert!(!answer.to_string().contains("password") && data.get("role").is_none());

    let taken = json!({"fullName": "Other", "email": "ANN@example.com", "password": "password456"});
    app.post("/api/v1/auth/register", "", &taken).await.error(409, "conflict").await;

    let pair = login(&app, "ANN@EXAMPLE.COM").await;
    assert_eq!((pair["token_type"].as_str(), pair["expires_in"].as_i64()), (Some("bearer"), Some(3600)));
    app.get("/api/v1/files", text(&pair, "access_token")).await.expect(200);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_look_the_same() {
    let (app, _) = TestApp::with_user().await;
    let attempt = async |email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        app.post("/api/v1/auth/login", "", &body).await.error(401, "unauthorized").await
    };
    let wrong = attempt("ann@example.com", "password124").await;
    assert_eq!(wrong, attempt("bob@example.com", "password123").await);
    assert_eq!(wrong, attempt("no address", "password123").await);
}

#[tokio::test]
async fn a_refresh_token_is_good_for_once() {
    let (app, _) = TestApp::with_user().await;
    let first = login(&app, "ann@example.com").await;
    let refresh = async |token: &str| app.post_bytes("/api/v1/auth/refresh", token, "").await;
    let second = refresh(text(&first, "refresh_token")).await.expect(200).json().await;
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    let body = json!({"refresh_token": second["refresh_token"]});
    let access = text(&second, "access_token");
    let third = app.post("/api/v1/auth/refresh", access, &body).await.expect(200).json().await;
    app.get("/api/v1/files", text(&third, "access_token")).await.expect(200);

    refresh(text(&first, "refresh_token")).await.error(401, "unauthorized").await;
    for pair in [&second, &third] {
        refresh(text(pair, "refresh_token")).await.error(401, "unauthorized").await;
        app.get("/api/v1/files", text(pair, "access_token")).await.error(401, "unauthorized").await;
    }
    login(&app, "ann@example.com").await;
}

#[tokio::test]
async fn a_refresh_needs_a_token_of_its_kind() {
    let (app, access) = TestApp::with_user().await;
    app.send(request(Method::POST, "/api/v1/auth/refresh", "").finish())
        .await
        .error(401, "unauthorized")
        .await;
    app.post("/api/v1/auth/refresh", "", &json!({})).await.invalid("refresh_token").await;
    app.post("/api/v1/auth/refresh", "", &json!({"refresh_token": access}))
        .await
        .error(401, "unauthorized")
        .await;
    let pair = login(&app, "ann@example.com").await;
    let body = app.get("/api/v1/files", text(&pair, "refresh_token")).await.error(401, "unauthorized").await;
    assert_eq!(body["detail"], "Invalid token.");
}

#[tokio::test]
async fn logout_bites_at_once() {
    let (app, token) = TestApp::with_user().await;
    let other = login(&app, "ann@example.com").await;
    app.delete("/api/v1/auth/logout", &token).await.expect(204);
    app.get("/api/v1/files", &token).await.error(401, "unauthorized").await;
    app.get("/api/v1/files", text(&other, "access_token")).await.expect(200);
}

#[tokio::test]
async fn an_api_key_stands_in_for_a_login() {
    let (app, token) = TestApp::with_user().await;
    let key =
        app.post("/api/v1/auth/api-keys", &token, &json!({"name": "script"})).await.expect(201).json().await;
    let plain = text(&key, "key");
    assert!(plain.starts_with("vx_") && plain.starts_with(text(&key, "prefix")), "{key}");
    app.get("/api/v1/files", plain).await.expect(200);
    app.delete("/api/v1/auth/logout", plain).await.error(403, "forbidden").await;
    app.post("/api/v1/auth/api-keys", plain, &json!({"name": "heir"})).await.error(403, "forbidden").await;
    app.get("/api/v1/files", "vx_nonsense").await.error(401, "unauthorized").await;

    let list = app.get("/api/v1/auth/api-keys", &token).await.expect(200).json().await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(list["next_cursor"].is_null());
    assert!(!list.to_string().contains(plain));

    let path = format!("/api/v1/auth/api-keys/{}", text(&key, "id"));
    let stranger = app.user("bob@example.com").await;
    app.delete(&path, &stranger).await.error(404, "not_found").await;
    app.delete(&path, &token).await.expect(204);
    app.get("/api/v1/files", plain).await.error(401, "unauthorized").await;
}

#[tokio::test]
async fn an_api_key_may_end_but_not_before_it_begins() {
    let (app, token) = TestApp::with_user().await;
    let until = |time: Value| json!({"name": "script", "expires_at": time});
    let past = Utc::now() - TimeDelta::seconds(1);
    app.post("/api/v1/auth/api-keys", &token, &until(json!(past))).await.invalid("expires_at").await;
    app.post("/api/v1/auth/api-keys", &token, &until(json!("soon"))).await.invalid("expires_at").await;
    let future = Utc::now() + TimeDelta::days(1);
    app.post("/api/v1/auth/api-keys", &token, &until(json!(future))).await.expect(201);
}

#[tokio::test]
async fn other_ways_to_authenticate_are_none() {
    let (app, token) = TestApp::with_user().await;
    for header in ["", "Bearer", "Bearer ", "Basic YTpi", &token] {
        let request = request(Method::GET, "/api/v1/files", "").header("authorization", header);
        app.send(request.finish()).await.error(401, "unauthorized").await;
    }
    let lower = request(Method::GET, "/api/v1/files", "").header("authorization", format!("bearer {token}"));
    app.send(lower.finish()).await.expect(200);
}
