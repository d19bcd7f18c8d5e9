//! Uploads in parts.

use crate::world::{QUOTA, World};
use sha2::{Digest, Sha256};
use storage::{
    Storage, StorageConfig,
    error::{Conflict, Error},
    files::NewFile,
    ids::{UploadId, UserId},
    uploads::{NewUpload, Upload},
};

/// Of a usual part.
const MIB: u64 = 1 << 20;

#[tokio::test]
async fn parts_come_in_any_order_and_again() {
    let (world, storage, ada) = roomy().await;
    let content: Vec<u8> = (0..17 * MIB + 3).map(|index| (index % 251) as u8).collect();
    let sha256 = hex::encode(Sha256::digest(&content)).to_uppercase();
    let upload = begin(&storage, ada, &content, Some(sha256)).await;
    assert_eq!((upload.parts, upload.part_size), (3, 8 * MIB));
    assert!(present(&storage, &upload).await.is_empty());
    let part = |number: u32| {
        let start = (u64::from(number - 1) * upload.part_size) as usize;
        &content[start..content.len().min(start + upload.part_size as usize)]
    };
    let put = async |number: u32| {
        let upload = storage.uploads.find_signed(upload.id).await.unwrap();
        storage.uploads.put_part(&upload, number, part(number)).await.unwrap()
    };
    put(3).await;
    put(1).await;
    let incomplete = storage.uploads.assemble(ada, upload.id).await;
    assert!(matches!(incomplete, Err(Error::Conflict(Conflict::UploadIncomplete))));
    assert_eq!(present(&storage, &upload).await, [1, 3]);
    put(1).await;
    let stored = put(2).await;
    assert_eq!(stored.sha256, hex::encode(Sha256::digest(part(2))));

    let (staged, _) = storage.uploads.assemble(ada, upload.id).await.unwrap();
    assert_eq!(staged.size_bytes, content.len() as u64);
    assert!(std::fs::read(staged.path()).unwrap() == content);
    drop(staged);
    storage.uploads.remove(ada, upload.id).await.unwrap();
    assert!(matches!(storage.uploads.find(ada, upload.id).await, Err(Error::NotFound)));
    assert_eq!((world.parts_left(), world.staged_files()), (0, 0));
}

#[tokio::test]
async fn a_part_of_another_size_or_number_is_refused() {
    let (world, storage, ada) = roomy().await;
    let upload = begin(&storage, ada, b"hello", None).await;
    let put = async |number: u32, body: &[u8]| storage.uploads.put_part(&upload, number, body).await;
    for (number, body, at) in
        [(1, &b"hell"[..], "body"), (1, b"hello!", "body"), (0, b"hello", "number"), (2, b"", "number")]
    {
        let refused = put(number, body).await;
        assert!(matches!(refused, Err(Error::Input { field, .. }) if field == at), "{number} {body:?}");
    }
    assert!(present(&storage, &upload).await.is_empty());
    assert_eq!(world.staged_files(), 0);
    put(1, b"hello").await.unwrap();
    assert_eq!(present(&storage, &upload).await, [1]);
}

#[tokio::test]
async fn a_wrong_checksum_is_a_conflict_and_the_part_may_come_again() {
    let (_world, storage, ada) = roomy().await;
    let promised = hex::encode(Sha256::digest("hello"));
    let upload = begin(&storage, ada, b"jello", Some(promised)).await;
    storage.uploads.put_part(&upload, 1, &b"jello"[..]).await.unwrap();
    let mismatch = storage.uploads.assemble(ada, upload.id).await;
    assert!(matches!(mismatch, Err(Error::Conflict(Conflict::ChecksumMismatch))));
    storage.uploads.put_part(&upload, 1, &b"hello"[..]).await.unwrap();
    storage.uploads.assemble(ada, upload.id).await.unwrap();
}

/// All of it is there, and not yet put together.
async fn sent_in_two_parts(storage: &Storage, owner: UserId) -> (Vec<u8>, Upload) {
    let content = vec![7; 9 * MIB as usize];
    let upload = begin(storage, owner, &content, None).await;
    let (first, second) = content.split_at(8 * MIB as usize);
    storage.uploads.put_part(&upload, 1, first).await.unwrap();
    storage.uploads.put_part(&upload, 2, second).await.unwrap();
    (content, upload)
}

#[tokio::test]
async fn what_was_put_together_and_refused_may_be_sent_again() {
    let (world, storage, ada) = roomy().await;
    let (content, upload) = sent_in_two_parts(&storage, ada).await;
    let first = &content[..8 * MIB as usize];
    drop(storage.uploads.assemble(ada, upload.id).await.unwrap());
    // Nobody makes a file of it, but somebody may yet.
    world.pass(23 * 3600);
    storage.sweep().await.unwrap();
    assert_eq!(present(&storage, &upload).await, [1, 2]);
    let (staged, _) = storage.uploads.assemble(ada, upload.id).await.unwrap();
    assert!(std::fs::read(staged.path()).unwrap() == content);
    drop(staged);

    let other = vec![8; MIB as usize];
    storage.uploads.put_part(&upload, 2, &other[..]).await.unwrap();
    let (staged, _) = storage.uploads.assemble(ada, upload.id).await.unwrap();
    assert!(std::fs::read(staged.path()).unwrap() == [first, &other].concat());
    drop(staged);
    storage.uploads.remove(ada, upload.id).await.unwrap();
    assert_eq!((world.parts_left(), world.staged_files()), (0, 0));
    assert!(world.objects().await.is_empty());
}

#[tokio::test]
async fn a_file_of_an_upload_is_what_came() {
    let (world, storage, ada) = roomy().await;
    let (content, upload) = sent_in_two_parts(&storage, ada).await;
    // Two at once: one file, whose bytes the other does not take away.
    let file = async || {
        let (staged, _) = storage.uploads.assemble(ada, upload.id).await?;
        let new = NewFile { staged, upload: Some(upload.id), ..world.new_file(ada, None).await };
        storage.files.insert(new).await
    };
    let files = tokio::join!(file(), file());
    let (made, refused) = if files.0.is_ok() { files } else { (files.1, files.0) };
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    let file = &made.unwrap();
    storage.uploads.remove_parts(upload.id).await.unwrap();
    assert!(world.read(file).await == content);
    storage.sweep().await.unwrap();
    assert!(world.read(file).await == content);
    assert_eq!((world.parts_left(), world.staged_files()), (0, 0));
}

#[tokio::test]
async fn a_part_that_comes_late_takes_no_bytes_from_a_file_in_the_making() {
    let (world, storage, ada) = roomy().await;
    let (content, upload) = sent_in_two_parts(&storage, ada).await;
    let second = &content[8 * MIB as usize..];
    let (staged, _) = storage.uploads.assemble(ada, upload.id).await.unwrap();
    // The first try of a part, which its client took for lost.
    storage.uploads.put_part(&upload, 2, second).await.unwrap();
    let new = NewFile { staged, upload: Some(upload.id), ..world.new_file(ada, None).await };
    let file = match storage.files.insert(new).await {
        Ok(file) => file,
        Err(Error::NotFound) => {
            let (staged, _) = storage.uploads.assemble(ada, upload.id).await.unwrap();
            let new = NewFile { staged, upload: Some(upload.id), ..world.new_file(ada, None).await };
            storage.files.insert(new).await.unwrap()
        }
        Err(error) => panic!("{error}"),
    };
    storage.uploads.remove_parts(upload.id).await.unwrap();
    assert!(world.read(&file).await == content);
    assert!(storage.uploads.put_part(&upload, 2, second).await.is_err(), "it is a file now");
    assert!(world.read(&file).await == content);
}

#[tokio::test]
async fn uploads_are_their_owners_and_count_before_they_are_files() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let storage = &world.storage;
    let begin = |size_bytes| {
        storage.uploads.begin(NewUpload {
            owner: ada,
            filename: "large.wav".into(),
            content_type: None,
            size_bytes,
            project_name: None,
            sha256: None,
        })
    };
    let upload = begin(QUOTA - 1).await.unwrap();
    assert!(matches!(begin(2).await, Err(Error::QuotaExceeded { .. })));
    assert!(matches!(begin(0).await, Err(Error::Input { .. })));
    for id in [upload.id, UploadId::new()] {
        assert!(matches!(storage.uploads.find(bob, id).await, Err(Error::NotFound)));
        assert!(matches!(storage.uploads.assemble(bob, id).await, Err(Error::NotFound)));
        assert!(matches!(storage.uploads.remove(bob, id).await, Err(Error::NotFound)));
    }
    storage.uploads.remove(ada, upload.id).await.unwrap();
    begin(2).await.unwrap();
    let removed = storage.uploads.put_part(&upload, 1, &vec![0; QUOTA as usize - 1][..]).await;
    assert!(matches!(removed, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_very_large_upload_has_no_more_than_ten_thousand_parts() {
    let (_world, storage, ada) = roomy().await;
    let upload = storage
        .uploads
        .begin(NewUpload {
            owner: ada,
            filename: "large.mkv".into(),
            content_type: None,
            size_bytes: 1 << 40,
            project_name: None,
            sha256: None,
        })
        .await
        .unwrap();
    assert_eq!(upload.parts, 10_000);
    let total: u64 = (1..=upload.parts).map(|number| upload.size_of(number).unwrap()).sum();
    assert_eq!(total, 1 << 40);
}

/// A storage with a quota of two tebibytes, over the world's database.
async fn roomy() -> (World, Storage, UserId) {
    let world = World::new().await;
    let config = StorageConfig { default_quota_bytes: 1 << 41, ..world.config.clone() };
    let storage = Storage::open_with_clock(&config, world.clock.clone()).await.unwrap();
    let ada = world.user("ada").await;
    (world, storage, ada)
}

async fn present(storage: &Storage, upload: &Upload) -> Vec<u32> {
    storage.uploads.progress(upload).await.unwrap().present
}

async fn begin(storage: &Storage, owner: UserId, content: &[u8], sha256: Option<String>) -> Upload {
    let new = NewUpload {
        owner,
        filename: "large.wav".into(),
        content_type: Some("audio/wav".into()),
        size_bytes: content.len() as u64,
        project_name: None,
        sha256,
    };
    storage.uploads.begin(new).await.unwrap()
}
