//! `[voiceera]`

use super::{Client, Fields, read};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
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
    calls(&mut client, &agent).await;
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

/// Calls as an import makes them, for nothing dials yet.
async fn calls(client: &mut Client, agent: &str) {
    let sound = Part::bytes(wav()).file_name("call-uuid.wav");
    let form = Form::new().part("file", sound);
    let upload = client.request(Method::POST, "/api/v1/files/upload").multipart(form);
    let file = client.exchange(upload, 201, Fields(json!({ "kind": "audio" }))).await["id"].clone();
    let campaign = client.get("/campaigns", 200, json!({ "total": 1 })).await["items"][0]["id"].clone();
    let campaign = campaign.as_str().unwrap();
    let line = json!({
        "campaign_id": campaign,
        "phone_number": "+1234567890",
        "status": "completed",
        "duration_seconds": 120,
        "sentiment": "positive",
        "emotions": ["satisfied"],
        "key_phrases": ["billing issue"],
        "transcript": "User: Hello... Agent: Hi...",
        "summary": "Customer called about billing issue...",
        "cost": 0.5,
        "recording_file_id": file,
        "created_at": "2024-01-29T10:30:00Z",
    });
    let import = client.request(Method::POST, "/call-logs/import");
    let import = import.header("Content-Type", "application/x-ndjson").body(line.to_string());
    client.exchange(import, 200, Fields(json!({ "imported": 1, "failed": 0 }))).await;

    let listed = json!({
        "total": 1250,
        "items": [{
            "id": "call-uuid",
            "campaign_id": "campaign-uuid",
            "phone_number": "+1234567890",
            "status": "completed",
            "duration_seconds": 120,
            "sentiment": "positive",
            "emotions": ["satisfied"],
            "transcript": "User: Hello... Agent: Hi...",
            "created_at": "2024-01-29T10:30:00Z",
        }],
    });
    let mut id = String::new();
    for query in [
        "",
        &format!("?campaign_id={campaign}"),
        "?status=completed",
        "?phone_number=%2B1234567890",
        "?start_date=2024-01-01",
        "?end_date=2024-01-31",
        "?skip=0&limit=50",
    ] {
        let list = client.get(&format!("/call-logs{query}"), 200, listed.clone()).await;
        assert_eq!(list["total"], 1, "{query}");
        id = list["items"][0]["id"].as_str().unwrap().to_owned();
    }
    let call = json!({
        "id": "call-uuid",
        "campaign_id": "campaign-uuid",
        "phone_number": "+1234567890",
        "status": "completed",
        "duration_seconds": 120,
        "transcript": "Full transcript here...",
        "summary": "Customer called about billing issue...",
        "sentiment": "positive",
        "emotions": ["satisfied"],
        "key_phrases": ["billing issue"],
        "recording_url": "https://minio:9001/recordings/call-uuid.wav",
        "cost": 0.50,
        "created_at": "2024-01-29T10:30:00Z",
    });
    client.get(&format!("/call-logs/{id}"), 200, call).await;
    let nobodys = format!("/call-logs/{}", uuid::Uuid::new_v4());
    client.get(&nobodys, 404, refusal("CALL_001", "Call log not found")).await;

    let recording = json!({
        "call_id": "call-uuid",
        "duration_seconds": 120,
        "format": "wav",
        "size_bytes": 960000,
        "download_url": "https://signed-url-with-expiry",
        "transcript": "Full transcript...",
        "metadata": { "agent_id": "agent-uuid", "campaign_id": "campaign-uuid", "phone_number": "+1234567890" },
    });
    let recording = client.get(&format!("/call-recordings/{id}"), 200, recording).await;
    assert_eq!((&recording["duration_seconds"], &recording["size_bytes"]), (&json!(1), &json!(32_044)));
    let sound = json!("32044 bytes");
    client.get(&format!("/call-recordings/{id}/download"), 200, sound.clone()).await;
    let signed = reqwest::get(recording["download_url"].as_str().unwrap()).await.unwrap();
    assert_eq!(read(signed).await.1, sound);
    analytics(client, agent).await;
}

async fn analytics(client: &mut Client, agent: &str) {
    let figures = json!({
        "total_calls": 1250,
        "completed_calls": 1200,
        "failed_calls": 50,
        "average_duration": 180,
        "success_rate": 96.0,
        "cost_per_call": 0.45,
    });
    let sentiment = json!({
        "positive": 850,
        "neutral": 300,
        "negative": 100,
        "positive_percentage": 68.0,
        "neutral_percentage": 24.0,
        "negative_percentage": 8.0,
    });
    let phrases = json!([{ "phrase": "billing issue", "count": 234, "frequency": 18.7 }]);
    for (path, queries, example) in [
        ("calls", ["", "&days=30"], figures),
        ("sentiment", ["", "&days=7"], sentiment),
        ("top-phrases", ["", "&limit=20"], phrases),
    ] {
        client.get(&format!("/analytics/{path}"), 200, example.clone()).await;
        for query in queries {
            client.get(&format!("/analytics/{path}?agent_id={agent}{query}"), 200, example.clone()).await;
        }
    }
}

/// A second of silence.
fn wav() -> Vec<u8> {
    let mut bytes = b"RIFF".to_vec();
    bytes.extend(32_036_u32.to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.resize(32_044, 0);
    bytes
}
