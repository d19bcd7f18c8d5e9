//! Tokens for rooms of the media server.

use api::{Guests, LiveKit};
use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::client::TestApp;

const SECRET: &str = "a secret that the media server knows too";

async fn app(guests: Guests) -> TestApp {
    TestApp::with(|config| {
        config.guests = guests;
        config.livekit = Some(LiveKit {
            url: Some("wss://livekit.example".to_owned()),
            api_key: "key".to_owned(),
            api_secret: SECRET.to_owned(),
        });
    })
    .await
}

/// What the media server reads, having checked the signature, the issuer and the times.
fn claims(answer: &Value) -> Value {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&["key"]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "sub"]);
    validation.validate_nbf = true;
    let key = DecodingKey::from_secret(SECRET.as_bytes());
    decode::<Value>(answer["token"].as_str().unwrap(), &key, &validation).unwrap().claims
}

#[tokio::test]
async fn the_documents_own_request_opens_its_room_and_no_other() {
    let app = app(Guests::Welcome).await;
    let answer =
        app.get("/token?room=quickstart&identity=user123&name=John", "").await.expect(200).json().await;
    assert_eq!(answer["url"], "wss://livekit.example");
    let claims = claims(&answer);
    let now = Utc::now().timestamp();
    let (begin, end) = (claims["nbf"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((now - 60..=now).contains(&begin) && end == begin + 3600, "{claims}");
    assert_eq!(
        claims,
        json!({"iss": "key", "sub": "user123", "name": "John", "nbf": begin, "exp": end,
            "video": {"roomJoin": true, "room": "quickstart"}})
    );
}

#[tokio::test]
async fn any_text_names_a_room_and_a_speaker() {
    let app = app(Guests::Welcome).await;
    let path = "/token?room=K%C3%BCche%20%26%20Flur&identity=%F0%9F%A6%8A";
    let claims = claims(&app.get(path, "").await.expect(200).json().await);
    assert_eq!((&claims["video"]["room"], &claims["sub"]), (&json!("Küche & Flur"), &json!("🦊")));
    assert!(claims.get("name").is_none());
}

#[tokio::test]
async fn an_identity_that_another_account_holds_is_refused() {
    let app = app(Guests::Welcome).await;
    let (ann, bob) = (app.user("ann@example.com").await, app.user("bob@example.com").await);
    let path = "/token?room=den&identity=speaker";
    app.get(path, "").await.expect(200);
    app.get(path, &ann).await.expect(200);
    for stranger in [bob.as_str(), ""] {
        let body = app.get(path, stranger).await.expect(409).json().await;
        assert!(body["detail"].is_string(), "{body}");
    }
    app.get(path, &ann).await.expect(200);
    app.get("/token?room=hall&identity=speaker", &bob).await.expect(200);
}

#[tokio::test]
async fn guests_may_be_kept_out() {
    let app = app(Guests::KeptOut).await;
    let path = "/token?room=den&identity=speaker";
    let body = app.get(path, "").await.expect(401).json().await;
    assert_eq!(body, json!({"detail": "Authentication credentials were not provided."}));
    let user = app.user("ann@example.com").await;
    app.get(path, &user).await.expect(200);
}

#[tokio::test]
async fn a_token_that_is_no_good_makes_no_guest() {
    let app = app(Guests::Welcome).await;
    let body = app.get("/token?room=den&identity=speaker", "nonsense").await.expect(401).json().await;
    assert_eq!(body, json!({"detail": "Invalid token."}));
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named() {
    let app = app(Guests::Welcome).await;
    let long_identity = format!("room=a&identity={}", "x".repeat(129));
    let long_name = format!("room=a&identity=b&name={}", "x".repeat(201));
    for (query, field) in [
        ("identity=a", "room"),
        ("room=a", "identity"),
        ("room=&identity=a", "room"),
        ("room=a&identity=%00", "identity"),
        (long_identity.as_str(), "identity"),
        (long_name.as_str(), "name"),
    ] {
        let body = app.get(&format!("/token?{query}"), "").await.expect(400).json().await;
        assert!(body[field][0].is_string(), "{query}: {body}");
    }
}

#[tokio::test]
async fn without_a_media_server_there_are_no_tokens() {
    let app = TestApp::new().await;
    let body = app.get("/token?room=den&identity=speaker", "").await.expect(503).json().await;
    assert_eq!(body, json!({"detail": "No LiveKit server is configured"}));
}
