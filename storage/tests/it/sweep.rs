//! What the sweeper takes, and above all what it leaves.

use crate::world::{RETENTION, World, audio, idempotency, transcribe};
use std::time::{Duration, SystemTime};
use storage::{
    Swept,
    error::Error,
    jobs::{Completion, NewJob},
    logins::{Rotation, TokenKind},
    objects::ObjectKey,
    uploads::NewUpload,
    voices::NewVoice,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn an_idle_storage_loses_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.file(ada, Some(audio(1.0))).await;
    let voice = NewVoice {
        owner: ada,
        name: "A voice".into(),
        description: None,
        language: "en".into(),
        gender: None,
        consent: None,
        sample: file.id,
        speech_seconds: 4.0,
    };
    world.storage.voices.create(voice).await.unwrap();
    let job = world.submit(transcribe(ada, file.id)).await;
    let before = world.objects().await;
    assert_eq!(world.storage.sweep().await.unwrap(), Swept::default());
    world.clock.advance(3 * DAY);
    assert_eq!(world.storage.sweep().await.unwrap(), Swept::default());
    assert_eq!(world.objects().await, before);
    assert_eq!(world.storage.jobs.find(ada, job.id).await.unwrap(), job);
}

#[tokio::test]
async fn objects_and_stagings_without_a_row_go_after_a_day() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.file(ada, None).await;
    let orphan = ObjectKey::parse("files/00/orphan").unwrap();
    world.storage.objects.publish(world.staged(b"orphan").await, &orphan).await.unwrap();
    let staged = world.staged(b"staged").await;
    std::mem::forget(staged);
    assert_eq!(world.storage.sweep().await.unwrap(), Swept::default(), "their rows may be on their way");
    world.clock.advance(DAY + Duration::from_secs(60));
    let swept = world.storage.sweep().await.unwrap();
    assert_eq!((swept.objects, swept.staged), (1, 1));
    assert_eq!(world.objects().await, [file.object_key.to_string()]);
    assert_eq!(world.staged_files(), 0);
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_does_not_keep_the_others() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (first, second) = (world.file(ada, None).await, world.file(ada, None).await);
    let stuck = std::cmp::min(first.object_key.as_str(), second.object_key.as_str()).to_owned();
    // A directory in its place is what no file's removal removes.
    let Some(path) = world.object_path(&stuck) else { return };
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("inner")).unwrap();
    world.clock.advance(RETENTION + Duration::from_secs(60));
    assert_eq!(world.storage.sweep().await.unwrap().objects, 1);
    assert_eq!(world.objects().await, Vec::<String>::new());
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "again").unwrap();
    assert_eq!(world.storage.sweep().await.unwrap().objects, 1, "it was not forgotten");
}

#[tokio::test]
async fn expired_files_go_unless_a_job_needs_them() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let unused = world.file(ada, Some(audio(1.0))).await;
    let needed = world.file(ada, Some(audio(1.0))).await;
    world.clock.advance(RETENTION - DAY);
    let young = world.file(ada, None).await;
    let job = world.submit(transcribe(ada, needed.id)).await;
    world.clock.advance(DAY + Duration::from_secs(1));
    let swept = world.storage.sweep().await.unwrap();
    assert_eq!((swept.files, swept.objects), (1, 1));
    assert!(matches!(world.storage.files.find(ada, unused.id).await, Err(Error::NotFound)));
    assert_eq!(world.read(&needed).await, b"some bytes");
    assert_eq!(world.read(&young).await, b"some bytes");

    let claim = world.claim(job.id).await;
    let completion = Completion { outputs: vec![], result: serde_json::json!({}) };
    assert!(world.storage.jobs.complete(&claim.lease, completion).await.unwrap());
    assert_eq!(world.storage.sweep().await.unwrap().files, 1);
}

#[tokio::test]
async fn finished_jobs_go_after_the_retention_and_keys_after_a_day() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let finished =
        world.submit(NewJob { idempotency: idempotency("key", "body"), ..transcribe(ada, file) }).await;
    world.storage.jobs.cancel(ada, finished.id).await.unwrap();
    let waiting = world.submit(transcribe(ada, file)).await;
    world.clock.advance(DAY + Duration::from_secs(1));
    let swept = world.storage.sweep().await.unwrap();
    assert_eq!((swept.idempotency_keys, swept.jobs), (1, 0));
    world.clock.advance(RETENTION);
    assert_eq!(world.storage.sweep().await.unwrap().jobs, 1);
    assert!(matches!(world.storage.jobs.find(ada, finished.id).await, Err(Error::NotFound)));
    world.storage.jobs.find(ada, waiting.id).await.unwrap();
}

#[tokio::test]
async fn ended_logins_and_uploads_go() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (_, token) = world.storage.logins.start(ada, TokenKind::Rotating, DAY).await.unwrap();
    let (kept, _) = world.storage.logins.start(ada, TokenKind::Rotating, 5 * DAY).await.unwrap();
    let upload = world
        .storage
        .uploads
        .begin(NewUpload {
            owner: ada,
            filename: "a.wav".into(),
            content_type: None,
            size_bytes: 5,
            project_name: None,
            sha256: None,
        })
        .await
        .unwrap();
    world.storage.uploads.put_part(&upload, 1, &b"hello"[..]).await.unwrap();
    world.clock.advance(2 * DAY + Duration::from_secs(1));
    let swept = world.storage.sweep().await.unwrap();
    assert_eq!((swept.logins, swept.uploads), (1, 1));
    assert!(matches!(world.storage.logins.rotate(token.as_str()).await.unwrap(), Rotation::Unknown));
    assert!(world.storage.logins.is_live(kept).await.unwrap());
    assert_eq!(world.parts_left(), 0);
}

#[tokio::test]
async fn a_preview_is_a_cache_that_ages() {
    let world = World::new().await;
    let preview = ObjectKey::parse("previews/0a.wav").unwrap();
    world.storage.objects.publish(world.staged(b"wav").await, &preview).await.unwrap();
    let (_, published) = world.storage.objects.list("previews/").await.unwrap().remove(0);
    assert!(published <= SystemTime::now());
    world.clock.advance(2 * DAY);
    assert_eq!(world.storage.sweep().await.unwrap().objects, 1);
}
