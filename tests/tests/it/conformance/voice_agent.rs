//! `[voice-agent]`

use super::Client;
use serde_json::{Value, json};
use tests::server::Server;

const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
const LIVEKIT: [(&str, &str); 3] = [
    ("VOXMILL_LIVEKIT_URL", "wss://livekit.example"),
    ("VOXMILL_LIVEKIT_API_KEY", "key"),
    ("VOXMILL_LIVEKIT_API_SECRET", "a secret of at least thirty-two bytes"),
];

fn john() -> Value {
    json!({
        "id": "550e8400-e29b-41d4-a716-446655440000",
        "email": "user@example.com",
        "display_name": "John Doe",
        "created_at": "2024-01-01T00:00:00Z",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_profiles_and_history() {
    let server = Server::start_with(&LIVEKIT);
    let mut client = Client::new("voice-agent", &server);
    client.get("/health", 200, json!({ "status": "ok" })).await;
    let token = "/token?room=quickstart&identity=user123&name=John";
    client.get(token, 200, json!({ "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..." })).await;
    let body = json!({
        "room": "quickstart", "identity": "user123", "system_prompt": "You are a friendly travel assistant.",
    });
    let no_audio = json!({ "detail": "This server has no live audio" });
    client.post("/session", body, (503, no_audio)).await;

    let refused = json!({ "detail": "Authentication credentials were not provided." });
    client.get("/api/users/profile", 401, refused).await;
    client.get("/api/auth/me", 401, json!({ "authenticated": false })).await;
    client.post("/api/internal/validate-session", json!({}), (401, json!({ "valid": false }))).await;

    let account =
        json!({ "email": "user@example.com", "password": "securepass123", "display_name": "John Doe" });
    client.post("/api/auth/register", account.clone(), (201, john())).await;
    let mut short = account;
    short["password"] = json!("short");
    let faults = json!({ "email": ["User with this email already exists."], "password": [SHORT] });
    client.post("/api/auth/register", short, (400, faults)).await;
    let malformed = json!({ "email": "user", "password": "short", "display_name": "John" });
    let faults = json!({ "email": ["Enter a valid email address."], "password": [SHORT] });
    client.post("/api/auth/register", malformed, (400, faults)).await;

    let login = json!({ "email": "user@example.com", "password": "securepass123" });
    client.post("/api/auth/login", login, (200, john())).await;
    let wrong = json!({ "email": "user@example.com", "password": "another password" });
    client.post("/api/auth/login", wrong, (401, json!({ "detail": "Invalid credentials" }))).await;
    client.get("/api/auth/me", 200, john()).await;

    profile(&mut client).await;
    // Nobody has talked to an agent here, for there is no live audio.
    let history = json!({ "count": 45, "next": null, "previous": null, "results": [] });
    client.get("/api/users/history?limit=20&offset=0", 200, history).await;
    let missing = json!({ "detail": "Session not found" });
    client.get("/api/users/history/550e8400-e29b-41d4-a716-446655440000", 404, missing).await;
    passwords(&mut client).await;

    client.post("/api/auth/logout", json!({}), (200, json!({ "message": "Logged out successfully" }))).await;
    client.get("/api/auth/me", 401, json!({ "authenticated": false })).await;
}

async fn profile(client: &mut Client) {
    let preferences = json!({
        "preferred_voice": "alloy", "preferred_language": "en",
        "favorite_topics": ["travel", "food"], "system_prompt_override": "",
    });
    client.put("/api/users/preferences", preferences.clone(), (200, preferences.clone())).await;
    let mut example = john();
    example["preferences"] = preferences;
    client.get("/api/users/profile", 200, example.clone()).await;
    example["display_name"] = json!("Jane Doe");
    client.patch("/api/users/profile", json!({ "display_name": "Jane Doe" }), (200, example.clone())).await;
    example["email"] = json!("newemail@example.com");
    let body = json!({ "email": "newemail@example.com" });
    client.patch("/api/users/profile", body, (200, example)).await;
    let taken = json!({ "email": ["User with this email already exists."] });
    let other = json!({ "email": "other@example.com", "password": "securepass123", "fullName": "Other" });
    let register = client.http.post(format!("{}/api/v1/auth/register", client.url));
    assert!(register.json(&other).send().await.unwrap().status().is_success());
    client.patch("/api/users/profile", json!({ "email": "other@example.com" }), (400, taken)).await;

    let preferences = json!({
        "preferred_voice": "nova", "preferred_language": "es",
        "favorite_topics": ["travel", "technology"],
        "system_prompt_override": "You are a helpful travel assistant.",
    });
    client.put("/api/users/preferences", preferences.clone(), (200, preferences.clone())).await;
    let session = json!({
        "valid": true, "user_id": "550e8400-e29b-41d4-a716-446655440000",
        "email": "newemail@example.com", "display_name": "Jane Doe", "preferences": preferences,
    });
    client.post("/api/internal/validate-session", json!({}), (200, session)).await;
}

async fn passwords(client: &mut Client) {
    let change = |current: &str, new: &str| json!({ "current_password": current, "new_password": new });
    let wrong = json!({ "current_password": ["Current password is incorrect."] });
    client.post("/api/users/change-password", change("wrong", "newpassword456"), (400, wrong)).await;
    let short = json!({ "new_password": [SHORT] });
    client.post("/api/users/change-password", change("securepass123", "short"), (400, short)).await;
    let done = json!({ "message": "Password changed successfully" });
    client.post("/api/users/change-password", change("securepass123", "newpassword456"), (200, done)).await;
}
