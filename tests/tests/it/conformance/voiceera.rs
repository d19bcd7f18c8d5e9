//! `[voiceera]`

use super::{Client, Fields};
use reqwest::Method;
use serde_json::{Value, json};
use tests::server::Server;

fn refusal(code: &str, message: &str) -> Value {
    json!({
        "success": false, "data": null, "error": { "code": code, "message": message, "details": null },
        "timestamp": "2024-01-29T10:30:00Z",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_agents_campaigns_calls_and_analytics() {
    let server = Server::start();
    let mut client = Client::new("voiceera", &server);
    log_in(&mut client).await;
    client.get("/health", 200, json!({ "status": "ok", "timestamp": "2024-01-29T10:30:00Z" })).await;
    client.get("/readiness", 200, json!({ "database": "ok", "storage": "ok", "cache": "ok" })).await;
}

async fn log_in(client: &mut Client) {
    let body = json!({
        "email": "user@example.com", "password": "SecurePass123!", "first_name": "John", "last_name": "Doe",
    });
    let account = json!({
        "id": "user-uuid", "email": "user@example.com", "first_name": "John", "last_name": "Doe",
        "created_at": "2024-01-29T10:30:00Z",
    });
    client.post("/auth/register", body.clone(), (201, account.clone())).await;
    client.post("/auth/register", body, (409, refusal("AUTH_005", "Email already registered"))).await;
    let wrong = json!({ "email": "user@example.com", "password": "another password" });
    client.post("/auth/login", wrong, (401, refusal("AUTH_001", "Invalid credentials"))).await;
    let body = json!({ "email": "user@example.com", "password": "SecurePass123!" });
    let signed_in = json!({
        "token": "eyJ...", "refresh_token": "eyJ...", "expires_in": 86400,
        "user": { "id": "user-uuid", "email": "user@example.com", "role": "user" },
    });
    let tokens = client.post("/auth/login", body, (200, signed_in)).await;
    client.token = tokens["refresh_token"].as_str().map(str::to_owned);
    let refresh = client.request(Method::POST, "/auth/refresh-token");
    let token = json!({ "token": "new-jwt-token", "expires_in": 86400 });
    let token = client.exchange(refresh, 200, Fields(token)).await;
    client.token = Some("nonsense".to_owned());
    client.get("/auth/me", 401, refusal("AUTH_003", "Token invalid")).await;
    client.token = token["token"].as_str().map(str::to_owned);
    let mut me = account;
    me["role"] = json!("user");
    client.get("/auth/me", 200, me).await;
}
