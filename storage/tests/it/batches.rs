//! Jobs that are submitted together.

use crate::world::{World, idempotency, transcribe};
use pipeline::{
    parameters::{AudioFormat, ExtractAudio, Parameters},
    state::{JobState, JobStatus},
};
use std::collections::HashMap;
use storage::{
    error::{Conflict, Error},
    ids::{BatchId, FileId, JobId, UserId},
    jobs::{Batch, BatchJob, JobFilter, NewBatch, NewJob, Submitted},
    page::Page,
};

#[tokio::test]
async fn a_batch_is_its_owners_and_in_order() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let file = world.audio(ada).await;
    // More than one statement takes.
    let batch = world.submit_batch(of_transcribes(ada, vec![file; 700])).await;
    let single = world.job(ada).await;
    let jobs = &world.storage.jobs;
    assert!(batch.jobs.is_sorted_by_key(|job| job.id) && batch.jobs.len() == 700);
    assert!(batch.jobs.iter().all(|job| job.batch == Some(batch.id) && job.state == JobState::Waiting));
    assert_eq!(jobs.find(ada, batch.jobs[699].id).await.unwrap(), batch.jobs[699]);
    assert_eq!(jobs.queue_position(&batch.jobs[699]).await.unwrap(), Some(700));

    let of_batch = JobFilter { batch: Some(batch.id), ..JobFilter::default() };
    let first = jobs.list(ada, &of_batch, &Page { limit: 600, cursor: None }).await.unwrap();
    let rest = Page { limit: 600, cursor: first.next_cursor.clone() };
    let rest = jobs.list(ada, &of_batch, &rest).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (600, 100, None));
    assert_eq!(rest.items[99], batch.jobs[0], "newest first");
    let failed = JobFilter { status: Some(JobStatus::Failed), ..of_batch.clone() };
    assert_eq!(jobs.list(ada, &failed, &Page::first()).await.unwrap().items, []);
    assert_eq!(jobs.list(bob, &of_batch, &Page::first()).await.unwrap().items, []);
    assert!(matches!(jobs.batch(bob, batch.id).await, Err(Error::NotFound)));
    assert!(matches!(jobs.batch(ada, BatchId::new()).await, Err(Error::NotFound)));
    assert_eq!(jobs.batch(ada, batch.id).await.unwrap().total, 700);
    assert_eq!(single.batch, None);
    // The files that it needs cannot go.
    let deleted = world.storage.files.delete(ada, file).await;
    assert!(matches!(deleted, Err(Error::Conflict(Conflict::FileInUse))));
}

#[tokio::test]
async fn one_that_is_refused_refuses_all() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (file, bobs) = (world.audio(ada).await, world.audio(bob).await);
    let text = world.file(ada, None).await.id;
    let refused = async |files: Vec<FileId>| {
        let mut new = of_transcribes(ada, files);
        new.idempotency = idempotency("key", "body");
        match world.storage.jobs.submit_batch(new).await {
            Err(Error::OfJob { index, error }) => (index, error.to_string()),
            other => panic!("{other:?}"),
        }
    };
    let (index, issue) = refused(vec![file, file, file, bobs]).await;
    assert_eq!((index, issue.as_str()), (3, "audio_file_id names nothing that exists"));
    assert_eq!(refused(vec![file, text]).await, (1, "audio_file_id: must be a file with sound".to_owned()));
    assert_eq!(world.storage.jobs.counts().await.unwrap(), [], "nothing is stored");
    world.storage.files.delete(ada, file).await.unwrap();
}

#[tokio::test]
async fn a_key_gives_the_same_batch() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let submit = async |fingerprint: &str| {
        let new =
            NewBatch { idempotency: idempotency("key", fingerprint), ..of_transcribes(ada, vec![file; 3]) };
        world.storage.jobs.submit_batch(new).await
    };
    let submits: Vec<_> = (0..8).map(|_| submit("body")).collect();
    let outcomes = futures_util::future::join_all(submits).await;
    let mut new = outcomes.iter().filter_map(|outcome| match outcome {
        Ok(Submitted::New(batch)) => Some(batch),
        Ok(Submitted::Same(_)) | Err(_) => None,
    });
    let (batch, none) = (new.next().unwrap(), new.next());
    assert_eq!(none, None);
    assert!(outcomes.iter().flatten().all(|outcome| match outcome {
        Submitted::New(other) | Submitted::Same(other) => other == batch,
    }));
    assert!(matches!(submit("another").await, Err(Error::Conflict(Conflict::IdempotencyKeyReused))));
    let single = NewJob { idempotency: idempotency("key", "another"), ..transcribe(ada, file) };
    let single = world.storage.jobs.submit(single).await;
    assert!(matches!(single, Err(Error::Conflict(Conflict::IdempotencyKeyReused))));
    assert_eq!(world.storage.jobs.batch(ada, batch.id).await.unwrap().total, 3);
    world.pass(24 * 3600 + 10);
    assert!(matches!(submit("body").await, Ok(Submitted::New(again)) if again.id != batch.id));
}

#[tokio::test]
async fn a_batch_takes_turns_with_others() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let files = (world.audio(ada).await, world.audio(bob).await);
    let adas = world.submit_batch(of_transcribes(ada, vec![files.0; 4])).await;
    let bobs = world.submit_batch(of_transcribes(bob, vec![files.1; 2])).await;
    let place = async |id: JobId, owner: UserId| {
        let job = world.storage.jobs.find(owner, id).await.unwrap();
        world.storage.jobs.queue_position(&job).await.unwrap().unwrap()
    };
    assert_eq!(place(adas.jobs[0].id, ada).await, 1);
    assert_eq!(place(bobs.jobs[0].id, bob).await, 2);
    assert_eq!(place(adas.jobs[1].id, ada).await, 3);
    assert_eq!(place(bobs.jobs[1].id, bob).await, 4);
    assert_eq!(place(adas.jobs[3].id, ada).await, 6);
    let last = world.submit(transcribe(ada, files.0)).await;
    assert_eq!(place(last.id, ada).await, 7);
}

#[tokio::test]
async fn its_progress_is_that_of_its_jobs() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let mut new = of_transcribes(ada, vec![file; 2]);
    let extract = ExtractAudio {
        video_file_id: file.as_uuid(),
        audio_format: AudioFormat::Wav,
        sample_rate: None,
        channels: None,
    };
    new.jobs.push(BatchJob { parameters: Parameters::ExtractAudio(extract), callback: None });
    let batch = world.submit_batch(new).await;
    let jobs = &world.storage.jobs;
    let now = async || {
        let batch = jobs.batch(ada, batch.id).await.unwrap();
        (batch.counts, batch.progress, batch.finished_at)
    };
    assert_eq!(now().await, (HashMap::from([(JobStatus::Queued, 3)]), 0.0, None));
    jobs.cancel(ada, batch.jobs[2].id).await.unwrap();
    assert_eq!(world.dispatch(1).await, [batch.jobs[0].id]);
    jobs.claim(batch.jobs[0].id, "worker").await.unwrap().unwrap();
    let (counts, progress, finished_at) = now().await;
    let one_each = [JobStatus::Queued, JobStatus::Processing, JobStatus::Cancelled].map(|status| (status, 1));
    assert_eq!((counts, progress.round(), finished_at), (HashMap::from(one_each), 33.0, None));
    for job in &batch.jobs[..2] {
        jobs.cancel(ada, job.id).await.unwrap();
    }
    assert_eq!(now().await.2, None, "one of them has not stopped yet");
}

#[tokio::test]
async fn it_goes_with_its_jobs_and_its_owner() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let files = (world.audio(ada).await, world.audio(bob).await);
    let adas = world.submit_batch(of_transcribes(ada, vec![files.0; 2])).await;
    let bobs = world.submit_batch(of_transcribes(bob, vec![files.1; 2])).await;
    let jobs = &world.storage.jobs;
    for job in &adas.jobs {
        jobs.cancel(ada, job.id).await.unwrap();
    }
    assert!(jobs.batch(ada, adas.id).await.unwrap().finished_at.is_some());
    world.storage.erase(bob).await.unwrap();
    assert!(matches!(jobs.batch(bob, bobs.id).await, Err(Error::NotFound)));
    world.pass(crate::world::RETENTION.as_secs() + 60);
    world.storage.sweep().await.unwrap();
    assert!(matches!(jobs.batch(ada, adas.id).await, Err(Error::NotFound)));
}

impl World {
    async fn submit_batch(&self, new: NewBatch) -> Batch {
        match self.storage.jobs.submit_batch(new).await.unwrap() {
            Submitted::New(batch) | Submitted::Same(batch) => batch,
        }
    }
}

fn of_transcribes(owner: UserId, files: Vec<FileId>) -> NewBatch {
    let job = |file| BatchJob { parameters: transcribe(owner, file).parameters, callback: None };
    NewBatch {
        owner,
        jobs: files.into_iter().map(job).collect(),
        request_id: None,
        trace_parent: None,
        idempotency: None,
        builtin_voices: vec![],
    }
}
