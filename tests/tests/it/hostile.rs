//! Inputs that are broken, or meant to break something: each ends in its own refusal, and the server goes on.

use crate::media;
use reqwest::StatusCode;
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::server::Server;
use tests::user::User;
use tests::{project_root, shared_data};

struct Hostile {
    name: &'static str,
    bytes: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_uploads_are_refused_and_leave_nothing() {
    let Some(talk) = shared_data("talk.mp4") else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start();
    let user = server.user().await;
    for input in hostile_inputs(folder.path(), &talk) {
        let answer = user.upload_bytes(input.name, input.bytes).await;
        assert!(
            matches!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE
            ),
            "{}: {} {:#}",
            input.name,
            answer.status,
            answer.body
        );
        assert!(answer.body["error"].is_string() && answer.body["message"].is_string(), "{}", input.name);
        let message = answer.body.to_string();
        assert!(!message.contains("/tmp") && !message.contains("SQL"), "{message}");
        assert_eq!(server.stored_files(), Vec::<PathBuf>::new(), "{} left something", input.name);
    }
    assert!(server.children().is_empty());
    alive(&user, &talk).await;
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
        ("extract-audio", json!({ "video_file_id": video, "callback_url": "https://example.com" }), 400),
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

fn hostile_inputs(folder: &Path, talk: &Path) -> Vec<Hostile> {
    let whole = std::fs::read(talk).unwrap();
    let made = |name: &str, arguments: &[&str]| {
        let path = folder.join(name);
        media::make(&path, arguments);
        std::fs::read(path).unwrap()
    };
    let canary = folder.join("canary.mp4");
    std::fs::copy(talk, &canary).unwrap();
    let canary = canary.display();
    let hostile = |name, bytes: &[u8]| Hostile { name, bytes: bytes.to_vec() };
    vec![
        hostile("empty.mp4", b""),
        hostile("one-byte.mp4", b"\0"),
        hostile("zeros.mp4", &[0; 65_536]),
        hostile("noise.mp4", &noise(200_000)),
        hostile("noise.mp3", &noise(200_000)),
        hostile("headless.mp4", &whole[whole.len() / 2..]),
        hostile("cut-short.mp4", &whole[..1_000]),
        hostile("program.mp4", &std::fs::read("/bin/true").unwrap()),
        hostile(
            "playlist.mp4",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{canary}\n")
                .replace("#EXTM3U", "\0#EXTM3U")
                .as_bytes(),
        ),
        hostile(
            "image.jpg",
            &made("image.jpg", &["-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1"]),
        ),
        hostile(
            "bomb.png",
            &made("bomb.png", &["-f", "lavfi", "-i", "color=size=16000x16000", "-frames:v", "1"]),
        ),
        hostile(
            "animation.gif",
            &made("animation.gif", &["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=1"]),
        ),
        hostile(
            "archive.zip",
            b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        hostile("document.pdf", b"%PDF-1.7\n\xE2\xE3\xCF\xD3\n1 0 obj\n<< >>\nendobj\n"),
        hostile("latin1.srt", b"1\n00:00:01,000 --> 00:00:02,000\nGr\xfc\xdfe\n"),
        hostile("nul.txt", b"text with a \0 in it"),
        hostile(
            "wide.avi",
            &wide_avi(&made(
                "small.avi",
                &["-f", "lavfi", "-i", "testsrc2=size=64x64:duration=1", "-c:v", "mjpeg"],
            )),
        ),
        hostile("../../etc/passwd.mp4", &noise(10_000)),
        hostile(
            "database.db",
            &std::fs::read(project_root().join("Cargo.lock"))
                .map(|_| b"SQLite format 3\0\x10\0\x01\x01".to_vec())
                .unwrap(),
        ),
    ]
}

/// Bytes of a fixed generator: no pattern that a demuxer knows, the same at every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An AVI file whose headers claim 60,000 by 60,000 pixels.
fn wide_avi(small: &[u8]) -> Vec<u8> {
    let mut wide = small.to_vec();
    let header = wide.windows(4).position(|window| window == b"avih").unwrap() + 8;
    wide[header + 32..header + 36].copy_from_slice(&60_000u32.to_le_bytes());
    wide[header + 36..header + 40].copy_from_slice(&60_000u32.to_le_bytes());
    let format = wide.windows(4).position(|window| window == b"strf").unwrap() + 8;
    wide[format + 4..format + 8].copy_from_slice(&60_000u32.to_le_bytes());
    wide[format + 8..format + 12].copy_from_slice(&60_000u32.to_le_bytes());
    wide
}
