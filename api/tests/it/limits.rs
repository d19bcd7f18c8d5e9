//! Rate limits: how many requests, and what a client learns of it.

use api::{Rate, Rates, Services};
use chrono::Utc;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use poem::http::Method;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use storage::users::Role;

use crate::client::{Answer, TestApp, request};
use crate::server::{Server, upload};

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// The figures of the document.
fn rates() -> Rates {
    Rates {
        auth: rate("5/min"),
        voiceera_auth: rate("10/min"),
        imports: rate("10000/min"),
        uploads: rate("10/h"),
        processing: rate("20/h"),
        wide: rate("6000/min"),
        guests: rate("20/min"),
        other: rate("100/min"),
        roles: vec![],
    }
}

async fn app(change: impl FnOnce(&mut Rates)) -> TestApp {
    let mut rates = rates();
    change(&mut rates);
    TestApp::with(|config| config.rates = Some(rates)).await
}

async fn login(app: &TestApp) -> Answer {
    app.post("/api/v1/auth/login", "", &json!({"email": "a@example.com", "password": "wrong"})).await
}

fn number(answer: &Answer, header: &str) -> i64 {
    answer.header(header).parse().unwrap()
}

/// A refusal in all its parts; its body.
async fn refused(answer: Answer, limit: i64) -> Value {
    let now = Utc::now().timestamp();
    let wait = number(&answer, "retry-after");
    assert!((1..=3600).contains(&wait), "{wait}");
    assert_eq!(number(&answer, "x-ratelimit-limit"), limit);
    assert_eq!(number(&answer, "x-ratelimit-remaining"), 0);
    assert!(number(&answer, "x-ratelimit-reset") >= now + wait - 1);
    let body = answer.expect(429).json().await;
    assert_eq!(body["retry_after"], wait, "{body}");
    body
}

#[tokio::test]
async fn authentication_is_five_a_minute_as_the_document_says() {
    let app = app(|_| {}).await;
    for remaining in (0..5).rev() {
        let answer = login(&app).await.expect(401);
        assert_eq!(number(&answer, "x-ratelimit-limit"), 5);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), remaining);
        let reset = number(&answer, "x-ratelimit-reset") - Utc::now().timestamp();
        assert!((1..=61).contains(&reset), "{reset}");
    }
    let body = refused(login(&app).await, 5).await;
    assert_eq!(body["error"], "rate_limit_exceeded");
    assert_eq!(body["message"], "Too many requests, please try again later");
    app.post("/api/v1/auth/register", "", &json!({})).await.error(429, "rate_limit_exceeded").await;
    app.get("/api/v1/files", "").await.expect(401);
}

#[tokio::test]
async fn of_many_at_once_no_more_than_the_rate_are_admitted() {
    let app = app(|_| {}).await;
    let answers = join_all((0..12).map(|_| login(&app))).await;
    let admitted = answers.iter().filter(|answer| answer.status != 429).count();
    assert_eq!(admitted, 5);
}

#[tokio::test]
async fn uploads_begun_are_counted_by_user_and_in_both_ways() {
    let app = app(|rates| rates.uploads = rate("2/h")).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let begin = json!({"filename": "a.txt", "size_bytes": 5, "content_type": "text/plain"});
    app.file(&ann, "a.txt", b"words").await;
    let upload = app.post("/api/v1/files/uploads", &ann, &begin).await.expect(201).json().await;
    let file = app.upload(&ann, &[("name=\"file\"; filename=\"b.txt\"", b"words")]).await;
    refused(file, 2).await;
    refused(app.post("/api/v1/files/uploads", &ann, &begin).await, 2).await;
    app.file(&bob, "b.txt", b"words").await;
    // The parts of one that is begun still go up.
    let part = upload["parts"][0]["url"].as_str().unwrap();
    let answer = app.send(request(Method::PUT, part, "").body("words")).await;
    assert!(answer.status.is_success());
    assert_eq!(number(&answer, "x-ratelimit-limit"), 6000);
}

#[tokio::test]
async fn jobs_are_counted_where_they_are_made_and_not_where_they_are_watched() {
    let app = app(|rates| (rates.processing, rates.other) = (rate("3/h"), rate("8/min"))).await;
    let token = app.user("ann@example.com").await;
    let body = json!({"audio_file_id": "00000000-0000-4000-8000-000000000000"});
    for path in ["transcribe", "extract-audio", "clone-voice"] {
        let answer = app.post(&format!("/api/v1/process/{path}"), &token, &body).await;
        assert_eq!(number(&answer, "x-ratelimit-limit"), 3);
    }
    refused(app.post("/api/v1/process/generate-video", &token, &body).await, 3).await;
    for _ in 0..20 {
        app.get("/api/v1/process/status/00000000-0000-4000-8000-000000000000", &token).await.expect(404);
    }
    for _ in 0..8 {
        app.get("/api/v1/process/jobs", &token).await.expect(200);
    }
    refused(app.get("/api/v1/files", &token).await, 8).await;
}

#[tokio::test]
async fn who_is_not_logged_in_counts_by_address_and_takes_nothing_from_users() {
    let app = app(|rates| rates.other = rate("3/min")).await;
    let token = app.user("ann@example.com").await;
    for (path, sent) in [("/api/v1/files", ""), ("/api/v1/usage", "nonsense"), ("/nowhere", "")] {
        assert!(app.get(path, sent).await.status.is_client_error());
    }
    let upload = app.upload("nonsense", &[]).await;
    refused(upload, 3).await;
    let body = refused(app.get("/nowhere", "").await, 3).await;
    assert!(body["detail"].is_string() && body.get("error").is_none(), "{body}");
    app.get("/api/v1/files", &token).await.expect(200);
    app.get("/health", "").await.expect(200);
    let health = app.get("/readiness", "").await.expect(200);
    assert_eq!(health.header("x-ratelimit-limit"), "", "what is not limited says nothing of limits");
}

#[tokio::test]
async fn a_key_with_a_rate_of_its_own_has_that_alone() {
    let app = app(|rates| (rates.uploads, rates.other) = (rate("1/h"), rate("4/min"))).await;
    let token = app.user("ann@example.com").await;
    let key = async || app.post("/api/v1/auth/api-keys", &token, &json!({"name": "script"})).await;
    let (script, browser) = (key().await.expect(201).json().await, key().await.expect(201).json().await);
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    let id = script["id"].as_str().unwrap().parse().unwrap();
    app.storage.api_keys.set_rate(owner, id, NonZeroU32::new(6).unwrap()).await.unwrap();
    let listed = app.get("/api/v1/auth/api-keys", &token).await.expect(200).json().await;
    assert_eq!(listed["items"][1]["requests_per_minute"], 6);
    assert!(listed["items"][0]["requests_per_minute"].is_null());

    let (script, browser) = (script["key"].as_str().unwrap(), browser["key"].as_str().unwrap());
    for _ in 0..3 {
        app.file(script, "a.txt", b"words").await;
        let answer = app.get("/api/v1/files", script).await.expect(200);
        assert_eq!(number(&answer, "x-ratelimit-limit"), 6);
    }
    refused(app.upload(script, &[]).await, 6).await;
    refused(app.get("/api/v1/files", script).await, 6).await;
    // Another key counts with its owner, to whom the script left everything.
    app.file(browser, "a.txt", b"words").await;
    refused(app.upload(&token, &[]).await, 1).await;
}

#[tokio::test]
async fn pages_of_other_origins_may_read_how_they_stand() {
    let app = app(|_| {}).await;
    let from = request(Method::GET, "/api/v1/files", "").header("origin", "https://app.example");
    let exposed = app.send(from.finish()).await.header("access-control-expose-headers").to_owned();
    for header in ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"] {
        assert!(exposed.contains(header), "{exposed}");
    }
}

#[tokio::test]
async fn without_rates_nobody_is_limited() {
    let app = TestApp::new().await;
    for _ in 0..7 {
        let answer = login(&app).await.expect(401);
        assert_eq!(answer.header("x-ratelimit-limit"), "");
    }
}

#[test]
fn the_document_announces_the_limits_of_each_operation() {
    let document: Value = serde_json::from_str(&api::openapi()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let unlimited = ["/health", "/readiness", "/metrics"].contains(&path.as_str());
            assert_eq!(operation["responses"].get("429").is_none(), unlimited, "{method} {path}");
        }
    }
}

async fn server(trusted: &[&str]) -> Server {
    let change = |services: &mut Services| {
        services.config.rates = Some(rates());
        services.config.trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
    };
    Server::start(change).await
}

/// The status of a login that a proxy sends for this client.
async fn forwarded(server: &Server, client: &str) -> String {
    let (head, _) = server
        .exchange(format!(
            "POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\
             X-Forwarded-For: {client}\r\n\r\n"
        ))
        .await;
    head.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn the_clients_of_a_trusted_proxy_count_for_themselves() {
    let server = server(&["127.0.0.0/8"]).await;
    for _ in 0..5 {
        assert_eq!(forwarded(&server, "203.0.113.1").await, "415");
    }
    assert_eq!(forwarded(&server, "203.0.113.1").await, "429");
    assert_eq!(forwarded(&server, "192.0.2.1, 203.0.113.1").await, "429");
    assert_eq!(forwarded(&server, "203.0.113.2").await, "415");
}

#[tokio::test]
async fn a_client_that_still_sends_learns_that_it_is_refused() {
    let server = server(&[]).await;
    let token = server.user().await;
    for _ in 0..10 {
        let (head, _) = upload(&server, &token, 0).await;
        assert!(!head.starts_with("HTTP/1.1 429"), "{head}");
    }
    let (head, body) = upload(&server, &token, 32 << 20).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(body.contains("rate_limit_exceeded"), "{body}");
}

#[tokio::test]
async fn nobody_else_is_believed_about_where_a_request_comes_from() {
    let server = server(&["10.0.0.0/8"]).await;
    for client in 0..5 {
        assert_eq!(forwarded(&server, &format!("203.0.113.{client}")).await, "415");
    }
    assert_eq!(forwarded(&server, "203.0.113.9").await, "429");
}

#[tokio::test]
async fn a_role_may_have_a_rate_of_its_own() {
    let app = app(|rates| rates.roles = vec![(Role::Admin, rate("3/min"))]).await;
    let (ann, root) = (app.user("ann@example.com").await, app.user("root@example.com").await);
    app.storage.users.set_role("root@example.com", Role::Admin).await.unwrap();
    let usage = app.get("/api/v1/usage", &root).await.expect(200);
    assert_eq!(number(&usage, "x-ratelimit-limit"), 3);
    let rates = usage.json().await["rate_limits"].take();
    assert_eq!((&rates["own"], &rates["other"]), (&json!(true), &json!("3/min")));
    assert_eq!((&rates["processing"], &rates["auth"]), (&json!("3/min"), &json!("5/min")));
    // One count for all that they do.
    app.post("/api/v1/process/transcribe", &root, &json!({})).await.expect(400);
    app.get("/api/v1/files", &root).await.expect(200);
    refused(app.get("/api/v1/files", &root).await, 3).await;
    app.get("/api/v1/files", &ann).await.expect(200);

    let usage = app.get("/api/v1/usage", &ann).await.expect(200).json().await;
    let rates = json!({"auth": "5/min", "voiceera_auth": "10/min", "uploads": "10/h", "processing": "20/h",
        "wide": "6000/min", "imports": "10000/min", "other": "100/min", "own": false});
    assert_eq!(usage["rate_limits"], rates);
}

#[tokio::test]
async fn usage_tells_the_rate_of_the_key_that_asks() {
    let app = app(|_| {}).await;
    let ann = app.user("ann@example.com").await;
    let owner = app.storage.users.by_email("ann@example.com").await.unwrap().unwrap().id;
    let (key, plain) = app.storage.api_keys.create(owner, "script", None).await.unwrap();
    app.storage.api_keys.set_rate(owner, key.id, NonZeroU32::new(600).unwrap()).await.unwrap();
    let rates = async |token: &str| {
        app.get("/api/v1/usage", token).await.expect(200).json().await["rate_limits"].take()
    };
    assert_eq!(rates(&plain).await["uploads"], "600/min");
    assert_eq!(rates(&ann).await["uploads"], "10/h");
    let (app, token) = TestApp::with_user().await;
    assert_eq!(app.get("/api/v1/usage", &token).await.expect(200).json().await["rate_limits"], Value::Null);
}

#[tokio::test]
async fn what_is_imported_faster_than_its_rate_waits_and_holds_up_nobody_else() {
    let app = app(|rates| rates.imports = rate("12/h")).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let lines: String = (0..500).map(|number| format!("+1415555{number:04},completed\n")).collect();
    let csv = format!("phone_number,status\n{lines}");
    assert!((10_000..12_000).contains(&csv.len()), "{}", csv.len());
    let import = async |token: &str| {
        let sent = request(Method::POST, "/call-logs/import", token).content_type("text/csv");
        app.send(sent.body(csv.clone())).await.expect(200).json().await["imported"].clone()
    };
    assert_eq!(import(&ann).await, 500);
    tokio::select! {
        biased;
        imported = import(&ann) => panic!("Ann has had her share of this hour: {imported}"),
        imported = import(&bob) => assert_eq!(imported, 500),
    }
}

#[tokio::test]
async fn two_imports_of_a_user_may_wait_and_they_end_with_the_server() {
    let app = app(|rates| rates.imports = rate("3/h")).await;
    let ann = app.user("ann@example.com").await;
    let csv = format!("phone_number,status\n{}", "+14155550100,completed\n".repeat(100));
    let import = async || {
        let sent = request(Method::POST, "/call-logs/import", &ann).content_type("text/csv");
        app.send(sent.body(csv.clone())).await
    };
    import().await.expect(200);
    let mut imports: FuturesUnordered<_> = (0..3).map(|_| import()).collect();
    let one_too_many = imports.next().await.unwrap().expect(429);
    assert_eq!(one_too_many.header("retry-after"), "60");
    app.shutdown.cancel();
    while let Some(cut_off) = imports.next().await {
        let said = cut_off.expect(503).json().await;
        assert_eq!(said["error"]["code"], "SERVER_002", "{said}");
    }
    import().await.expect(503);
}
