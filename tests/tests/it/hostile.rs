//! Inputs that are broken, or meant to break something: each ends in its own refusal, and the server goes on.

mod inputs;

use crate::media;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::server::Server;
use tests::shared_data;
use tests::user::User;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_uploads_are_refused_and_leave_nothing() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start();
    let user = server.user().await;
    let inputs = inputs::all(folder.path(), &talk);
    assert!(inputs.len() >= 30);
    for input in inputs {
        let name = input.name;
        let answer = user.upload_bytes(name, input.bytes).await;
        let body = answer.expect(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let details = json!({ "field": "file", "issue": input.issue });
        assert_eq!(
            (&body["error"], &body["details"]),
            (&json!("unsupported_media_type"), &details),
            "{name}"
        );
        let message = body["message"].as_str().unwrap();
        assert!(!message.contains("/tmp") && !message.contains("SQL"), "{message}");
        assert_eq!(server.stored_files(), Vec::<PathBuf>::new(), "{name} left something");
    }
    assert!(server.children().is_empty());
    alive(&user, &talk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_playlist_under_a_video_s_name_is_text_that_no_job_opens() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let server = Server::start();
    let user = server.user().await;
    let target = talk.display();
    let lists = [
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n"),
        format!("ffconcat version 1.0\nfile '{target}'\n"),
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n".to_owned(),
        format!("<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file://{target}\"/></svg>"),
    ];
    for list in lists {
        let file = user.upload_bytes("playlist.mp4", list.into_bytes()).await.expect(StatusCode::CREATED);
        assert_eq!((&file["kind"], &file["media"]), (&json!("text"), &Value::Null), "{file:#}");
        let body = json!({ "video_file_id": file["file_id"] });
        let refused = user.post("/api/v1/process/extract-audio", &body).await.expect(StatusCode::BAD_REQUEST);
        assert_eq!(refused["details"]["field"], "video_file_id", "{refused:#}");
        // Nor does a browser: it is shown as text, whatever it would like to be.
        let url = file["download_url"].as_str().unwrap();
        let response = reqwest::get(url).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_a_name_is_only_a_name() {
    let Some(talk) = shared_data("speech/jfk.wav") else { return };
    let server = Server::start();
    let user = server.user().await;
    let bytes = std::fs::read(talk).unwrap();
    for (sent, kept) in [
        ("../../../etc/passwd", "passwd"),
        ("C:\\temp\\x.wav", "x.wav"),
        ("concat:a|b;$(id).wav", "concat:a|b;$(id).wav"),
    ] {
        let file = user.upload_bytes(sent, bytes.clone()).await.expect(StatusCode::CREATED);
        assert_eq!(file["filename"], kept);
        let body = json!({ "video_file_id": file["file_id"] });
        user.completed("extract-audio", &body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_fails_its_jobs_with_a_code_of_its_own() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start();
    let user = server.user().await;
    // The header of a Matroska file promises the whole; the probe, which reads no further, believes it.
    let whole = folder.path().join("whole.mkv");
    media::make(&whole, &["-i", talk.to_str().unwrap(), "-c", "copy"]);
    let bytes = std::fs::read(&whole).unwrap();
    let broken = bytes[..bytes.len() / 2].to_vec();
    let answer = user.upload_bytes("broken.mkv", broken).await;
    if answer.status != StatusCode::CREATED {
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{:#}", answer.body);
        return;
    }
    let file = answer.body["file_id"].as_str().unwrap().to_owned();
    let job = user.start("extract-audio", &json!({ "video_file_id": file })).await;
    let status = user.ended(&job).await;
    assert_eq!(status["status"], "failed");
    assert_eq!(status["error"]["code"], "media_truncated", "{status:#}");
    assert_eq!(status["error"]["retryable"], false);
    // What failed for good may still be asked for again by its owner.
    user.post(&format!("/api/v1/process/jobs/{job}/retry"), &json!({})).await.expect(StatusCode::OK);
    assert_eq!(user.ended(&job).await["error"]["code"], "media_truncated");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_are_refused_at_the_door() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let server = Server::start();
    let user = server.user().await;
    let stranger = server.user().await;
    let video = user.uploaded(&talk).await;
    let script = user.upload_bytes("script.txt", b"Just words.".to_vec()).await.expect(StatusCode::CREATED);
    let script = script["file_id"].as_str().unwrap();
    let nobody = "00000000-0000-7000-8000-000000000000";
    let refused = [
        ("extract-audio", json!({}), 400),
        ("extract-audio", json!({ "video_file_id": 7 }), 400),
        ("extract-audio", json!({ "video_file_id": "nonsense" }), 400),
        ("extract-audio", json!({ "video_file_id": nobody }), 404),
        ("extract-audio", json!({ "video_file_id": script }), 400),
        ("extract-audio", json!({ "video_file_id": video, "audio_format": "wma" }), 400),
        ("extract-audio", json!({ "video_file_id": video, "sample_rate": 1 }), 400),
        (
            "extract-audio",
            json!({ "video_file_id": video, "audio_format": "opus", "sample_rate": 44100 }),
            400,
        ),
        ("extract-audio", json!({ "video_file_id": video, "channels": 9 }), 400),
        ("extract-audio", json!({ "video_file_id": video, "callback_url": "ftp://example.com" }), 400),
        ("transcribe", json!({ "audio_file_id": script }), 400),
        ("transcribe", json!({ "audio_file_id": video, "diarize": true }), 400),
        ("transcribe", json!({ "audio_file_id": video, "source_language": "klingon" }), 400),
        ("transcribe", json!({ "audio_file_id": video, "prompt": "a\u{0}b" }), 400),
        ("clone-voice", json!({ "audio_file_id": video }), 400),
        ("clone-voice", json!({ "text_content": "Hello." }), 400),
        ("clone-voice", json!({ "audio_file_id": video, "text_content": "?!" }), 400),
        ("clone-voice", json!({ "audio_file_id": video, "text_content": "Hi", "engine": "pocket" }), 400),
        (
            "clone-voice",
            json!({ "audio_file_id": video, "text_content": "Hi", "target_language": "xx" }),
            400,
        ),
        ("clone-voice", json!({ "voice_profile_id": nobody, "text_content": "Hi" }), 404),
        ("generate-video", json!({ "original_video_id": video, "cloned_audio_id": nobody }), 404),
        (
            "generate-video",
            json!({ "original_video_id": video, "cloned_audio_id": video, "subtitles_file_id": script }),
            400,
        ),
        (
            "generate-video",
            json!({ "original_video_id": video, "cloned_audio_id": video, "quality": "best" }),
            400,
        ),
    ];
    for (kind, body, status) in refused {
        let answer = user.post(&format!("/api/v1/process/{kind}"), &body).await;
        assert_eq!(answer.status.as_u16(), status, "{kind} {body}: {:#}", answer.body);
        assert!(answer.body["message"].is_string());
    }
    let body = json!({ "video_file_id": video });
    stranger.post("/api/v1/process/extract-audio", &body).await.expect(StatusCode::NOT_FOUND);
    stranger.get(&format!("/api/v1/files/{video}")).await.expect(StatusCode::NOT_FOUND);
    assert_eq!(stranger.delete(&format!("/api/v1/files/{video}")).await.status, StatusCode::NOT_FOUND);
}

/// The server still does what it is there for.
async fn alive(user: &User, talk: &Path) {
    let file = user.uploaded(talk).await;
    user.completed("extract-audio", &json!({ "video_file_id": file, "audio_format": "mp3" })).await;
}
