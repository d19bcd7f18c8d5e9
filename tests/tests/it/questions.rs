//! An API process without models: it goes by what the workers have, and asks them what only engines can answer.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tests::fleet::{BackEnds, Fleet};
use tests::server::eventually;
use tests::shared_data;
use tests::user::User;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_models_asks_the_workers() {
    let Some(speech) = shared_data("speech/jfk.wav") else { return };
    let back_ends = BackEnds::start();
    let (fleet, no_models) = (Fleet::new(back_ends.settings()), TempDir::new().unwrap());
    let models_dir = no_models.path().to_str().unwrap();
    let api = fleet.api_with(&[("VOXMILL_MODELS_DIR", models_dir), ("VOXMILL_MODELS_STRICT", "on")]);
    let user = api.user().await;
    let sample = user.uploaded(&speech).await;
    let voice = only_builtin(&user).await;

    // Nobody lives, and what is asked for waits for whoever comes.
    refused_at_once(preview(&user, &voice, "Nobody")).await;
    let large = json!({ "audio_file_id": sample, "model": "whisper-large" });
    cancel(&user, &user.start("transcribe", &large).await).await;

    // One of the version before, which knows nothing of questions.
    let mut older = fleet.worker_with(&[("VOXMILL_QUEUES", "clone-voice,transcribe")]);
    eventually("a refusal for want of a model", Duration::from_secs(20), async || {
        let answer = user.post("/api/v1/process/transcribe", &large).await;
        if answer.status == StatusCode::ACCEPTED {
            cancel(&user, answer.body["job_id"].as_str().unwrap()).await;
            return None;
        }
        assert_eq!(answer.expect(StatusCode::CONFLICT)["error"], "model_unavailable");
        Some(())
    })
    .await;
    assert_eq!(only_builtin(&user).await, voice);
    refused_at_once(preview(&user, &voice, "Older")).await;
    let new = json!({ "name": "Mine", "audio_sample_id": sample, "language": "en" });
    refused_at_once(user.request(Method::POST, "/api/v1/voices/create-profile").json(&new)).await;
    assert!(older.terminate().success());

    let mut worker = fleet.worker();
    let profile = eventually("a profile", Duration::from_secs(60), async || {
        let answer = user.post("/api/v1/voices/create-profile", &new).await;
        (answer.status == StatusCode::CREATED).then_some(answer.body)
    })
    .await;
    let heard = profile["speech_seconds"].as_f64().unwrap();
    assert!((5.0..11.5).contains(&heard), "{profile:#}");
    wav(&user, profile["id"].as_str().unwrap(), "Yes").await;
    let job = user.start("transcribe", &json!({ "audio_file_id": sample, "model": "whisper-base" })).await;
    user.in_stage(&job, "transcribing").await;
    let spoken = wav(&user, &voice, "Good morning").await;
    assert_eq!(spoken, wav(&user, &voice, "Good morning").await, "spoken once");
    // It may have ended by now.
    user.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await;
    let jobs = user.get("/api/v1/process/jobs").await.expect(StatusCode::OK);
    let kinds = jobs["items"].as_array().unwrap().iter().map(|job| &job["kind"]);
    assert!(kinds.into_iter().all(|kind| kind == "transcribe"), "{jobs:#}");
    assert!(no_models.path().read_dir().unwrap().next().is_none());

    assert!(worker.terminate().success());
    refused_at_once(preview(&user, &voice, "Gone")).await;
    assert_eq!(wav(&user, &voice, "Good morning").await, spoken, "what was spoken stays");
}

fn preview(user: &User, voice: &str, text: &str) -> RequestBuilder {
    user.request(Method::GET, &format!("/api/v1/voices/preview/{voice}")).query(&[("text", text)])
}

/// The bytes of a preview. To load engines may take a busy machine longer than a request waits; what is loaded by then
/// stays.
async fn wav(user: &User, voice: &str, text: &str) -> Vec<u8> {
    eventually("a preview", Duration::from_secs(120), async || {
        let answer = preview(user, voice, text).send().await.unwrap();
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(answer.status(), StatusCode::OK);
        let bytes = answer.bytes().await.unwrap().to_vec();
        assert!(bytes.starts_with(b"RIFF"));
        Some(bytes)
    })
    .await
}

/// Checks that the request is told what to do, and long before nobody waits for an answer any more.
async fn refused_at_once(request: RequestBuilder) {
    let asked = Instant::now();
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"], "service_unavailable");
    assert!(body["message"].as_str().unwrap().contains("answer-speech"), "{body:#}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
}

async fn cancel(user: &User, job: &str) {
    user.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await.expect(StatusCode::OK);
}

/// The one that everybody has.
async fn only_builtin(user: &User) -> String {
    let voices = user.get("/api/v1/voices/profiles").await.expect(StatusCode::OK);
    let [voice] = voices["profiles"].as_array().unwrap().as_slice() else { panic!("{voices:#}") };
    assert_eq!(voice["builtin"], true);
    voice["id"].as_str().unwrap().to_owned()
}
