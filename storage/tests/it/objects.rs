//! What every back end of objects must do, whatever it keeps them in.

use crate::{
    back_end::{self, FLEET},
    servers::S3,
};
use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};
use storage::{
    error::Error,
    objects::{DiskObjects, ObjectKey, Objects, ObjectsConfig, S3Objects},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[tokio::test]
async fn the_contract_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    match back_end::objects() {
        ObjectsConfig::Disk => contract(&DiskObjects::open(directory.path()).await.unwrap()).await,
        ObjectsConfig::S3(config) => {
            contract(&S3Objects::open(&config, directory.path()).await.unwrap()).await;
        }
    }
    let staged = std::fs::read_dir(directory.path().join("staging")).unwrap().count();
    assert_eq!(staged, 0, "nothing staged is left");
}

async fn contract(objects: &dyn Objects) {
    a_staged_object_is_hashed_and_published_whole(objects).await;
    what_is_dropped_before_it_is_published_is_gone(objects).await;
    a_published_file_is_its_copy(objects).await;
    a_file_is_published_once(objects).await;
    an_empty_object_is_one(objects).await;
    ranges_are_clamped(objects).await;
    an_absent_object_is_not_found(objects).await;
    objects_are_listed_by_prefix(objects).await;
    many_are_deleted_at_once(objects).await;
    one_who_reads_reads_on_after_a_delete(objects).await;
    only_old_stagings_are_swept(objects).await;
    objects.ping().await.unwrap();
    let free = objects.free_bytes().await.unwrap();
    assert_eq!(free.is_none(), FLEET, "a store does not say");
    assert_ne!(free, Some(0));
}

async fn a_staged_object_is_hashed_and_published_whole(objects: &dyn Objects) {
    let key = key("suite/whole");
    let mut staging = objects.stage().await.unwrap();
    staging.write_all(b"hel").await.unwrap();
    staging.write_all(b"lo").await.unwrap();
    assert_eq!(staging.size_bytes(), 5);
    let staged = staging.finish().await.unwrap();
    assert!(matches!(objects.open(&key, None).await.err(), Some(Error::NotFound)));
    assert_eq!((staged.size_bytes, staged.sha256.as_str()), (5, HELLO));
    assert_eq!(std::fs::read(staged.path()).unwrap(), b"hello");
    objects.publish(staged, &key).await.unwrap();
    assert_eq!(read(objects, &key).await, b"hello");

    put(objects, &key, b"again").await;
    assert_eq!(read(objects, &key).await, b"again", "publishing again replaces");
}

async fn what_is_dropped_before_it_is_published_is_gone(objects: &dyn Objects) {
    let mut staging = objects.stage().await.unwrap();
    staging.write_all(b"x").await.unwrap();
    let staged = staging.finish().await.unwrap();
    let path = staged.path().to_owned();
    drop(staged);
    assert!(!path.exists());
    drop(objects.stage().await.unwrap());
}

async fn a_published_file_is_its_copy(objects: &dyn Objects) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, b"hello").unwrap();
    let key = key("jobs/1/2/out.wav");
    let meta = objects.publish_file(&from, &key).await.unwrap();
    assert_eq!((meta.size_bytes, meta.sha256.as_str()), (5, HELLO));
    // Once more, as after an answer that was lost.
    objects.publish_file(&from, &key).await.unwrap();
    std::fs::remove_file(&from).unwrap();
    objects.fetch(&key, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"hello");
    assert!(objects.fetch(&key, &to).await.is_err(), "what is there is not overwritten");
    std::fs::remove_file(&to).unwrap();
    assert_eq!(read(objects, &key).await, b"hello");
}

async fn a_file_is_published_once(objects: &dyn Objects) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("from");
    // Also one that goes in parts to a store.
    for size in [5, 17 << 20] {
        for unconditional in ["", S3::UNCONDITIONAL] {
            let key = key(&format!("jobs/1/{size}{unconditional}/out.wav"));
            for byte in [1, 1, 2] {
                // The object may share the bytes of the one before.
                let _ = std::fs::remove_file(&path);
                std::fs::write(&path, vec![byte; size]).unwrap();
                objects.publish_file(&path, &key).await.unwrap();
                assert!(read(objects, &key).await == vec![byte; size], "{key}");
            }
        }
    }
}

async fn ranges_are_clamped(objects: &dyn Objects) {
    let key = key("suite/range");
    put(objects, &key, b"0123456789").await;
    for (range, expected) in
        [(2..5, "234"), (0..10, "0123456789"), (8..100, "89"), (3..3, ""), (10..20, ""), (50..60, "")]
    {
        let mut text = String::new();
        let mut reader = objects.open(&key, Some(range.clone())).await.unwrap();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, expected, "{range:?}");
    }
}

async fn an_absent_object_is_not_found(objects: &dyn Objects) {
    let key = key("suite/absent");
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(objects.open(&key, Some(0..1)).await.err(), Some(Error::NotFound)));
    let fetched = objects.fetch(&key, &directory.path().join("to")).await;
    assert!(matches!(fetched, Err(Error::NotFound)));
    objects.delete(&key).await.unwrap();
}

async fn objects_are_listed_by_prefix(objects: &dyn Objects) {
    let before = SystemTime::now() - Duration::from_secs(60);
    for name in ["list/a", "list/ab", "list/b/c", "listing"] {
        put(objects, &key(name), b"x").await;
    }
    for (prefix, expected) in
        [("list/a", &["list/a", "list/ab"][..]), ("list/b/", &["list/b/c"]), ("none/", &[])]
    {
        let mut found = objects.list(prefix).await.unwrap();
        found.sort();
        assert!(found.iter().all(|(_, published)| *published > before));
        assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), expected, "{prefix}");
    }
    objects.delete(&key("list/b/c")).await.unwrap();
    objects.delete(&key("list/a")).await.unwrap();
    assert_eq!(objects.list("list/").await.unwrap().len(), 1);
}

async fn many_are_deleted_at_once(objects: &dyn Objects) {
    let keys = ["many/a", "many/b", "many/absent"].map(key);
    for key in &keys[..2] {
        put(objects, key, b"x").await;
    }
    assert_eq!(objects.delete_all(&keys).await.unwrap(), HashSet::new());
    assert_eq!(objects.delete_all(&[]).await.unwrap(), HashSet::new());
    assert!(objects.list("many/").await.unwrap().is_empty());
}

async fn an_empty_object_is_one(objects: &dyn Objects) {
    let (directory, key) = (tempfile::tempdir().unwrap(), key("suite/empty"));
    put(objects, &key, b"").await;
    assert!(read(objects, &key).await.is_empty());
    let to = directory.path().join("to");
    objects.fetch(&key, &to).await.unwrap();
    assert_eq!(std::fs::metadata(&to).unwrap().len(), 0);
}

async fn one_who_reads_reads_on_after_a_delete(objects: &dyn Objects) {
    let key = key("suite/open");
    put(objects, &key, b"hello").await;
    let mut reader = objects.open(&key, None).await.unwrap();
    objects.delete(&key).await.unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
}

async fn only_old_stagings_are_swept(objects: &dyn Objects) {
    let staging = objects.stage().await.unwrap();
    assert_eq!(objects.sweep_staging(SystemTime::now() - Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(objects.sweep_staging(SystemTime::now() + Duration::from_secs(3600)).await.unwrap(), 1);
    drop(staging);
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

async fn put(objects: &dyn Objects, key: &ObjectKey, bytes: &[u8]) {
    let mut staging = objects.stage().await.unwrap();
    staging.write_all(bytes).await.unwrap();
    objects.publish(staging.finish().await.unwrap(), key).await.unwrap();
}

async fn read(objects: &dyn Objects, key: &ObjectKey) -> Vec<u8> {
    let mut bytes = vec![];
    objects.open(key, None).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    bytes
}
