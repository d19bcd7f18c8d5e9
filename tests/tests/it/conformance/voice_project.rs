//! `[voice-project]`

use super::{Client, Fields};
use reqwest::Method;
use serde_json::{Value, json};
use tests::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn projects_and_voice_sessions() {
    let server = Server::start();
    let mut client = Client::new("voice-project", &server);
    let refusal = |sentence: &str| json!({ "detail": sentence });

    client.get("/api/v1/projects/", 401, refusal("Authentication credentials were not provided.")).await;
    client.token = Some("nonsense".to_owned());
    client.get("/api/v1/projects/", 401, refusal("Invalid token.")).await;

    client.token = Some(server.user().await.token);
    let body = json!({ "name": "My Project", "description": "Voice sessions for testing" });
    let example =
        json!({ "id": 5, "name": "My Project", "description": "Voice sessions for testing", "owner": 3 });
    let project = client.post("/api/v1/projects/", body, (201, example.clone())).await["id"].clone();
    let path = format!("/api/v1/projects/{project}/");
    client.get(&path, 200, example).await;

    let listed = json!([{
        "id": 1, "name": "Podcast Season 1", "description": "Main episodes", "created_at": "2025-01-03T12:00:00Z",
    }]);
    let body = json!({ "name": "Podcast Season 1", "description": "Main episodes" });
    client.put(&path, body, (200, listed[0].clone())).await;
    client.get("/api/v1/projects/", 200, listed).await;
    let changed = json!({ "id": 1, "name": "Podcast Season 1", "description": "All episodes" });
    client.patch(&path, json!({ "description": "All episodes" }), (200, changed)).await;

    let started = json!({
        "id": 55, "project": project, "started_at": "2025-01-07T11:31:00Z", "status": "started",
    });
    let body = json!({ "project_id": project });
    let session = client.post("/api/v1/sessions/start/", body, (201, started)).await["id"].clone();
    let finished = json!({
        "id": 55, "project": project, "started_at": "2025-01-07T11:31:00Z",
        "finished_at": "2025-01-07T11:36:00Z", "duration_seconds": 300, "status": "finished",
    });
    let body = json!({ "session_id": session });
    client.post("/api/v1/sessions/finish/", body.clone(), (200, finished)).await;
    let sessions = json!([{
        "id": 14, "project": project, "started_at": "2025-01-05T14:22:00Z",
        "finished_at": "2025-01-05T14:26:00Z", "duration_seconds": 240,
    }]);
    client.get(&format!("/api/v1/sessions/?project_id={project}"), 200, sessions).await;

    client.post("/api/v1/sessions/finish/", body.clone(), (400, refusal("Bad Request"))).await;
    client
        .post("/api/v1/projects/", json!({ "description": "no name" }), (400, refusal("Bad Request")))
        .await;
    client.post("/api/v1/sessions/start/", json!({}), (400, refusal("Bad Request"))).await;
    client.get("/api/v1/projects/999999/", 404, refusal("Not found.")).await;
    client
        .post("/api/v1/sessions/start/", json!({ "project_id": 999_999 }), (404, refusal("Not found.")))
        .await;
    client
        .post("/api/v1/sessions/finish/", json!({ "session_id": 999_999 }), (404, refusal("Not found.")))
        .await;

    let owner = client.token.replace(server.user().await.token);
    let forbidden = refusal("You do not have permission to perform this action.");
    client.get(&path, 403, forbidden.clone()).await;
    client.put(&path, json!({ "name": "Mine" }), (403, forbidden.clone())).await;
    client.patch(&path, json!({ "name": "Mine" }), (403, forbidden.clone())).await;
    client.post("/api/v1/sessions/start/", json!({ "project_id": project }), (403, forbidden.clone())).await;
    client.post("/api/v1/sessions/finish/", body, (403, forbidden.clone())).await;
    client.get(&format!("/api/v1/sessions/?project_id={project}"), 403, forbidden.clone()).await;
    let delete = client.request(Method::DELETE, &path);
    client.exchange(delete, 403, Fields(forbidden)).await;
    client.get("/api/v1/projects/", 200, Value::Array(vec![])).await;

    client.token = owner;
    client.delete(&path, 204).await;
    client.get(&path, 404, refusal("Not found.")).await;
}
