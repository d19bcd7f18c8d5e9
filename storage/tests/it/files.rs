//! Files: quota, lists, owners, deletion.

use crate::world::{QUOTA, World, audio, transcribe, video};
use sha2::{Digest, Sha256};
use storage::{
    error::{Conflict, Error},
    files::{FileFilter, FileKind, NewFile},
    ids::FileId,
    page::Page,
    uploads::NewUpload,
};

#[tokio::test]
async fn a_file_is_stored_with_its_bytes_and_found_by_its_owner_alone() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let new = NewFile { project_name: Some("film".into()), ..world.new_file(ada, Some(audio(2.5))).await };
    let file = world.storage.files.insert(new).await.unwrap();
    assert_eq!((file.size_bytes, file.sha256.clone()), (10, hex::encode(Sha256::digest("some bytes"))));
    assert_eq!((file.kind, file.media.clone()), (FileKind::Audio, Some(audio(2.5))));
    assert_eq!(file.project.clone().unwrap().1, "film");
    assert!(file.expires_at.is_some());
    assert_eq!(world.storage.files.find(ada, file.id).await.unwrap(), file);
    assert_eq!(world.storage.files.find_signed(file.id).await.unwrap(), file);
    assert_eq!(world.read(&file).await, b"some bytes");
    assert_eq!(world.staged_files(), 0);

    assert!(matches!(world.storage.files.find(bob, file.id).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.files.delete(bob, file.id).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.files.find(ada, FileId::new()).await, Err(Error::NotFound)));
    let listed = world.storage.files.list(bob, &FileFilter::default(), &Page::first()).await.unwrap();
    assert_eq!(listed.items, []);
}

#[tokio::test]
async fn what_does_not_fit_the_quota_leaves_nothing() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let sized = async |owner, size: u64| {
        let staged = world.staged(&vec![7; size as usize]).await;
        let new = NewFile { staged, ..world.new_file(owner, None).await };
        world.storage.files.insert(new).await
    };
    sized(ada, QUOTA - 10).await.unwrap();
    let usage = world.storage.files.usage(ada).await.unwrap();
    assert_eq!((usage.quota_bytes, usage.used_bytes, usage.files), (QUOTA, QUOTA - 10, 1));
    let refused = sized(ada, 11).await;
    assert!(matches!(refused, Err(Error::QuotaExceeded { quota: QUOTA, used }) if used == QUOTA - 10));
    assert_eq!(world.objects().await.len(), 1);
    assert_eq!(world.staged_files(), 0);
    let last = sized(ada, 10).await.unwrap();
    sized(bob, 100).await.unwrap();
    world.storage.files.delete(ada, last.id).await.unwrap();
    sized(ada, 10).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_has_begun_keeps_its_room() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let used = world.storage.files.usage(ada).await.unwrap().used_bytes;
    let begun = NewUpload {
        owner: ada,
        filename: "a name".into(),
        content_type: None,
        size_bytes: QUOTA - used,
        project_name: None,
        sha256: None,
    };
    let upload = world.storage.uploads.begin(begun).await.unwrap();
    let refused = world.storage.files.insert(world.new_file(ada, None).await).await;
    assert!(matches!(refused, Err(Error::QuotaExceeded { .. })));
    let refused = world.storage.jobs.submit(transcribe(ada, file)).await;
    assert!(matches!(refused, Err(Error::QuotaExceeded { .. })), "a job makes files");
    world.storage.uploads.remove(ada, upload.id).await.unwrap();
    world.storage.files.insert(world.new_file(ada, None).await).await.unwrap();
    world.storage.jobs.submit(transcribe(ada, file)).await.unwrap();
}

#[tokio::test]
async fn two_files_cannot_share_the_last_room() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut inserts = vec![];
    for _ in 0..6 {
        let staged = world.staged(&vec![7; QUOTA as usize / 2]).await;
        let new = NewFile { staged, ..world.new_file(ada, None).await };
        inserts.push(world.storage.files.insert(new));
    }
    let stored = futures_util::future::join_all(inserts).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(stored, 2);
    assert_eq!(world.objects().await.len(), 2);
}

#[tokio::test]
async fn a_file_that_a_job_needs_is_not_deleted() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.file(ada, Some(audio(1.0))).await;
    let job = world.submit(transcribe(ada, file.id)).await;
    let in_use = || world.storage.files.delete(ada, file.id);
    assert!(matches!(in_use().await, Err(Error::Conflict(Conflict::FileInUse))));
    let claim = world.claim(job.id).await;
    assert!(matches!(in_use().await, Err(Error::Conflict(Conflict::FileInUse))));
    assert_eq!(world.storage.jobs.input_file(&claim.job, file.id).await.unwrap(), file);
    world.storage.jobs.cancel(ada, job.id).await.unwrap();
    assert!(world.storage.jobs.cancelled(&claim.lease).await.unwrap());
    in_use().await.unwrap();
    assert!(matches!(in_use().await, Err(Error::NotFound)));
    assert_eq!(world.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn pages_neither_repeat_nor_hide_a_file_while_others_come_and_go() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let mut ids = vec![];
    for _ in 0..10 {
        ids.push(world.file(ada, None).await.id);
    }
    ids.reverse();
    let mut seen = vec![];
    let mut page = Page { limit: 3, cursor: None };
    loop {
        let listing = world.storage.files.list(ada, &FileFilter::default(), &page).await.unwrap();
        seen.extend(listing.items.iter().map(|file| file.id));
        // One that comes is newer than the cursor; one that goes was seen, or is the cursor itself.
        world.file(ada, None).await;
        world.storage.files.delete(ada, *seen.last().unwrap()).await.unwrap();
        match listing.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn lists_are_filtered_and_a_foreign_cursor_is_refused() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let new = NewFile { project_name: Some("film".into()), ..world.new_file(ada, Some(video(1.0))).await };
    let film = world.storage.files.insert(new).await.unwrap();
    let sound = world.file(ada, Some(audio(1.0))).await;
    let list = async |filter: FileFilter| {
        let listing = world.storage.files.list(ada, &filter, &Page::first()).await.unwrap();
        listing.items.into_iter().map(|file| file.id).collect::<Vec<_>>()
    };
    let project = film.project.clone().map(|(id, _)| id);
    assert_eq!(list(FileFilter::default()).await, [sound.id, film.id]);
    assert_eq!(list(FileFilter { project, kind: None }).await, [film.id]);
    assert_eq!(list(FileFilter { project: None, kind: Some(FileKind::Audio) }).await, [sound.id]);
    assert_eq!(list(FileFilter { project, kind: Some(FileKind::Audio) }).await, []);
    for cursor in ["", "nonsense", "ffffffffffffffff00000000000000000000000000000000"] {
        let page = Page { limit: 1, cursor: Some(cursor.into()) };
        let refused = world.storage.files.list(ada, &FileFilter::default(), &page).await;
        assert!(matches!(refused, Err(Error::Input { field, .. }) if field == "cursor"), "{cursor}");
    }
}
