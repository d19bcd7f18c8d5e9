use std::error::Error;
use std::future::pending;
use std::sync::Arc;

use api::doors::{Letter, Mail};
use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::client::{Answer, PUBLIC_URL, TestApp, request};
use poem::http::Method;

const ASK: &str = "/api/v1/auth/password-reset";

/// Takes letters for the test to read.
struct Letterbox(UnboundedSender<Letter>);

#[async_trait]
impl Mail for Letterbox {
    async fn send(&self, letter: Letter) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.send(letter)?)
    }
}

/// A mail server that never answers.
struct Silence;

#[async_trait]
impl Mail for Silence {
    async fn send(&self, _: Letter) -> Result<(), Box<dyn Error + Send + Sync>> {
        pending().await
    }
}

async fn app() -> (TestApp, UnboundedReceiver<Letter>) {
    let (sender, letters) = unbounded_channel();
    let app = TestApp::serving(|services| services.mail = Some(Arc::new(Letterbox(sender)))).await;
    (app, letters)
}

async fn ask(app: &TestApp, email: &str) -> Answer {
    app.post(ASK, "", &json!({"email": email})).await
}

async fn confirm(app: &TestApp, token: &str, password: &str) -> Answer {
    app.post(&format!("{ASK}/confirm"), "", &json!({"token": token, "password": password})).await
}

async fn log_in(app: &TestApp, password: &str) -> Answer {
    let body = json!({"email": "ann@example.com", "password": password});
    app.post("/api/v1/auth/login", "", &body).await
}

/// The token of the link in the letter.
fn token(letter: &Letter) -> String {
    let start = format!("{PUBLIC_URL}/password-reset?token=");
    let link = letter.text.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
    link.to_owned()
}

#[tokio::test]
async fn a_link_sets_a_new_password_and_ends_every_login() {
    let (app, mut letters) = app().await;
    let old = app.user("ann@example.com").await;
    let account = json!({"email": "ann@example.com", "password": "password123"});
    let session = app.post("/api/auth/login", "", &account).await.expect(200).session();
    let asked = ask(&app, "Ann@Example.com").await.expect(202).json().await;
    assert!(asked["message"].is_string());
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.to.as_str(), letter.subject.as_str()), ("ann@example.com", "Set a new password"));
    let token = token(&letter);

    confirm(&app, &token, "short").await.invalid("password").await;
    app.get("/api/v1/usage", &old).await.expect(200);
    confirm(&app, &token, "another password").await.expect(204);
    app.get("/api/v1/usage", &old).await.error(401, "unauthorized").await;
    let me = request(Method::GET, "/api/auth/me", "").header("cookie", session).finish();
    app.send(me).await.expect(401);
    log_in(&app, "password123").await.error(401, "unauthorized").await;
    log_in(&app, "another password").await.expect(200);
    confirm(&app, &token, "a third password").await.invalid("token").await;

    let events = app.storage.audit.list(None, &storage::page::Page::first()).await.unwrap().items;
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.contains(&"password_reset_asked") && kinds.contains(&"password_reset"), "{kinds:?}");
}

#[tokio::test]
async fn an_unknown_address_is_answered_as_a_known_one() {
    let (app, mut letters) = app().await;
    app.user("ann@example.com").await;
    let known = ask(&app, "ann@example.com").await.expect(202);
    let first = token(&letters.recv().await.unwrap());
    let unknown = ask(&app, "nobody@example.com").await.expect(202);
    assert_eq!(known.json().await, unknown.json().await);
    for nonsense in ["", "nobody", "a\r\nBcc: x@example.com", "ann@example.com\r\nBcc: x@example.com"] {
        ask(&app, nonsense).await.expect(202);
    }
    // The next letter is the next one asked for by who has an account; it voids the first.
    ask(&app, "ann@example.com").await.expect(202);
    let second = letters.recv().await.unwrap();
    assert_eq!(second.to, "ann@example.com");
    assert!(letters.try_recv().is_err());
    confirm(&app, &first, "another password").await.invalid("token").await;
    confirm(&app, &token(&second), "another password").await.expect(204);
}

#[tokio::test]
async fn nobody_waits_for_the_mail_server() {
    let app = TestApp::serving(|services| services.mail = Some(Arc::new(Silence))).await;
    app.user("ann@example.com").await;
    for _ in 0..100 {
        ask(&app, "ann@example.com").await.expect(202);
    }
}

#[tokio::test]
async fn a_reset_takes_what_it_says_and_nothing_else() {
    let (app, _letters) = app().await;
    for wrong in [json!({}), json!({"email": 1}), json!({"email": null}), json!({"email": "x".repeat(255)})] {
        app.post(ASK, "", &wrong).await.invalid("email").await;
    }
    app.post(ASK, "", &json!({"email": "a\u{0}@example.com"})).await.invalid("email").await;
    app.post_bytes(ASK, "", "{").await.invalid("body").await;
    for wrong in [json!({"password": "password123"}), json!({"token": 1, "password": "password123"})] {
        app.post(&format!("{ASK}/confirm"), "", &wrong).await.invalid("token").await;
    }
    confirm(&app, "never ours", "password123").await.invalid("token").await;
    app.get(ASK, "").await.error(405, "method_not_allowed").await;
}

#[tokio::test]
async fn the_page_of_the_link_is_there_and_another_may_be_configured() {
    let (app, _letters) = app().await;
    let page = app.get("/password-reset?token=x", "").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("connect-src 'self'"));
    assert!(page.header("cache-control").contains("no-store"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");

    let (sender, mut letters) = unbounded_channel();
    let app = TestApp::serving(|services| {
        services.mail = Some(Arc::new(Letterbox(sender)));
        services.config.password_reset_url = Some("https://app.example/new?lang=en".to_owned());
    })
    .await;
    app.user("ann@example.com").await;
    ask(&app, "ann@example.com").await.expect(202);
    let letter = letters.recv().await.unwrap();
    assert!(letter.text.contains("\nhttps://app.example/new?lang=en&token="), "{}", letter.text);
}
