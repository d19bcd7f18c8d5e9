use std::time::Duration;

use futures_util::StreamExt;
use pipeline::failure::Failure;
use pipeline::parameters::{JobKind, LONGEST_TEXT};
use poem::Body;
use poem::http::Method;
use serde_json::{Value, json};
use storage::files::FileKind;
use storage::jobs::{Claim, Completion, NewOutput};

use crate::client::{Answer, PUBLIC_URL, request};
use crate::doubles::{BUILTIN, wav};
use crate::fixture::Fixture;

impl Fixture {
    async fn post(&self, path: &str, body: Value) -> Answer {
        self.app.post(&format!("/api/v1/process/{path}"), &self.token, &body).await
    }

    /// An accepted extract-audio job.
    async fn job(&self) -> String {
        let accepted =
            self.post("extract-audio", json!({"video_file_id": self.video})).await.expect(202).json().await;
        accepted["job_id"].as_str().unwrap().to_owned()
    }

    async fn status(&self, job: &str) -> Value {
        self.app.get(&format!("/api/v1/process/status/{job}"), &self.token).await.expect(200).json().await
    }

    /// Begins the only job that is due.
    async fn claim(&self) -> Claim {
        let jobs = &self.app.storage.jobs;
        let due = jobs.dispatch(JobKind::ExtractAudio, 1).await.unwrap();
        jobs.claim(due[0], "a worker").await.unwrap().unwrap()
    }

    async fn complete(&self, claim: &Claim) {
        let object_key = claim.lease.object_key("sound.mp3").unwrap();
        let mut staging = self.app.storage.objects.stage().await.unwrap();
        tokio::io::copy(&mut b"sound".as_slice(), &mut staging).await.unwrap();
        let staged = staging.finish().await.unwrap();
        let (size_bytes, sha256) = (staged.size_bytes, staged.sha256.clone());
        self.app.storage.objects.publish(staged, &object_key).await.unwrap();
        let text = NewOutput {
            filename: "notes.txt".into(),
            content_type: "text/plain".into(),
            kind: FileKind::Text,
            media: None,
            object_key: claim.lease.object_key("notes.txt").unwrap(),
            size_bytes: 1,
            sha256: "00".into(),
        };
        let sound = NewOutput {
            filename: "sound.mp3".into(),
            content_type: "audio/mpeg".into(),
            kind: FileKind::Audio,
            object_key,
            size_bytes,
            sha256,
            ..text.clone()
        };
        let result = json!({"codec": "mp3", "files": "ours"});
        let completion = Completion { outputs: vec![text, sound], result };
        assert!(self.app.storage.jobs.complete(&claim.lease, completion).await.unwrap());
    }
}

#[tokio::test]
async fn the_documents_own_requests_are_accepted() {
    let f = Fixture::new().await;
    for (kind, body) in [
        ("extract-audio", json!({"video_file_id": f.video, "audio_format": "wav", "sample_rate": 44100})),
        ("transcribe", json!({"audio_file_id": f.sound, "source_language": "en", "model": "whisper-large"})),
        ("transcribe", json!({"audio_file_id": f.video, "source_language": "auto", "diarize": false})),
        (
            "clone-voice",
            json!({"audio_file_id": f.sound, "target_language": "es", "voice_profile_id": BUILTIN,
            "text_content": "Translated text to speak"}),
        ),
        (
            "clone-voice",
            json!({"audio_file_id": f.sound, "segments": [{"start": 0, "end": 1.5, "text": "Hi"}]}),
        ),
        (
            "generate-video",
            json!({"original_video_id": f.video, "cloned_audio_id": f.sound, "output_format": "mp4",
            "quality": "high"}),
        ),
    ] {
        let answer = f.post(kind, body).await.expect(202);
        let location = answer.header("location").to_owned();
        let accepted = answer.json().await;
        let job = accepted["job_id"].as_str().unwrap();
        assert_eq!(
            (&accepted["kind"], &accepted["status"], &accepted["progress"]),
            (&json!(kind), &json!("queued"), &json!(0))
        );
        assert_eq!(accepted["status_url"], format!("{PUBLIC_URL}/api/v1/process/status/{job}"));
        assert_eq!(accepted["status_url"], location);
        let status = f.status(job).await;
        assert_eq!(status["created_at"], accepted["created_at"]);
        for field in [
            "stage",
            "estimated_completion",
            "result_url",
            "result",
            "error",
            "started_at",
            "finished_at",
            "parent_id",
        ] {
            assert!(status.get(field).is_some_and(Value::is_null), "{field} of {status}");
        }
        assert!(
            status["queue_position"].is_u64() && status["children"] == json!([]) && status["attempts"] == 0
        );
    }
}

#[tokio::test]
async fn the_longest_text_may_be_sent_escaped() {
    let f = Fixture::new().await;
    let text = r"\ud835\udc9c".repeat(LONGEST_TEXT);
    let body = format!(r#"{{"audio_file_id": {}, "text_content": "{text}"}}"#, f.sound);
    f.app.post_bytes("/api/v1/process/clone-voice", &f.token, body).await.expect(202);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_at_the_door() {
    let f = Fixture::new().await;
    for (kind, body, field) in [
        ("extract-audio", json!({}), "video_file_id"),
        ("extract-audio", json!({"video_file_id": "x"}), "video_file_id"),
        ("extract-audio", json!({"video_file_id": f.video, "audio_format": "midi"}), "audio_format"),
        (
            "extract-audio",
            json!({"video_file_id": f.video, "audio_format": "opus", "sample_rate": 44100}),
            "sample_rate",
        ),
        ("extract-audio", json!({"video_file_id": f.video, "sample_rate": 1}), "sample_rate"),
        ("extract-audio", json!({"video_file_id": f.video, "channels": 3}), "channels"),
        ("extract-audio", json!({"video_file_id": f.video, "callback_url": "ftp://x"}), "callback_url"),
        ("transcribe", json!({"audio_file_id": f.sound, "diarize": true}), "diarize"),
        ("transcribe", json!({"audio_file_id": f.sound, "source_language": "english"}), "source_language"),
        ("transcribe", json!({"audio_file_id": f.sound, "output_formats": ["doc"]}), "output_formats.0"),
        ("clone-voice", json!({"audio_file_id": f.sound}), "text_content"),
        ("clone-voice", json!({"text_content": "Hi"}), "audio_file_id"),
        (
            "clone-voice",
            json!({"audio_file_id": f.sound, "text_content": "Hi", "engine": "pocket"}),
            "engine",
        ),
        ("clone-voice", json!({"audio_file_id": f.sound, "text_content": "Hi", "speed": 9}), "speed"),
        (
            "clone-voice",
            json!({"audio_file_id": f.sound, "segments": [{"start": 2, "end": 1, "text": "a"}]}),
            "segments.0.end",
        ),
        (
            "generate-video",
            json!({"original_video_id": f.sound, "cloned_audio_id": f.sound}),
            "original_video_id",
        ),
        (
            "generate-video",
            json!({"original_video_id": f.video, "cloned_audio_id": f.sound, "burn_subtitles": true}),
            "subtitles_file_id",
        ),
        (
            "generate-video",
            json!({"original_video_id": f.video, "cloned_audio_id": f.sound, "subtitles_file_id": f.sound}),
            "subtitles_file_id",
        ),
    ] {
        f.post(kind, body).await.invalid(field).await;
    }
    let absent = f.post("transcribe", json!({"audio_file_id": f.sound, "model": "absent"})).await;
    let absent = absent.error(409, "model_unavailable").await;
    assert!(absent["message"].as_str().unwrap().contains("voxmill models pull absent"));
    let jobs = f.app.get("/api/v1/process/jobs", &f.token).await.expect(200).json().await;
    assert_eq!(jobs["items"], json!([]));
}

#[tokio::test]
async fn anothers_files_and_jobs_are_as_good_as_none() {
    let f = Fixture::new().await;
    let job = f.job().await;
    let stranger = f.app.user("bob@example.com").await;
    let body = json!({"video_file_id": f.video});
    let answer =
        f.app.post("/api/v1/process/extract-audio", &stranger, &body).await.error(404, "not_found").await;
    assert_eq!(answer["details"]["field"], "video_file_id");
    for path in ["status/ID", "jobs/ID/events"] {
        let path = format!("/api/v1/process/{}", path.replace("ID", &job));
        f.app.get(&path, &stranger).await.error(404, "not_found").await;
    }
    for path in ["cancel", "retry"] {
        let path = format!("/api/v1/process/jobs/{job}/{path}");
        f.app.post_bytes(&path, &stranger, "").await.error(404, "not_found").await;
    }
    assert_eq!(f.app.get("/api/v1/process/jobs", &stranger).await.json().await["items"], json!([]));
    f.app.get("/api/v1/process/status/nonsense", &f.token).await.error(404, "not_found").await;
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job() {
    let f = Fixture::new().await;
    let send = async |key: &str, body: &str| {
        let request = request(Method::POST, "/api/v1/process/extract-audio", &f.token)
            .content_type("application/json")
            .header("idempotency-key", key);
        f.app.send(request.body(body.to_owned())).await
    };
    let body = format!("{{\"video_file_id\": {}, \"channels\": 1}}", f.video);
    let reordered = format!("{{ \"channels\":1, \"sample_rate\": null, \"video_file_id\":{} }}", f.video);
    let first = send("k", &body).await.expect(202).json().await;
    assert_eq!(first, send("k", &reordered).await.expect(202).json().await);
    assert_ne!(first, send("l", &body).await.expect(202).json().await);
    send("k", &body.replace('1', "2")).await.error(409, "conflict").await;
    send("", &body).await.invalid("Idempotency-Key").await;
    send(&"k".repeat(256), &body).await.invalid("Idempotency-Key").await;
    let stranger = f.app.user("bob@example.com").await;
    let sound = f.app.file(&stranger, "b.wav", &wav(100)).await["id"].clone();
    let request = request(Method::POST, "/api/v1/process/extract-audio", &stranger)
        .content_type("application/json")
        .header("idempotency-key", "k")
        .body(json!({"video_file_id": sound}).to_string());
    f.app.send(request).await.expect(202);
}

#[tokio::test]
async fn a_job_shows_how_far_it_is_and_what_it_made() {
    let f = Fixture::new().await;
    let job = f.job().await;
    assert_eq!(f.status(&job).await["queue_position"], 1);
    let claim = f.claim().await;
    f.app.storage.jobs.renew(&claim.lease, 40.0, "extracting").await.unwrap();
    let running = f.status(&job).await;
    assert_eq!(
        (&running["status"], &running["progress"], &running["stage"], &running["attempts"]),
        (&json!("processing"), &json!(40), &json!("extracting"), &json!(1))
    );
    assert!(running["estimated_completion"].is_string() && running["queue_position"].is_null());
    f.complete(&claim).await;
    let done = f.status(&job).await;
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)));
    assert_eq!(done["result"]["codec"], "mp3");
    let files = done["result"]["files"].as_array().unwrap();
    assert_eq!(
        (files.len(), &files[0]["filename"], &files[1]["filename"]),
        (2, &json!("sound.mp3"), &json!("notes.txt"))
    );
    f.app
        .post_bytes(&format!("/api/v1/process/jobs/{job}/cancel"), &f.token, "")
        .await
        .error(409, "conflict")
        .await;
    let sound = f.app.get(done["result_url"].as_str().unwrap(), "").await.expect(200);
    assert_eq!(sound.bytes().await, b"sound");
}

#[tokio::test]
async fn jobs_are_cancelled_and_retried() {
    let f = Fixture::new().await;
    let job = f.job().await;
    let act = async |action: &str| {
        f.app.post_bytes(&format!("/api/v1/process/jobs/{job}/{action}"), &f.token, "").await
    };
    act("retry").await.error(409, "conflict").await;
    let claim = f.claim().await;
    let failure = Failure::permanent("media_truncated", "The file ends early.");
    assert!(f.app.storage.jobs.fail(&claim.lease, &failure, 0.5).await.unwrap());
    let failed = f.status(&job).await;
    assert_eq!(
        failed["error"],
        json!({"code": "media_truncated", "message": "The file ends early.", "retryable": false})
    );
    assert!(failed["result"].is_null() && failed["finished_at"].is_string());
    assert_eq!(act("retry").await.expect(200).json().await["status"], "queued");
    assert_eq!(act("cancel").await.expect(200).json().await["status"], "cancelled");
    assert_eq!(act("cancel").await.expect(200).json().await["status"], "cancelled", "twice is once");
    act("retry").await.error(409, "conflict").await;

    let listed =
        async |query: &str| f.app.get(&format!("/api/v1/process/jobs{query}"), &f.token).await.json().await;
    assert_eq!(listed("?status=cancelled&kind=extract-audio").await["items"][0]["job_id"], json!(job));
    assert_eq!(listed("?status=queued").await["items"], json!([]));
    f.app.get("/api/v1/process/jobs?status=waiting", &f.token).await.invalid("status").await;
}

#[tokio::test]
async fn a_file_that_a_job_needs_stays() {
    let f = Fixture::new().await;
    let job = f.job().await;
    let path = format!("/api/v1/files/{}", f.video.as_str().unwrap());
    f.app.delete(&path, &f.token).await.error(409, "conflict").await;
    f.app.post_bytes(&format!("/api/v1/process/jobs/{job}/cancel"), &f.token, "").await.expect(200);
    f.app.delete(&path, &f.token).await.expect(204);
}

/// The events of a body, each its id and its job.
pub(crate) async fn next_event(
    body: &mut (impl StreamExt<Item = std::io::Result<bytes::Bytes>> + Unpin),
) -> Option<(i64, Value)> {
    let event =
        tokio::time::timeout(Duration::from_secs(10), body.next()).await.expect("an event in time")?.unwrap();
    let event = String::from_utf8(event.to_vec()).unwrap();
    let field = |name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{event}"))
    };
    assert_eq!(field("event: "), "status");
    Some((field("id: ").parse().unwrap(), serde_json::from_str(field("data: ")).unwrap()))
}

impl Fixture {
    async fn follow(&self, job: &str, last: Option<i64>) -> Body {
        let answer = self.follow_after(job, last).await.expect(200);
        assert_eq!(answer.header("content-type"), "text/event-stream");
        answer.into_body()
    }

    async fn follow_after(&self, job: &str, last: Option<i64>) -> Answer {
        let mut request = request(Method::GET, &format!("/api/v1/process/jobs/{job}/events"), &self.token);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        self.app.send(request.finish()).await
    }
}

#[tokio::test]
async fn events_tell_every_change_until_the_end() {
    let f = Fixture::new().await;
    let job = f.job().await;
    let mut events = f.follow(&job, None).await.into_bytes_stream();
    let (first, shown) = next_event(&mut events).await.unwrap();
    assert_eq!((&shown["job_id"], &shown["status"]), (&json!(job), &json!("queued")));
    let claim = f.claim().await;
    let mut last = (first, shown);
    while last.1["status"] != "processing" {
        last = next_event(&mut events).await.unwrap();
    }
    assert!(last.0 > first);
    f.complete(&claim).await;
    while last.1["status"] != "completed" {
        last = next_event(&mut events).await.unwrap();
    }
    assert!(next_event(&mut events).await.is_none(), "nothing follows the end");

    let seen = f.follow_after(&job, Some(last.0)).await.expect(204);
    assert!(seen.bytes().await.is_empty(), "what was seen is not sent again");
    let mut missed = f.follow(&job, Some(first)).await.into_bytes_stream();
    assert_eq!(next_event(&mut missed).await.unwrap().1["status"], "completed");
    assert!(next_event(&mut missed).await.is_none());
}

#[tokio::test]
async fn events_end_with_the_login_that_follows_them() {
    let f = Fixture::new().await;
    let login = json!({"email": "ann@example.com", "password": "password123"});
    let other = f.app.post("/api/v1/auth/login", "", &login).await.expect(200).json().await;
    let other = other["access_token"].as_str().unwrap();
    let job = f.job().await;
    let mut events = f.follow(&job, None).await.into_bytes_stream();
    next_event(&mut events).await.unwrap();
    f.app.delete("/api/v1/auth/logout", &f.token).await.expect(204);
    f.app.post_bytes(&format!("/api/v1/process/jobs/{job}/cancel"), other, "").await.expect(200);
    assert!(next_event(&mut events).await.is_none());
}

#[tokio::test]
async fn events_end_when_the_server_stops() {
    let f = Fixture::new().await;
    let job = f.job().await;
    let mut events = f.follow(&job, None).await.into_bytes_stream();
    next_event(&mut events).await.unwrap();
    f.app.shutdown.cancel();
    assert!(next_event(&mut events).await.is_none());
}
