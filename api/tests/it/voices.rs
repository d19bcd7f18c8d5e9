use serde_json::{Value, json};

use crate::client::TestApp;
use crate::doubles::{BUILTIN, wav};

async fn create(app: &TestApp, token: &str, sample: &Value) -> crate::client::Answer {
    let body = json!({"name": "Mine", "audio_sample_id": sample["id"], "language": "de", "gender": "female",
        "description": "For talks", "consent": {"statement": "I agree", "by": null}});
    app.post("/api/v1/voices/create-profile", token, &body).await
}

#[tokio::test]
async fn a_recording_becomes_a_voice_that_outlives_it() {
    let (app, token) = TestApp::with_user().await;
    let sample = app.file(&token, "me.wav", &wav(4000)).await;
    let voice = create(&app, &token, &sample).await.expect(201).json().await;
    assert_eq!(voice["builtin"], false);
    assert_eq!(voice["consent"], json!({"statement": "I agree", "by": null}));
    let path = format!("/api/v1/voices/profiles/{}", voice["id"].as_str().unwrap());
    assert_eq!(app.get(&path, &token).await.expect(200).json().await, voice);

    app.delete(&format!("/api/v1/files/{}", sample["id"].as_str().unwrap()), &token).await.expect(204);
    let preview = format!("/api/v1/voices/preview/{}?text=Hallo", voice["id"].as_str().unwrap());
    let wav = app.get(&preview, &token).await.expect(200);
    assert_eq!(wav.header("content-type"), "audio/wav");
    assert!(String::from_utf8(wav.bytes().await).unwrap().starts_with("RIFF 4000 bytes de Hallo"));

    let stranger = app.user("bob@example.com").await;
    app.get(&path, &stranger).await.error(404, "not_found").await;
    app.get(&preview, &stranger).await.error(404, "not_found").await;
    app.delete(&path, &stranger).await.error(404, "not_found").await;
    app.delete(&path, &token).await.expect(204);
    app.get(&path, &token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn voices_are_listed_and_filtered() {
    let (app, token) = TestApp::with_user().await;
    let sample = app.file(&token, "me.wav", &wav(4000)).await;
    let own = create(&app, &token, &sample).await.expect(201).json().await;
    let ids = async |query: &str| {
        let list = app.get(&format!("/api/v1/voices/profiles{query}"), &token).await.expect(200).json().await;
        list["profiles"].as_array().unwrap().iter().map(|voice| voice["id"].clone()).collect::<Vec<_>>()
    };
    let builtin = json!(BUILTIN);
    assert_eq!(ids("").await, [own["id"].clone(), builtin.clone()]);
    assert_eq!(ids("?language=en").await, std::slice::from_ref(&builtin));
    assert_eq!(ids("?language=de").await, [own["id"].clone()]);
    assert_eq!(ids("?gender=male").await, [builtin]);
    assert_eq!(ids("?gender=neutral").await, Vec::<Value>::new());
    app.get("/api/v1/voices/profiles?gender=x", &token).await.invalid("gender").await;
}

#[tokio::test]
async fn a_sample_must_be_speech_of_ones_own() {
    let (app, token) = TestApp::with_user().await;
    let short = app.file(&token, "short.wav", &wav(1200)).await;
    let issue = create(&app, &token, &short).await.invalid("audio_sample_id").await;
    assert_eq!(issue, "holds 1.2 s of speech; at least 3 s are needed");
    let text = app.file(&token, "a.txt", b"hello").await;
    create(&app, &token, &text).await.invalid("audio_sample_id").await;
    let none = create(&app, &token, &json!({"id": BUILTIN})).await.error(404, "not_found").await;
    assert_eq!(none["details"]["field"], "audio_sample_id");
    let stranger = app.user("bob@example.com").await;
    create(&app, &stranger, &short).await.error(404, "not_found").await;
    create(&app, &token, &json!({"id": "x"})).await.invalid("audio_sample_id").await;
}

#[tokio::test]
async fn a_builtin_voice_is_everybodys() {
    let (app, token) = TestApp::with_user().await;
    let path = format!("/api/v1/voices/profiles/{BUILTIN}");
    let voice = app.get(&path, &token).await.expect(200).json().await;
    assert_eq!((&voice["builtin"], &voice["gender"]), (&json!(true), &json!("male")));
    app.delete(&path, &token).await.error(403, "forbidden").await;
}

#[tokio::test]
async fn a_preview_is_spoken_once() {
    let (app, token) = TestApp::with_user().await;
    let preview =
        async |query: &str| app.get(&format!("/api/v1/voices/preview/{BUILTIN}?{query}"), &token).await;
    let first = preview("text=Hello%20%C3%A9").await.expect(200).bytes().await;
    assert_eq!(first, preview("text=Hello%20%C3%A9&language=en").await.expect(200).bytes().await);
    assert_ne!(first, preview("text=Hello%20%C3%A9&language=de").await.expect(200).bytes().await);
    assert_ne!(first, preview("text=Other").await.expect(200).bytes().await);

    assert_eq!(preview("").await.invalid("text").await, "is required");
    preview("text=").await.invalid("text").await;
    preview("text=%20.%20").await.invalid("text").await;
    preview("text=a%00").await.invalid("text").await;
    preview("text=a&language=english").await.invalid("language").await;
    preview("text=a&language=qx").await.invalid("language").await;
    preview(&format!("text={}", "%C3%A9".repeat(501))).await.invalid("text").await;
    preview(&format!("text={}", "%C3%A9".repeat(500))).await.expect(200);
}
