//! A disk without room: what does not fit is refused and leaves nothing; what is there stays usable, and room that comes
//! back is used.

use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tests::server::{Server, eventually};
use tests::user::JOB;

use crate::media;

/// In MiB.
const DISK: u32 = 75;

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_leaves_nothing_and_a_job_waits_for_room() {
    let folder = TempDir::new().unwrap();
    let server = Server::start_on_disk_of(DISK);
    let user = server.user().await;
    // Ten minutes of a tone take a megabyte or so as they come, and 53 as plain samples.
    let tone = folder.path().join("tone.flac");
    media::make(&tone, &["-f", "lavfi", "-i", "sine=duration=600", "-sample_fmt", "s16"]);
    let file = user.uploaded(&tone).await;
    let kept = server.stored_files();
    let blocker = server.fill_disk(30 << 20);

    let answer = user.upload_bytes("large.txt", vec![b'a'; 50 << 20]).await;
    assert_eq!(answer.expect(StatusCode::INSUFFICIENT_STORAGE)["error"], "insufficient_storage");
    assert_eq!(server.stored_files(), kept);

    let job = user.start("extract-audio", &json!({ "video_file_id": file, "audio_format": "wav" })).await;
    eventually("the end of the first attempt", JOB, async || {
        let status = user.status(&job).await;
        (status["status"] == "queued" && status["attempts"] == 1).then_some(())
    })
    .await;
    assert_eq!(server.stored_files(), kept);
    std::fs::remove_file(blocker).unwrap();
    assert_eq!(user.ended(&job).await["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let folder = TempDir::new().unwrap();
    let server = Server::start_on_disk_of(DISK);
    let user = server.user().await;
    let tone = folder.path().join("tone.flac");
    media::make(&tone, &["-f", "lavfi", "-i", "sine=duration=60", "-sample_fmt", "s16"]);
    let file = user.uploaded(&tone).await;
    let blocker = server.fill_disk(0);

    let body = json!({ "video_file_id": file });
    let answer = user.upload(&tone).await.expect(StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(answer["error"], "insufficient_storage");
    user.post("/api/v1/process/extract-audio", &body).await.expect(StatusCode::INSUFFICIENT_STORAGE);
    let shown = user.get(&format!("/api/v1/files/{file}")).await.expect(StatusCode::OK);
    let bytes = user.download(shown["download_url"].as_str().unwrap()).await;
    assert_eq!(bytes, std::fs::read(&tone).unwrap());
    user.get("/health").await.expect(StatusCode::OK);

    std::fs::remove_file(blocker).unwrap();
    user.completed("extract-audio", &body).await;
}
