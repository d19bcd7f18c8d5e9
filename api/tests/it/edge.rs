use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{TestApp, request};

#[tokio::test]
async fn what_does_not_exist_is_said_in_the_dialect_of_its_path() {
    let app = TestApp::new().await;
    let body = app.get("/api/v1/nowhere", "").await.error(404, "not_found").await;
    assert_eq!(body, json!({"error": "not_found", "message": "Resource not found", "detail": "Not found."}));
    let elsewhere = app.get("/nowhere", "").await.expect(404).json().await;
    assert_eq!(elsewhere, json!({"detail": "Not found."}));
    let elsewhere = app.get("/agents/1/2/3", "").await.enveloped(404, "REQUEST_002").await;
    assert_eq!(elsewhere, (json!("Not found"), Value::Null));
    app.get("/auth/nowhere", "").await.enveloped(404, "REQUEST_002").await;
    app.get("/%d0", "").await.expect(404);
    app.get("/api/v1/files/%00", "").await.expect(401);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::new().await;
    let answer = app.send(request(Method::PUT, "/api/v1/auth/login", "").finish()).await;
    assert_eq!(answer.header("allow"), "POST");
    answer.error(405, "method_not_allowed").await;
    let answer = app.send(request(Method::POST, "/health", "").finish()).await.expect(405);
    assert_eq!(answer.header("allow"), "GET, HEAD");
    assert_eq!(answer.json().await, json!({"detail": "Method not allowed"}));
    for odd in ["TRACE", "QUERY", "BREW"] {
        let odd = Method::from_bytes(odd.as_bytes()).unwrap();
        let answer = app.send(request(odd, "/health", "").finish()).await.expect(405);
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    let answer = app.send(request(Method::DELETE, "/auth/login/", "").finish()).await;
    assert_eq!(answer.header("allow"), "POST");
    answer.enveloped(405, "REQUEST_003").await;
}

#[tokio::test]
async fn paths_answer_with_and_without_a_trailing_slash() {
    let (app, token) = TestApp::with_user().await;
    for path in ["/health", "/health/", "/api/v1/files", "/api/v1/files/", "/api/v1/files/?limit=2", "/docs/"]
    {
        app.get(path, &token).await.expect(200);
    }
    app.post("/api/v1/auth/login/", "", &json!({"email": "ann@example.com", "password": "password123"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_request_keeps_its_id_if_it_is_sane() {
    let app = TestApp::new().await;
    let sent = |id: &str| request(Method::GET, "/nowhere", "").header("x-request-id", id).finish();
    assert_eq!(app.send(sent("abc-123")).await.header("x-request-id"), "abc-123");
    let long = "a".repeat(129);
    for wrong in ["a b", "", "a\"b", "é", &long] {
        let id = app.send(sent(wrong)).await.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{id}");
    }
}

#[tokio::test]
async fn answers_protect_their_readers() {
    let app = TestApp::new().await;
    for path in ["/health", "/nowhere", "/api/v1/files"] {
        let answer = app.get(path, "").await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    }
}

#[tokio::test]
async fn only_configured_origins_may_call() {
    let app = TestApp::new().await;
    let from = |origin: &str| request(Method::GET, "/api/v1/files", "").header("origin", origin).finish();
    let ours = app.send(from("https://app.example")).await;
    assert_eq!(ours.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(ours.header("access-control-allow-credentials"), "true");
    assert_eq!(ours.header("vary"), "Origin");
    for origin in ["https://evil.example", "https://app.example.evil.example", "null"] {
        let theirs = app.send(from(origin)).await.expect(401);
        assert_eq!(theirs.header("access-control-allow-origin"), "");
        assert_eq!(theirs.header("vary"), "Origin");
    }
    let preflight = |origin: &str| {
        request(Method::OPTIONS, "/api/v1/files", "")
            .header("origin", origin)
            .header("access-control-request-method", "DELETE")
            .header("access-control-request-headers", "authorization")
            .finish()
    };
    let allowed = app.send(preflight("https://app.example")).await.expect(204);
    assert_eq!(allowed.header("access-control-allow-headers"), "authorization");
    assert!(allowed.header("access-control-allow-methods").contains("DELETE"));
    let refused = app.send(preflight("https://evil.example")).await;
    assert_eq!(refused.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn bodies_are_refused_by_field() {
    let app = TestApp::new().await;
    let register = async |body: &str| app.post_bytes("/api/v1/auth/register", "", body.to_owned()).await;
    assert_eq!(register("{}").await.invalid("fullName").await, "is required");
    register("[]").await.invalid("body").await;
    register("{").await.invalid("body").await;
    register("").await.invalid("body").await;
    register(r#"{"fullName": "A", "email": "a@example.com", "email": "b@example.com"}"#)
        .await
        .invalid("email")
        .await;
    register(r#"{"fullName": "A\u0000", "email": "a@example.com", "password": "password123"}"#)
        .await
        .invalid("fullName")
        .await;
    register(r#"{"fullName": 1, "email": "a@example.com", "password": "password123"}"#)
        .await
        .invalid("fullName")
        .await;
    register(r#"{"fullName": "A", "email": "a@example.com", "password": "short"}"#)
        .await
        .invalid("password")
        .await;
    register(r#"{"fullName": "A", "email": "nobody", "password": "password123"}"#)
        .await
        .invalid("email")
        .await;
    app.post_bytes("/api/v1/auth/register", "", b"{\"fullName\": \"\xff\"}".to_vec())
        .await
        .invalid("body")
        .await;
}

#[tokio::test]
async fn bodies_of_the_wrong_type_or_size_are_refused() {
    let app = TestApp::new().await;
    let plain = request(Method::POST, "/api/v1/auth/login", "").content_type("text/plain").body("{}");
    app.send(plain).await.error(415, "unsupported_media_type").await;
    let none = request(Method::POST, "/api/v1/auth/login", "").body("{}");
    app.send(none).await.error(415, "unsupported_media_type").await;
    let large = format!("{{\"x\": \"{}\"}}", "a".repeat(4 << 20));
    app.post_bytes("/api/v1/auth/login", "", large).await.error(413, "payload_too_large").await;
    let announced = request(Method::POST, "/api/v1/auth/login", "")
        .content_type("application/json")
        .header("content-length", "1073741824")
        .body("{}");
    app.send(announced).await.error(413, "payload_too_large").await;
}

#[tokio::test]
async fn health_and_readiness_answer() {
    let app = TestApp::new().await;
    let health = app.get("/health", "").await.expect(200).json().await;
    assert_eq!(health["status"], "ok");
    assert!(health["timestamp"].as_str().unwrap().ends_with('Z'), "{health}");
    let readiness = app.get("/readiness", "").await.expect(200).json().await;
    assert_eq!(readiness, json!({"database": "ok", "storage": "ok", "cache": "ok"}));
    app.shutdown.cancel();
    app.get("/readiness", "").await.expect(503);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = TestApp::new().await;
    let answer = app.send(request(Method::HEAD, "/health", "").finish()).await.expect(200);
    assert!(answer.header("content-type").starts_with("application/json"));
    assert!(answer.bytes().await.is_empty());
}
