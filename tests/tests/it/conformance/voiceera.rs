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
    let agent = agents(&mut client).await;
    campaigns(&mut client, &agent).await;
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

/// The id of an agent that is there afterwards.
async fn agents(client: &mut Client) -> String {
    let body = json!({
        "name": "Support Agent",
        "description": "Handles customer support",
        "llm_provider": "openai",
        "llm_model": "gpt-4",
        "stt_provider": "deepgram",
        "tts_provider": "cartesia",
        "system_prompt": "You are a helpful support agent. Help customers with their issues.",
        "language": "en",
        "voice_parameters": { "voice_id": "english_male", "speed": 1.0, "tone": "professional" },
    });
    let created = json!({
        "id": "new-agent-uuid", "name": "Support Agent", "status": "active", "created_at": "2024-01-29T10:30:00Z",
    });
    let agent = client.post("/agents", body.clone(), (201, created)).await;
    let path = format!("/agents/{}", agent["id"].as_str().unwrap());
    client.post("/agents", body.clone(), (409, refusal("AGENT_002", "Agent already exists"))).await;
    let whole = json!({
        "id": "agent-uuid",
        "user_id": "user-uuid",
        "name": "Support Agent",
        "description": "Handles customer support",
        "llm_provider": "openai",
        "llm_model": "gpt-4",
        "stt_provider": "deepgram",
        "tts_provider": "cartesia",
        "system_prompt": "You are a helpful support agent...",
        "language": "en",
        "status": "active",
        "created_at": "2024-01-29T10:30:00Z",
    });
    client.get(&path, 200, whole).await;
    let body = json!({ "name": "Updated Name", "system_prompt": "New system prompt here" });
    let updated = json!({ "id": "agent-uuid", "name": "Updated Name", "updated_at": "2024-01-29T10:35:00Z" });
    client.put(&path, body, (200, updated)).await;
    client.delete(&path, 204).await;
    client.get(&path, 404, refusal("AGENT_001", "Agent not found")).await;

    let mut body = agent;
    body["name"] = json!("Sales Agent");
    body["description"] = json!("Handles sales inquiries");
    let agent = client.post("/agents", body, (201, json!({ "id": "agent-uuid" }))).await;
    let listed = json!({
        "total": 15,
        "skip": 0,
        "limit": 10,
        "items": [{
            "id": "agent-uuid",
            "name": "Sales Agent",
            "description": "Handles sales inquiries",
            "llm_provider": "openai",
            "llm_model": "gpt-4",
            "status": "active",
            "created_at": "2024-01-29T10:30:00Z",
        }],
    });
    for query in ["", "?skip=0&limit=10", "?search=sales", "?status=active"] {
        client.get(&format!("/agents{query}"), 200, listed.clone()).await;
    }
    agent["id"].as_str().unwrap().to_owned()
}

async fn campaigns(client: &mut Client, agent: &str) {
    let body = json!({
        "name": "Q2 Marketing Campaign",
        "agent_id": agent,
        "phone_numbers": ["+1234567890", "+1234567891"],
        "start_time": "2024-04-01T00:00:00Z",
        "end_time": "2024-06-30T23:59:59Z",
        "max_concurrent_calls": 50,
    });
    let created =
        json!({ "id": "new-campaign-uuid", "status": "draft", "created_at": "2024-01-29T10:30:00Z" });
    let campaign = client.post("/campaigns", body, (201, created)).await;
    let path = format!("/campaigns/{}", campaign["id"].as_str().unwrap());
    let (launch, pause) = (format!("{path}/launch"), format!("{path}/pause"));
    let request = client.request(Method::POST, &launch);
    client.exchange(request, 409, Fields(refusal("CAMPAIGN_002", "Cannot launch campaign"))).await;

    // Its end has come since the document was written.
    let body = json!({
        "name": "Q1 Sales Campaign", "phone_numbers": ["+1234567890"], "end_time": "2124-03-31T23:59:59Z",
    });
    client.put(&path, body, (200, json!({ "name": "Q1 Sales Campaign" }))).await;
    let launched =
        json!({ "id": "campaign-uuid", "status": "active", "launched_at": "2024-01-29T10:35:00Z" });
    let paused = json!({ "id": "campaign-uuid", "status": "paused", "paused_at": "2024-01-29T10:36:00Z" });
    for (path, answer) in [(&launch, &launched), (&pause, &paused), (&launch, &launched)] {
        let request = client.request(Method::POST, path);
        client.exchange(request, 200, Fields(answer.clone())).await;
    }
    let listed = json!({
        "total": 5,
        "items": [{
            "id": "campaign-uuid",
            "name": "Q1 Sales Campaign",
            "agent_id": "agent-uuid",
            "status": "active",
            "phone_numbers": ["+1234567890"],
            "start_time": "2024-01-29T00:00:00Z",
            "end_time": "2024-03-31T23:59:59Z",
            "created_at": "2024-01-29T10:30:00Z",
        }],
    });
    for query in ["", &format!("?agent_id={agent}"), "?status=active", "?skip=0&limit=20"] {
        client.get(&format!("/campaigns{query}"), 200, listed.clone()).await;
    }
    let nobodys = format!("/campaigns/{}/launch", uuid::Uuid::new_v4());
    let request = client.request(Method::POST, &nobodys);
    client.exchange(request, 404, Fields(refusal("CAMPAIGN_001", "Campaign not found"))).await;
}
