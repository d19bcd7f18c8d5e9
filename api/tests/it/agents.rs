use futures_util::future::join_all;
use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{TestApp, request};

/// The requests of the document, and what it shows as their answers.
#[tokio::test]
async fn the_documents_own_requests_work() {
    let app = TestApp::new().await;
    let account = json!({
        "email": "user@example.com",
        "password": "SecurePass123!",
        "first_name": "John",
        "last_name": "Doe"
    });
    let user = app.post("/auth/register", "", &account).await.expect(201).json().await;
    let login = app.post("/auth/login", "", &account).await.expect(200).json().await;
    let token = login["token"].as_str().unwrap();
    let body = json!({
        "name": "Support Agent",
        "description": "Handles customer support",
        "llm_provider": "openai",
        "llm_model": "gpt-4",
        "stt_provider": "deepgram",
        "tts_provider": "cartesia",
        "system_prompt": "You are a helpful support agent. Help customers with their issues.",
        "language": "en",
        "voice_parameters": {
            "voice_id": "english_male",
            "speed": 1.0,
            "tone": "professional"
        }
    });
    let made = app.post("/agents", token, &body).await.expect(201).json().await;
    assert_eq!((&made["name"], &made["status"]), (&json!("Support Agent"), &json!("active")));
    assert!(is_time(&made["created_at"]), "{made}");
    let path = format!("/agents/{}", made["id"].as_str().unwrap());
    let found = app.get(&path, token).await.expect(200).json().await;
    for (field, sent) in body.as_object().unwrap() {
        assert_eq!(&found[field], sent);
    }
    assert_eq!((&found["id"], &found["user_id"]), (&made["id"], &user["id"]));
    assert_eq!((&found["status"], &found["created_at"]), (&made["status"], &made["created_at"]));

    for query in
        ["", "/", "?skip=0&limit=10", "/?search=support", "?status=active", "?search=HANDLES%20customer"]
    {
        let list = app.get(&format!("/agents{query}"), token).await.expect(200).json().await;
        let limit = if query.contains("limit") { 10 } else { 50 };
        assert_eq!(list, json!({"total": 1, "skip": 0, "limit": limit, "items": [found]}), "{query}");
    }

    let body = json!({"name": "Updated Name", "system_prompt": "New system prompt here"});
    let updated = app.put(&path, token, &body).await.expect(200).json().await;
    assert_eq!((&updated["id"], &updated["name"]), (&made["id"], &json!("Updated Name")));
    assert!(is_time(&updated["updated_at"]) && updated["updated_at"].as_str() > made["updated_at"].as_str());
    assert_eq!(updated["system_prompt"], "New system prompt here");
    assert_eq!(updated["voice_parameters"], found["voice_parameters"]);
    assert_eq!(app.get(&format!("{path}/"), token).await.expect(200).json().await, updated);

    let gone = app.delete(&path, token).await.expect(204);
    assert!(gone.bytes().await.is_empty());
    let (message, details) = app.get(&path, token).await.enveloped(404, "AGENT_001").await;
    assert_eq!((message, details), (json!("Agent not found"), Value::Null));
}

#[tokio::test]
async fn errors_are_those_of_the_table() {
    let (app, token) = TestApp::with_user().await;
    let stranger = app.user("bob@example.com").await;
    let agent = app.post("/agents", &token, &agent("Sales")).await.expect(201).json().await;
    let path = format!("/agents/{}", agent["id"].as_str().unwrap());
    app.get("/agents", "").await.enveloped(401, "AUTH_003").await;
    app.get(&path, "nonsense").await.enveloped(401, "AUTH_003").await;
    let nobodys = format!("/agents/{}", uuid::Uuid::new_v4());
    for (path, token) in [
        (path.as_str(), &stranger),
        (&nobodys, &token),
        ("/agents/x", &token),
        ("/agents/%00", &token),
        ("/agents/99999999999999999999", &token),
    ] {
        for answer in [
            app.get(path, token).await,
            app.put(path, token, &json!({"name": "Mine"})).await,
            app.delete(path, token).await,
        ] {
            assert_eq!(answer.enveloped(404, "AGENT_001").await.0, "Agent not found", "{path}");
        }
    }
    assert_eq!(app.get(&path, &token).await.json().await, agent);

    let again = app.post("/agents", &token, &self::agent("Sales")).await;
    let (message, details) = again.enveloped(409, "AGENT_002").await;
    assert_eq!(
        (message, details),
        (json!("Agent already exists"), json!("An agent of this name exists already"))
    );
    app.post("/agents", &stranger, &self::agent("Sales")).await.expect(201);
    app.post("/agents", &token, &self::agent("Other")).await.expect(201);
    app.put(&path, &token, &json!({"name": "Other"})).await.enveloped(409, "AGENT_002").await;
    let clicks = join_all((0..4).map(|_| app.post("/agents", &token, &NEW))).await;
    let mut statuses: Vec<_> = clicks.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);

    app.patch(&path, &token, &json!({})).await.enveloped(405, "REQUEST_003").await;
    app.get(&format!("{path}/more"), &token).await.enveloped(404, "REQUEST_002").await;
    let plain = request(Method::POST, "/agents", &token).content_type("text/plain").body("{}");
    app.send(plain).await.enveloped(415, "REQUEST_005").await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(5 << 20));
    app.post_bytes("/agents", &token, large).await.enveloped(413, "REQUEST_004").await;
}

#[tokio::test]
async fn bodies_and_queries_are_refused_by_field() {
    let (app, token) = TestApp::with_user().await;
    let agent = app.post("/agents", &token, &agent("Sales")).await.expect(201).json().await;
    let path = format!("/agents/{}", agent["id"].as_str().unwrap());
    for field in
        ["name", "llm_provider", "llm_model", "stt_provider", "tts_provider", "system_prompt", "language"]
    {
        let mut body = self::agent("Other");
        body.as_object_mut().unwrap().remove(field);
        let (_, details) = app.post("/agents", &token, &body).await.enveloped(400, "REQUEST_001").await;
        assert_eq!(details, format!("{field}: is required"));
    }
    let (long, deep) = ("é".repeat(256), json!({"text": "x".repeat(17 << 10)}));
    for (field, value, issue) in [
        ("name", json!(5), "must be a string"),
        ("name", json!(""), "must not be empty"),
        ("name", json!(" \n"), "must not be blank"),
        ("name", json!("a\0"), "must not hold NUL"),
        ("name", json!(long), "must be at most 255 characters"),
        ("description", json!("x".repeat(10_001)), "must be at most 10000 characters"),
        ("description", json!(["a"]), "must be a string"),
        ("llm_provider", json!("x".repeat(101)), "must be at most 100 characters"),
        ("llm_model", json!(""), "must not be empty"),
        ("stt_provider", json!(true), "must be a string"),
        ("tts_provider", json!({}), "must be a string"),
        ("system_prompt", json!("é".repeat(32_001)), "must be at most 32000 characters"),
        ("language", json!("e"), "must be at least 2 characters"),
        ("voice_parameters", json!("loud"), "must be an object"),
        ("voice_parameters", json!([1]), "must be an object"),
        ("voice_parameters", deep, "must be at most 16384 bytes of JSON"),
    ] {
        let mut body = self::agent("Other");
        body[field] = value.clone();
        for answer in
            [app.post("/agents", &token, &body).await, app.put(&path, &token, &json!({field: value})).await]
        {
            let (_, details) = answer.enveloped(400, "REQUEST_001").await;
            assert_eq!(details, format!("{field}: {issue}"));
        }
    }
    let wrong = json!({"status": "asleep"});
    let (_, details) = app.put(&path, &token, &wrong).await.enveloped(400, "REQUEST_001").await;
    assert_eq!(details, "status: must be one of active, inactive");
    for body in ["", "[]", "null", "{", "{\"name\":1e999}"] {
        app.post_bytes("/agents", &token, body).await.enveloped(400, "REQUEST_001").await;
    }
    for query in [
        "skip=-1",
        "skip=x",
        "skip=1000000001",
        "skip=99999999999999999999",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1.5",
        "limit=",
        "status=asleep",
        "search=a%00b",
    ] {
        let (_, details) =
            app.get(&format!("/agents?{query}"), &token).await.enveloped(400, "REQUEST_001").await;
        let field = query.split('=').next().unwrap();
        assert!(details.as_str().unwrap().starts_with(&format!("{field}: ")), "{query}: {details}");
    }
    assert_eq!(app.get(&path, &token).await.json().await, agent, "none of it came through");
}

#[tokio::test]
async fn what_is_sent_is_kept_as_it_was_sent() {
    let (app, token) = TestApp::with_user().await;
    let mut body = agent("Ünïcødé 😀 \" \\ \u{202e}");
    body["voice_parameters"] =
        json!({"": null, "speed": 1.0, "count": 18_446_744_073_709_551_615_u64, "deep": [[{"é": []}]]});
    body["user_id"] = json!("somebody else");
    body["id"] = json!(1);
    let made = app.post("/agents", &token, &body).await.expect(201).json().await;
    assert_eq!((&made["name"], &made["voice_parameters"]), (&body["name"], &body["voice_parameters"]));
    assert_ne!(made["user_id"], body["user_id"]);
    assert_eq!(made["description"], Value::Null);
    let path = format!("/agents/{}", made["id"].as_str().unwrap());
    let idle = app.put(&path, &token, &json!({"status": "inactive", "description": "Off"})).await;
    let idle = idle.expect(200).json().await;
    assert_eq!((&idle["status"], &idle["voice_parameters"]), (&json!("inactive"), &body["voice_parameters"]));
    let count = async |query: &str| {
        app.get(&format!("/agents?{query}"), &token).await.expect(200).json().await["total"].clone()
    };
    assert_eq!((count("status=inactive").await, count("status=active").await), (json!(1), json!(0)));
    assert_eq!((count("search=%F0%9F%98%80").await, count("search=%25").await), (json!(1), json!(0)));
    app.put(&path, &token, &json!({})).await.expect(200);
}

#[tokio::test]
async fn lists_come_in_parts() {
    let (app, token) = TestApp::with_user().await;
    for number in 0..5 {
        app.post("/agents", &token, &agent(&format!("Agent {number}"))).await.expect(201);
    }
    let part = app.get("/agents?skip=1&limit=2", &token).await.expect(200).json().await;
    assert_eq!((&part["total"], &part["skip"], &part["limit"]), (&json!(5), &json!(1), &json!(2)));
    assert_eq!(
        (&part["items"][0]["name"], &part["items"][1]["name"]),
        (&json!("Agent 3"), &json!("Agent 2"))
    );
    let past = app.get("/agents?skip=1000000000", &token).await.expect(200).json().await;
    assert_eq!((&past["total"], &past["items"]), (&json!(5), &json!([])));
}

static NEW: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| agent("Clicked"));

pub(crate) fn agent(name: &str) -> Value {
    json!({
        "name": name,
        "llm_provider": "openai",
        "llm_model": "gpt-4",
        "stt_provider": "deepgram",
        "tts_provider": "cartesia",
        "system_prompt": "You are helpful.",
        "language": "en",
    })
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 27)
}
