use poem::http::Method;
use serde_json::{Value, json};

use crate::client::{Answer, PUBLIC_URL, request};
use crate::doubles::BUILTIN;
use crate::fixture::Fixture;

const PATH: &str = "/api/v1/process/batch";

impl Fixture {
    async fn post_batch(&self, body: &Value) -> Answer {
        self.app.post(PATH, &self.token, body).await
    }

    async fn jobs(&self, query: &str) -> Value {
        self.app.get(&format!("/api/v1/process/jobs{query}"), &self.token).await.expect(200).json().await
    }

    fn one_of_each(&self) -> Vec<Value> {
        vec![
            json!({"kind": "extract-audio", "video_file_id": self.video, "channels": null}),
            json!({"kind": "transcribe", "audio_file_id": self.sound, "callback_url": "https://example.com/"}),
            json!({"kind": "clone-voice", "voice_profile_id": BUILTIN, "text_content": "Hello"}),
            json!({"kind": "generate-video", "original_video_id": self.video, "cloned_audio_id": self.sound}),
        ]
    }
}

#[tokio::test]
async fn jobs_of_all_kinds_are_accepted_in_order() {
    let f = Fixture::new().await;
    let answer = f.post_batch(&json!({"jobs": f.one_of_each()})).await.expect(202);
    let location = answer.header("location").to_owned();
    let accepted = answer.json().await;
    let id = accepted["batch_id"].as_str().unwrap();
    assert_eq!(accepted["status_url"], format!("{PUBLIC_URL}{PATH}/{id}"));
    assert_eq!(accepted["status_url"], location);
    let kinds: Vec<_> = accepted["jobs"].as_array().unwrap().iter().map(|job| &job["kind"]).collect();
    assert_eq!(kinds, ["extract-audio", "transcribe", "clone-voice", "generate-video"]);
    assert!(accepted["jobs"][0]["job_id"].is_string() && accepted["jobs"][3]["status"] == "queued");

    let path = format!("{PATH}/{id}");
    let mut batch = f.app.get(&path, &f.token).await.expect(200).json().await;
    assert!(batch["created_at"].take().is_string());
    let counts = json!({"queued": 4, "processing": 0, "completed": 0, "failed": 0, "cancelled": 0});
    let expected = json!({"batch_id": id, "status": "queued", "jobs": counts, "total": 4, "progress": 0,
        "created_at": null, "finished_at": null});
    assert_eq!(batch, expected);

    let of_batch = f.jobs(&format!("?batch={id}&kind=transcribe&status=queued")).await;
    assert_eq!(of_batch["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&of_batch["items"][0]["batch_id"], &of_batch["items"][0]["kind"]),
        (&json!(id), &json!("transcribe"))
    );
    let page = f.jobs(&format!("?batch={id}&limit=3")).await;
    let next = format!("?batch={id}&limit=3&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(f.jobs(&next).await["items"][0]["job_id"], accepted["jobs"][0]["job_id"]);
    f.app.get("/api/v1/process/jobs?batch=x", &f.token).await.invalid("batch").await;

    for job in accepted["jobs"].as_array().unwrap() {
        let cancel = format!("/api/v1/process/jobs/{}/cancel", job["job_id"].as_str().unwrap());
        f.app.post(&cancel, &f.token, &json!({})).await.expect(200);
    }
    let batch = f.app.get(&path, &f.token).await.expect(200).json().await;
    assert_eq!((&batch["status"], &batch["progress"]), (&json!("completed"), &json!(100)));
    assert!(batch["finished_at"].is_string() && batch["jobs"]["cancelled"] == 4);

    let stranger = f.app.user("bob@example.com").await;
    f.app.get(&path, &stranger).await.error(404, "not_found").await;
    f.app.get(&format!("{PATH}/x"), &f.token).await.error(404, "not_found").await;
    let theirs = f.app.get(&format!("/api/v1/process/jobs?batch={id}"), &stranger).await;
    assert_eq!(theirs.expect(200).json().await["items"], json!([]));
}

#[tokio::test]
async fn one_that_is_refused_refuses_all_by_name() {
    let f = Fixture::new().await;
    let good = || json!({"kind": "transcribe", "audio_file_id": f.sound});
    let with = |job: Value| json!({"jobs": [good(), good(), good(), job]});
    let nothing = uuid::Uuid::new_v4();
    for (job, field) in [
        (json!(1), "jobs[3]"),
        (json!({"audio_file_id": f.sound}), "jobs[3].kind"),
        (json!({"kind": "deliver-webhook"}), "jobs[3].kind"),
        (json!({"kind": 7}), "jobs[3].kind"),
        (json!({"kind": "transcribe"}), "jobs[3].audio_file_id"),
        (json!({"kind": "transcribe", "audio_file_id": "x"}), "jobs[3].audio_file_id"),
        (json!({"kind": "transcribe", "audio_file_id": f.sound, "prompt": "\0"}), "jobs[3].prompt"),
        (
            json!({"kind": "transcribe", "audio_file_id": f.sound, "source_language": "xxxx"}),
            "jobs[3].source_language",
        ),
        (json!({"kind": "transcribe", "audio_file_id": f.sound, "diarize": true}), "jobs[3].diarize"),
        (
            json!({"kind": "transcribe", "audio_file_id": f.sound, "callback_url": "ftp://x/"}),
            "jobs[3].callback_url",
        ),
        (json!({"kind": "extract-audio", "video_file_id": f.video, "channels": 1e300}), "jobs[3].channels"),
        (
            json!({"kind": "clone-voice", "voice_profile_id": BUILTIN, "segments": [{"start": -1, "end": 1, "text": "a"}]}),
            "jobs[3].segments.0.start",
        ),
        (
            json!({"kind": "generate-video", "original_video_id": f.sound, "cloned_audio_id": f.sound}),
            "jobs[3].original_video_id",
        ),
    ] {
        f.post_batch(&with(job)).await.invalid(field).await;
    }
    let missing = f.post_batch(&with(json!({"kind": "transcribe", "audio_file_id": nothing}))).await;
    let missing = missing.error(404, "not_found").await;
    assert_eq!(missing["details"]["field"], "jobs[3].audio_file_id");

    let thousand = |count: usize| json!({"jobs": vec![good(); count]});
    for (body, field) in [
        (json!({}), "jobs"),
        (json!({"jobs": []}), "jobs"),
        (json!({"jobs": {}}), "jobs"),
        (thousand(1001), "jobs"),
    ] {
        f.post_batch(&body).await.invalid(field).await;
    }
    assert_eq!(f.jobs("").await["items"], json!([]), "nothing is stored");
    let large = json!({"jobs": [good()], "more": "x".repeat(8 << 20)});
    f.post_batch(&large).await.error(413, "payload_too_large").await;
    let accepted = f.post_batch(&thousand(1000)).await.expect(202).json().await;
    assert_eq!(accepted["jobs"].as_array().unwrap().len(), 1000);
}

#[tokio::test]
async fn a_key_covers_the_whole_batch() {
    let f = Fixture::new().await;
    let send = async |path: &str, body: &Value| {
        let request = request(Method::POST, path, &f.token)
            .content_type("application/json")
            .header("idempotency-key", "k")
            .body(body.to_string());
        f.app.send(request).await
    };
    let body = json!({"jobs": f.one_of_each()});
    let first = send(PATH, &body).await.expect(202).json().await;
    assert_eq!(first, send(PATH, &body).await.expect(202).json().await);
    let fewer = json!({"jobs": f.one_of_each()[..3]});
    send(PATH, &fewer).await.error(409, "conflict").await;
    let single = json!({"audio_file_id": f.sound});
    send("/api/v1/process/transcribe", &single).await.error(409, "conflict").await;
    assert_eq!(f.jobs("").await["items"].as_array().unwrap().len(), 4);
}
