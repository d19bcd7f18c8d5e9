use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::agents::agent;
use crate::client::{Answer, TestApp};

/// The requests of the document, and what it shows as their answers.
#[tokio::test]
async fn the_documents_own_requests_work() {
    let (app, token, agent) = app().await;
    let body = json!({
        "name": "Q2 Marketing Campaign",
        "agent_id": agent,
        "phone_numbers": ["+1234567890", "+1234567891"],
        "start_time": "2024-04-01T00:00:00Z",
        "end_time": "2024-06-30T23:59:59Z",
        "max_concurrent_calls": 50
    });
    let made = app.post("/campaigns", &token, &body).await.expect(201).json().await;
    assert_eq!(made["status"], "draft");
    assert!(is_time(&made["created_at"]), "{made}");
    for field in ["name", "agent_id", "phone_numbers", "max_concurrent_calls"] {
        assert_eq!(made[field], body[field]);
    }
    let times = (&made["start_time"], &made["end_time"]);
    assert_eq!(times, (&json!("2024-04-01T00:00:00.000000Z"), &json!("2024-06-30T23:59:59.000000Z")));
    let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
    let (message, details) =
        app.post(&format!("{path}/launch"), &token, &json!({})).await.enveloped(409, "CAMPAIGN_002").await;
    assert_eq!(
        (message, details),
        (json!("Cannot launch campaign"), json!("The end of the campaign has passed"))
    );

    app.put(&path, &token, &json!({"end_time": "2124-06-30T23:59:59Z"})).await.expect(200);
    let launched = post(&app, &token, &format!("{path}/launch/")).await.expect(200).json().await;
    assert_eq!((&launched["id"], &launched["status"]), (&made["id"], &json!("active")));
    assert!(is_time(&launched["launched_at"]), "{launched}");
    let paused = post(&app, &token, &format!("{path}/pause")).await.expect(200).json().await;
    assert_eq!((&paused["id"], &paused["status"]), (&made["id"], &json!("paused")));
    assert!(is_time(&paused["paused_at"]), "{paused}");
    let resumed = post(&app, &token, &format!("{path}/launch")).await.expect(200).json().await;
    assert_eq!(resumed["status"], "active");
    assert_eq!(app.get(&path, &token).await.expect(200).json().await, resumed);

    let agent = agent.as_str();
    for query in [
        "",
        "/",
        &format!("?agent_id={agent}"),
        "?status=active",
        &format!("/?agent_id={agent}&status=active&skip=0&limit=20"),
    ] {
        let answer = app.get(&format!("/campaigns{query}"), &token).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        let list = answer.json().await;
        let limit = if query.contains("limit") { 20 } else { 50 };
        assert_eq!(list, json!({"total": 1, "skip": 0, "limit": limit, "items": [resumed]}), "{query}");
    }
}

#[tokio::test]
async fn a_campaign_needs_little_and_keeps_each_number_once() {
    let (app, token, agent) = app().await;
    let numbers = json!(["+12", "+123456789012345", "+12"]);
    let body = json!({"name": "Ünïcødé 😀", "agent_id": agent, "phone_numbers": numbers, "status": "active"});
    let made = app.post("/campaigns/", &token, &body).await.expect(201).json().await;
    assert_eq!((&made["name"], &made["status"]), (&body["name"], &json!("draft")));
    assert_eq!(made["phone_numbers"], json!(["+12", "+123456789012345"]));
    assert_eq!((&made["start_time"], &made["end_time"]), (&Value::Null, &Value::Null));
    assert_eq!(made["max_concurrent_calls"], 10);
    let path = format!("/campaigns/{}", made["id"].as_str().unwrap());
    let change = json!({"start_time": "2030-01-01T02:00:00.1234567+02:00", "name": "Renamed"});
    let changed = app.put(&path, &token, &change).await.expect(200).json().await;
    assert_eq!((&changed["name"], &changed["phone_numbers"]), (&json!("Renamed"), &made["phone_numbers"]));
    assert_eq!(changed["start_time"], "2030-01-01T00:00:00.123456Z");
    assert_eq!(app.get(&path, &token).await.expect(200).json().await, changed);
}

#[tokio::test]
async fn a_campaign_goes_its_course() {
    let (app, token, agent) = app().await;
    let campaign = campaign(&app, &token, &agent).await;
    let path = format!("/campaigns/{campaign}");
    let (launch, pause) = (format!("{path}/launch"), format!("{path}/pause"));
    assert_refused(post(&app, &token, &pause).await, "Only an active campaign can be paused").await;
    let clicks = join_all((0..4).map(|_| post(&app, &token, &launch))).await;
    assert_eq!(statuses(&clicks), [200, 409, 409, 409]);
    for answer in clicks.into_iter().filter(|answer| answer.status.as_u16() == 409) {
        assert_refused(answer, "The campaign is active already").await;
    }
    let active = "The campaign is active: pause it first";
    assert_refused(app.put(&path, &token, &json!({"name": "x"})).await, active).await;
    assert_refused(app.delete(&path, &token).await, active).await;
    let clicks = join_all((0..4).map(|_| post(&app, &token, &pause))).await;
    assert_eq!(statuses(&clicks), [200, 409, 409, 409]);

    app.put(&format!("/agents/{agent}"), &token, &json!({"status": "inactive"})).await.expect(200);
    assert_refused(post(&app, &token, &launch).await, "The campaign has no active agent").await;
    app.put(&format!("/agents/{agent}"), &token, &json!({"status": "active"})).await.expect(200);
    post(&app, &token, &launch).await.expect(200);
    app.delete(&format!("/agents/{agent}"), &token).await.expect(204);
    let left = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!((&left["status"], &left["agent_id"]), (&json!("paused"), &Value::Null));
    assert_refused(post(&app, &token, &launch).await, "The campaign has no active agent").await;

    let ended = json!({"end_time": "2024-06-30T23:59:59Z"});
    let ended = app.put(&path, &token, &ended).await.expect(200).json().await;
    assert_eq!(ended["status"], "completed");
    assert!(is_time(&ended["completed_at"]), "{ended}");
    let over = "The end of the campaign has passed";
    assert_refused(post(&app, &token, &launch).await, over).await;
    assert_refused(app.put(&path, &token, &json!({"name": "x"})).await, over).await;
    let count = async |status: &str| {
        let list = app.get(&format!("/campaigns?status={status}"), &token).await.expect(200).json().await;
        list["total"].clone()
    };
    assert_eq!((count("completed").await, count("paused").await), (json!(1), json!(0)));
    app.delete(&path, &token).await.expect(204);
    app.get(&path, &token).await.enveloped(404, "CAMPAIGN_001").await;
}

#[tokio::test]
async fn anothers_campaigns_and_agents_are_missing_ones() {
    let (app, token, agent) = app().await;
    let stranger = app.user("bob@example.com").await;
    let theirs = self::agent_id(&app, &stranger).await;
    let mine = campaign(&app, &token, &agent).await;
    let path = format!("/campaigns/{mine}");
    let nobodys = uuid::Uuid::new_v4().to_string();
    for (path, token) in [
        (path.clone(), &stranger),
        (format!("/campaigns/{nobodys}"), &token),
        ("/campaigns/x".to_owned(), &token),
        ("/campaigns/%00".to_owned(), &token),
    ] {
        for answer in [
            app.get(&path, token).await,
            app.put(&path, token, &json!({"name": "Mine"})).await,
            app.delete(&path, token).await,
            post(&app, token, &format!("{path}/launch")).await,
            post(&app, token, &format!("{path}/pause")).await,
        ] {
            assert_eq!(answer.enveloped(404, "CAMPAIGN_001").await.0, "Campaign not found", "{path}");
        }
    }
    for agent in [&theirs, &nobodys] {
        let body = json!({"name": "a", "agent_id": agent, "phone_numbers": ["+12"]});
        for answer in [
            app.post("/campaigns", &token, &body).await,
            app.put(&path, &token, &json!({"agent_id": agent})).await,
        ] {
            let (message, details) = answer.enveloped(404, "AGENT_001").await;
            assert_eq!(
                (message, details),
                (json!("Agent not found"), json!("agent_id: names nothing that exists"))
            );
        }
        let list = app.get(&format!("/campaigns?agent_id={agent}"), &token).await.expect(200).json().await;
        assert_eq!((&list["total"], &list["items"]), (&json!(0), &json!([])));
    }
    let list = app.get(&format!("/campaigns?agent_id={agent}"), &stranger).await.expect(200).json().await;
    assert_eq!(list["total"], 0);
    let left = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!((&left["agent_id"], &left["status"]), (&json!(agent), &json!("draft")));
    app.get("/campaigns", "").await.enveloped(401, "AUTH_003").await;
    app.get(&format!("{path}/stop"), &token).await.enveloped(404, "REQUEST_002").await;
    app.get(&format!("{path}/launch"), &token).await.enveloped(405, "REQUEST_003").await;
}

#[tokio::test]
async fn bodies_and_queries_are_refused_by_field() {
    let (app, token, agent) = app().await;
    let whole = json!({"name": "a", "agent_id": agent, "phone_numbers": ["+12"]});
    for field in ["name", "agent_id", "phone_numbers"] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().remove(field);
        let (_, details) = app.post("/campaigns", &token, &body).await.enveloped(400, "REQUEST_001").await;
        assert_eq!(details, format!("{field}: is required"));
    }
    let path = format!("/campaigns/{}", campaign(&app, &token, &agent).await);
    let number = "must be a number as in E.164, such as +14155550123";
    let time = "must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z";
    let years = "must lie between the years 1 and 9999";
    for (field, value, at, issue) in [
        ("name", json!(" "), "name", "must not be blank"),
        ("name", json!("é".repeat(256)), "name", "must be at most 255 characters"),
        ("agent_id", json!("x"), "agent_id", "must be a UUID"),
        ("agent_id", json!(7), "agent_id", "must be a string"),
        ("phone_numbers", json!([]), "phone_numbers", "must have at least 1 items"),
        ("phone_numbers", json!("+12"), "phone_numbers", "must be an array"),
        ("phone_numbers", json!(["+12", 12]), "phone_numbers.1", "must be a string"),
        ("phone_numbers", json!(["+12", null]), "phone_numbers.1", "must not be null"),
        ("phone_numbers", json!(["+12", "0123"]), "phone_numbers.1", number),
        ("phone_numbers", json!(["+1"]), "phone_numbers.0", number),
        ("phone_numbers", json!(["+1234567890123456"]), "phone_numbers.0", number),
        ("phone_numbers", json!(["+12\n"]), "phone_numbers.0", number),
        ("phone_numbers", json!(["+12\0"]), "phone_numbers.0", "must not hold NUL"),
        ("start_time", json!("tomorrow"), "start_time", time),
        ("start_time", json!(1_711_929_600), "start_time", "must be a string"),
        ("end_time", json!("2024-02-30T00:00:00Z"), "end_time", time),
        ("end_time", json!("9999-12-31T23:59:59-01:00"), "end_time", years),
        ("start_time", json!("0000-01-01T00:00:00Z"), "start_time", years),
        ("max_concurrent_calls", json!(0), "max_concurrent_calls", "must be at least 1"),
        ("max_concurrent_calls", json!(1001), "max_concurrent_calls", "must be at most 1000"),
        ("max_concurrent_calls", json!(-1), "max_concurrent_calls", "must be at least 1"),
        ("max_concurrent_calls", json!(u64::MAX), "max_concurrent_calls", "must be at most 1000"),
        ("max_concurrent_calls", json!(1.5), "max_concurrent_calls", "must be a whole number"),
        ("max_concurrent_calls", json!("5"), "max_concurrent_calls", "must be a number"),
    ] {
        let mut body = whole.clone();
        body[field] = value.clone();
        for answer in [
            app.post("/campaigns", &token, &body).await,
            app.put(&path, &token, &json!({field: value})).await,
        ] {
            let (_, details) = answer.enveloped(400, "REQUEST_001").await;
            assert_eq!(details, format!("{at}: {issue}"));
        }
    }
    let mut body = whole.clone();
    body["start_time"] = json!("2030-01-01T00:00:00Z");
    body["end_time"] = json!("2030-01-01T01:00:00+01:00");
    let (_, details) = app.post("/campaigns", &token, &body).await.enveloped(400, "REQUEST_001").await;
    assert_eq!(details, "end_time: must lie after start_time");
    for query in ["agent_id=x", "agent_id=", "status=over", "skip=-1", "limit=0", "limit=101", "skip=1e9"] {
        let (_, details) =
            app.get(&format!("/campaigns?{query}"), &token).await.enveloped(400, "REQUEST_001").await;
        let field = query.split('=').next().unwrap();
        assert!(details.as_str().unwrap().starts_with(&format!("{field}: ")), "{query}: {details}");
    }
    assert_eq!(app.get("/campaigns", &token).await.expect(200).json().await["total"], 1);
}

#[tokio::test]
async fn a_campaign_may_be_large_and_no_larger() {
    let (app, token, agent) = app().await;
    let numbers: Vec<_> = (0..100_001).map(|number| format!("+49{number:013}")).collect();
    let body = |numbers: &[String]| json!({"name": "a", "agent_id": agent, "phone_numbers": numbers});
    let refused = app.post("/campaigns", &token, &body(&numbers)).await.enveloped(400, "REQUEST_001").await;
    assert_eq!(refused.1, "phone_numbers: must have at most 100000 items");
    for _ in 0..2 {
        app.post("/campaigns", &token, &body(&numbers[1..])).await.expect(201);
    }
    let list = app.get("/campaigns?limit=1", &token).await.expect(200).json().await;
    assert_eq!((&list["total"], list["items"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(list["items"][0]["phone_numbers"], json!(numbers[1..]));
    let export = app.get("/api/v1/auth/me/export", &token).await.expect(200).json().await;
    assert_eq!(export["campaigns"].as_array().unwrap().len(), 2);
    assert_eq!(export["campaigns"][1]["phone_numbers"].as_array().unwrap().len(), 100_000);
}

async fn app() -> (TestApp, String, String) {
    let (app, token) = TestApp::with_user().await;
    let agent = agent_id(&app, &token).await;
    (app, token, agent)
}

async fn agent_id(app: &TestApp, token: &str) -> String {
    let agent = app.post("/agents", token, &agent("Sales")).await.expect(201).json().await;
    agent["id"].as_str().unwrap().to_owned()
}

async fn campaign(app: &TestApp, token: &str, agent: &str) -> String {
    let body = json!({"name": "A campaign", "agent_id": agent, "phone_numbers": ["+1234567890"]});
    let campaign = app.post("/campaigns", token, &body).await.expect(201).json().await;
    campaign["id"].as_str().unwrap().to_owned()
}

/// Without a body, as the document has it.
async fn post(app: &TestApp, token: &str, path: &str) -> Answer {
    app.send(crate::client::request(poem::http::Method::POST, path, token).finish()).await
}

async fn assert_refused(answer: Answer, sentence: &str) {
    let (message, details) = answer.enveloped(409, "CAMPAIGN_002").await;
    assert_eq!((message, details), (json!("Cannot launch campaign"), json!(sentence)));
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && text.len() == 27)
}
