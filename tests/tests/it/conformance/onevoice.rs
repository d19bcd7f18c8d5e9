//! `[onevoice]`

use super::{Client, Fields};
use reqwest::Method;
use serde_json::{Value, json};
use tests::server::Server;
use tests::shared_data;

fn room() -> Value {
    json!({ "data": {
        "id": "uuid-here", "name": "Stand-up", "uniqueCode": "...", "ownerId": "uuid-here", "isPrivate": false,
        "createdAt": "2025-09-16T12:40:00Z", "updatedAt": "2025-09-16T12:40:00Z",
    }})
}

fn session(status: &str) -> Value {
    json!({ "data": {
        "id": "uuid-here", "roomId": "uuid-here", "status": status, "scheduledStartTime": null,
        "actualStartTime": null, "actualEndTime": null,
        "createdAt": "2025-09-16T12:40:00Z", "updatedAt": "2025-09-16T12:40:00Z",
    }})
}

fn participant(role: &str) -> Value {
    json!({ "data": {
        "sessionId": "uuid-here", "userId": "uuid-here", "role": role,
        "joinTime": "2025-09-16T12:40:00Z", "leaveTime": null, "isSharingScreen": false,
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_sessions_screen_share_chat_and_recording() {
    let server = Server::start();
    let mut client = Client::new("onevoice", &server);
    log_in(&mut client).await;
    let made = client.post("/api/v1/rooms", json!({ "name": "Stand-up" }), (201, room())).await;
    let room_path = format!("/api/v1/rooms/{}", made["data"]["id"].as_str().unwrap());
    client.get("/api/v1/rooms", 200, json!({ "data": [room()["data"]] })).await;
    client.put(&room_path, json!({ "name": "Stand-up" }), (200, room())).await;

    let schedule = json!({ "scheduledStartTime": "2099-09-16T12:40:00Z" });
    let path = format!("{room_path}/sessions/schedule");
    let scheduled = client.post(&path, schedule, (201, session("SCHEDULED"))).await;
    let cancel = format!("/api/v1/sessions/{}/cancel", scheduled["data"]["id"].as_str().unwrap());
    client.post(&cancel, json!({}), (200, session("CANCELLED"))).await;
    let started =
        client.post(&format!("{room_path}/sessions/start"), json!({}), (201, session("LIVE"))).await;
    let session_path = format!("/api/v1/sessions/{}", started["data"]["id"].as_str().unwrap());

    // The host's own part; then that of a guest.
    let host = client.token.replace(server.user().await.token);
    let participants = format!("{session_path}/participants");
    client.post(&participants, json!({}), (201, participant("PARTICIPANT"))).await;
    let mut sharing = participant("PARTICIPANT");
    sharing["data"]["isSharingScreen"] = json!(true);
    client.post(&format!("{session_path}/screenshare/start"), json!({}), (200, sharing)).await;
    client
        .post(&format!("{session_path}/screenshare/stop"), json!({}), (200, participant("PARTICIPANT")))
        .await;
    let message = json!({
        "id": "uuid-here", "sessionId": "uuid-here", "userId": "uuid-here", "message": "Hello",
        "createdAt": "2025-09-16T12:40:00Z",
    });
    let chat = format!("{session_path}/chat");
    client.post(&chat, json!({ "message": "Hello" }), (201, json!({ "data": message }))).await;
    client.get(&chat, 200, json!({ "data": [message], "nextCursor": null })).await;
    client.delete(&format!("{participants}/me"), 204).await;

    client.token = host;
    record(&mut client, &session_path).await;
    client.post(&format!("{session_path}/end"), json!({}), (200, session("ENDED"))).await;
    let mut history = session("ENDED")["data"].clone();
    history.as_object_mut().unwrap().remove("status");
    client.get(&format!("{room_path}/sessions"), 200, json!({ "data": [history] })).await;
    client.delete(&room_path, 204).await;
}

async fn record(client: &mut Client, session_path: &str) {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let started = json!({ "data": { "recordingId": "uuid-here", "uploadUrl": "https://..." } });
    let started = client.post(&format!("{session_path}/recording/start"), json!({}), (201, started)).await;
    let chunk = format!("{}/0", started["data"]["uploadUrl"].as_str().unwrap());
    let chunk = client.http.put(chunk).bearer_auth(client.token.as_ref().unwrap());
    let sent =
        client.exchange(chunk.body(std::fs::read(speech).unwrap()), 200, Fields(json!({ "data": {} }))).await;
    assert_eq!(sent["data"]["number"], 0);
    let stopped = json!({ "data": {
        "id": "uuid-here", "sessionId": "uuid-here", "startedBy": "uuid-here", "status": "STOPPED",
        "fileId": "uuid-here", "jobId": "uuid-here",
        "startedAt": "2025-09-16T12:40:00Z", "stoppedAt": "2025-09-16T12:40:00Z",
    }});
    client.post(&format!("{session_path}/recording/stop"), json!({}), (200, stopped)).await;
}

async fn log_in(client: &mut Client) {
    let body =
        json!({ "fullName": "Sid S", "email": "sid.s@example.com", "password": "strong-password-123" });
    let account = json!({ "data": {
        "id": "uuid-here", "fullName": "Sid S", "email": "sid.s@example.com", "createdAt": "2025-09-16T12:40:00Z",
    }});
    client.post("/api/v1/auth/register", body, (201, account)).await;
    let body = json!({ "email": "sid.s@example.com", "password": "strong-password-123" });
    let pair = json!({ "access_token": "...", "refresh_token": "...", "token_type": "bearer" });
    let tokens = client.post("/api/v1/auth/login", body, (200, pair.clone())).await;
    client.token = tokens["refresh_token"].as_str().map(str::to_owned);
    let tokens =
        client.exchange(client.request(Method::POST, "/api/v1/auth/refresh"), 200, Fields(pair)).await;
    client.token = tokens["access_token"].as_str().map(str::to_owned);
}
