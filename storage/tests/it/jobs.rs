//! Jobs as their owner sees them: submit, find, list, cancel, retry, and whose turn it is.

use crate::world::{World, audio, idempotency, new_job, transcribe, video};
use pipeline::{
    failure::Failure,
    media_info::MediaInfo,
    parameters::{CloneVoice, Extend, GenerateVideo, JobKind, Parameters, Quality, VideoContainer},
    state::{JobState, JobStatus},
};
use std::collections::HashMap;
use storage::{
    error::{Conflict, Error},
    files::NewFile,
    ids::{FileId, JobId, ProjectId, UserId},
    jobs::{Job, JobFilter, NewJob, Submitted},
    page::Page,
};
use uuid::Uuid;

const TRACE_PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_submitted_job_waits_and_is_its_owners() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let project = world.storage.projects.find_or_create(ada, "film").await.unwrap().id;
    let file = world.audio(ada).await;
    let new = NewJob {
        priority: 3,
        project: Some(project),
        request_id: Some("request".into()),
        trace_parent: Some(TRACE_PARENT.parse().unwrap()),
        ..transcribe(ada, file)
    };
    let job = world.submit(new).await;
    assert_eq!((job.kind, job.state, job.attempt), (JobKind::Transcribe, JobState::Waiting, 0));
    assert_eq!((job.priority, job.project, job.request_id.as_deref()), (3, Some(project), Some("request")));
    assert_eq!(job.trace_parent.unwrap().to_string(), TRACE_PARENT);
    assert_eq!((job.progress, job.result.as_ref()), (0.0, None));
    assert_eq!(world.storage.jobs.find(ada, job.id).await.unwrap(), job);
    assert_eq!(world.storage.jobs.outputs(&job).await.unwrap(), []);

    let jobs = &world.storage.jobs;
    assert!(matches!(jobs.find(bob, job.id).await, Err(Error::NotFound)));
    assert!(matches!(jobs.cancel(bob, job.id).await, Err(Error::NotFound)));
    assert!(matches!(jobs.retry(bob, job.id).await, Err(Error::NotFound)));
    assert_eq!(jobs.list(bob, &JobFilter::default(), &Page::first()).await.unwrap().items, []);
    assert!(matches!(jobs.cancel(ada, JobId::new()).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn inputs_that_cannot_be_are_refused_with_their_field() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let picture = world.file(ada, Some(video(2.0))).await.id;
    let text = world.file(ada, None).await.id;
    let subtitles =
        NewFile { content_type: "text/vtt; charset=utf-8".into(), ..world.new_file(ada, None).await };
    let subtitles = world.storage.files.insert(subtitles).await.unwrap().id;
    let sound = world.audio(ada).await;
    let generate =
        |video: FileId, audio: FileId, subtitles: Option<FileId>| generate(ada, (video, audio, subtitles));
    let clone = |profile: Option<Uuid>, builtin_voices: Vec<Uuid>| {
        let parameters = CloneVoice {
            text_content: Some("Hello".into()),
            segments: vec![],
            audio_file_id: None,
            voice_profile_id: profile,
            target_language: "en".into(),
            speed: 1.0,
        };
        NewJob { builtin_voices, ..new_job(ada, Parameters::CloneVoice(parameters)) }
    };
    let builtin = Uuid::now_v7();
    let refused = async |new: NewJob| match world.storage.jobs.submit(new).await {
        Err(Error::MissingInput { field }) => format!("missing {field}"),
        Err(Error::Input { field, .. }) => format!("wrong {field}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(transcribe(ada, FileId::new())).await, "missing audio_file_id");
    assert_eq!(refused(transcribe(bob, sound)).await, "missing audio_file_id");
    assert_eq!(refused(transcribe(ada, picture)).await, "wrong audio_file_id");
    assert_eq!(refused(transcribe(ada, text)).await, "wrong audio_file_id");
    assert_eq!(refused(generate(sound, sound, None)).await, "wrong original_video_id");
    assert_eq!(refused(generate(picture, text, None)).await, "wrong cloned_audio_id");
    assert_eq!(refused(generate(picture, sound, Some(sound))).await, "wrong subtitles_file_id");
    assert_eq!(refused(generate(picture, sound, Some(text))).await, "wrong subtitles_file_id");
    assert_eq!(refused(generate(picture, sound, Some(FileId::new()))).await, "missing subtitles_file_id");
    assert_eq!(refused(clone(Some(Uuid::now_v7()), vec![builtin])).await, "missing voice_profile_id");
    let foreign = NewJob { project: Some(ProjectId(7)), ..transcribe(ada, sound) };
    assert_eq!(refused(foreign).await, "missing project_id");
    assert_eq!(world.storage.jobs.counts().await.unwrap(), [], "nothing refused is stored");
    world.submit(generate(picture, sound, Some(subtitles))).await;
    world.submit(clone(Some(builtin), vec![builtin])).await;
}

#[tokio::test]
async fn a_voice_longer_than_the_picture_needs_leave() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let picture = world.file(ada, Some(video(2.0))).await.id;
    let voice = async |seconds: f64, extend: Option<Extend>| {
        let sound = world.file(ada, Some(audio(seconds))).await.id;
        let mut new = generate(ada, (picture, sound, None));
        if let Parameters::GenerateVideo(parameters) = &mut new.parameters {
            parameters.extend = extend;
        }
        world.storage.jobs.submit(new).await
    };
    voice(2.1, None).await.unwrap();
    assert!(matches!(voice(2.11, None).await, Err(Error::Conflict(Conflict::VoiceTooLong))));
    voice(9.0, Some(Extend::Freeze)).await.unwrap();
}

#[tokio::test]
async fn a_file_with_picture_and_sound_serves_as_both() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let both = MediaInfo { audio: audio(2.0).audio, ..video(2.0) };
    let file = world.file(ada, Some(both)).await.id;
    world.submit(transcribe(ada, file)).await;
    world.submit(generate(ada, (file, file, None))).await;
}

#[tokio::test]
async fn an_idempotency_key_gives_the_same_job_for_a_day() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (file, bobs) = (world.audio(ada).await, world.audio(bob).await);
    let submit = |owner: UserId, fingerprint: &str| {
        let file = if owner == ada { file } else { bobs };
        let new = NewJob { idempotency: idempotency("key", fingerprint), ..transcribe(owner, file) };
        world.storage.jobs.submit(new)
    };
    let Submitted::New(job) = submit(ada, "body").await.unwrap() else { panic!("the key is new") };
    assert_eq!(submit(ada, "body").await.unwrap(), Submitted::Same(job.clone()));
    let other = submit(ada, "another body").await;
    assert!(matches!(other, Err(Error::Conflict(Conflict::IdempotencyKeyReused))));
    assert!(matches!(submit(bob, "another body").await, Ok(Submitted::New(_))), "keys are each user's own");
    world.pass(24 * 3600 - 10);
    assert!(matches!(submit(ada, "body").await, Ok(Submitted::Same(_))));
    world.pass(20);
    assert!(matches!(submit(ada, "another body").await, Ok(Submitted::New(again)) if again.id != job.id));
}

#[tokio::test]
async fn one_key_at_once_gives_one_job() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let submits = (0..16).map(|_| {
        let new = NewJob { idempotency: idempotency("key", "body"), ..transcribe(ada, file) };
        world.storage.jobs.submit(new)
    });
    let submitted = futures_util::future::try_join_all(submits).await.unwrap();
    let new = submitted.iter().filter(|submitted| matches!(submitted, Submitted::New(_))).count();
    assert_eq!(new, 1);
    let listed = world.storage.jobs.list(ada, &JobFilter::default(), &Page::first()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test]
async fn of_fifty_claims_one_wins() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let job = world.job(ada).await;
    assert!(world.storage.jobs.claim(job.id, "early").await.unwrap().is_none(), "it is not queued yet");
    assert_eq!(world.dispatch(10).await, [job.id]);
    let claims = (0..50).map(|_| world.storage.jobs.claim(job.id, "worker"));
    let claims = futures_util::future::try_join_all(claims).await.unwrap();
    let won: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!((won[0].job.attempt, won[0].job.state, won[0].lease.epoch), (1, JobState::Running, 1));
    assert!(world.storage.jobs.claim(JobId::new(), "worker").await.unwrap().is_none());
}

#[tokio::test]
async fn two_dispatchers_never_pick_the_same_job() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for _ in 0..20 {
        world.job(ada).await;
    }
    let picks = futures_util::future::join_all((0..10).map(|_| world.dispatch(5))).await.concat();
    let unique: std::collections::HashSet<_> = picks.iter().collect();
    assert_eq!(unique.len(), picks.len());
    assert_eq!(world.storage.jobs.queued().await.unwrap()[&JobKind::Transcribe], picks.len() as u64);
}

#[tokio::test]
async fn one_users_hundred_jobs_do_not_keep_another_waiting() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let file = world.audio(ada).await;
    let mut adas = vec![];
    for _ in 0..100 {
        adas.push(world.submit(transcribe(ada, file)).await.id);
    }
    let bobs = world.job(bob).await.id;
    let first = world.dispatch(2).await;
    assert_eq!(first, [adas[0], bobs], "within one pick owners alternate");
    let eves = [world.job(eve).await.id, world.job(eve).await.id];
    let next = world.dispatch(4).await;
    assert_eq!(next, [eves[0], adas[1], eves[1], adas[2]], "fewest active first, then age");
}

#[tokio::test]
async fn a_newcomer_is_seen_behind_any_number_of_jobs() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let file = world.audio(ada).await;
    // More than one pick looks at.
    for _ in 0..400 {
        world.submit(transcribe(ada, file)).await;
    }
    world.dispatch(30).await;
    let bobs = world.job(bob).await.id;
    assert_eq!(world.dispatch(1).await, [bobs]);
}

#[tokio::test]
async fn priority_goes_before_fairness_and_age_after() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let file = world.audio(ada).await;
    let low = world.submit(NewJob { priority: -1, ..transcribe(ada, file) }).await.id;
    let bobs = world.job(bob).await.id;
    let high = [
        world.submit(NewJob { priority: 5, ..transcribe(ada, file) }).await.id,
        world.submit(NewJob { priority: 5, ..transcribe(ada, file) }).await.id,
    ];
    assert_eq!(world.dispatch(10).await, [high[0], high[1], bobs, low]);
}

#[tokio::test]
async fn the_queue_position_counts_down_in_the_order_of_dispatch() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let file = world.audio(ada).await;
    let mut jobs = vec![];
    for _ in 0..3 {
        jobs.push(world.submit(transcribe(ada, file)).await);
    }
    let bobs = world.job(bob).await;
    let position = async |job: &Job| world.storage.jobs.queue_position(job).await.unwrap();
    assert_eq!(position(&jobs[0]).await, Some(1));
    assert_eq!(position(&bobs).await, Some(2));
    assert_eq!(position(&jobs[2]).await, Some(4));
    assert_eq!(world.dispatch(1).await, [jobs[0].id]);
    assert_eq!(position(&jobs[0]).await, Some(1));
    world.storage.jobs.claim(jobs[0].id, "worker").await.unwrap().unwrap();
    assert_eq!(position(&jobs[0]).await, None);
    assert_eq!((position(&bobs).await, position(&jobs[2]).await), (Some(1), Some(3)));
    world.storage.jobs.cancel(ada, jobs[1].id).await.unwrap();
    assert_eq!((position(&bobs).await, position(&jobs[2]).await), (Some(1), Some(2)));
    assert_eq!(position(&jobs[1]).await, None);
}

#[tokio::test]
async fn jobs_are_listed_by_status_kind_and_project() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let project = world.storage.projects.find_or_create(ada, "film").await.unwrap().id;
    let file = world.audio(ada).await;
    let waiting = world.submit(NewJob { project: Some(project), ..transcribe(ada, file) }).await.id;
    let cancelled = world.submit(transcribe(ada, file)).await.id;
    world.storage.jobs.cancel(ada, cancelled).await.unwrap();
    let list = async |filter: JobFilter| {
        let listing = world.storage.jobs.list(ada, &filter, &Page::first()).await.unwrap();
        listing.items.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    let all = JobFilter::default;
    assert_eq!(list(all()).await, [cancelled, waiting]);
    assert_eq!(list(JobFilter { status: Some(JobStatus::Queued), ..all() }).await, [waiting]);
    assert_eq!(list(JobFilter { status: Some(JobStatus::Cancelled), ..all() }).await, [cancelled]);
    assert_eq!(list(JobFilter { kind: Some(JobKind::ExtractAudio), ..all() }).await, []);
    assert_eq!(list(JobFilter { project: Some(project), ..all() }).await, [waiting]);
    let page = world.storage.jobs.list(ada, &all(), &Page { limit: 1, cursor: None }).await.unwrap();
    let rest = Page { limit: 1, cursor: page.next_cursor };
    assert_eq!(world.storage.jobs.list(ada, &all(), &rest).await.unwrap().items[0].id, waiting);
}

#[tokio::test]
async fn only_a_failed_job_is_retried_and_only_with_its_files() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let file = world.audio(ada).await;
    let job = world.submit(transcribe(ada, file)).await;
    let not_failed = || world.storage.jobs.retry(ada, job.id);
    assert!(matches!(not_failed().await, Err(Error::Conflict(Conflict::JobNotFailed))));
    let claim = world.claim(job.id).await;
    assert!(matches!(not_failed().await, Err(Error::Conflict(Conflict::JobNotFailed))));
    let failure = Failure::permanent("unreadable", "It cannot be read.");
    assert!(world.storage.jobs.fail(&claim.lease, &failure, 0.5).await.unwrap());
    let failed = world.storage.jobs.find(ada, job.id).await.unwrap();
    assert_eq!((failed.state, failed.error.clone()), (JobState::Failed, Some(failure.clone())));
    assert!(failed.finished_at.is_some());

    let again = world.storage.jobs.retry(ada, job.id).await.unwrap();
    assert_eq!((again.state, again.attempt, again.crashes), (JobState::Waiting, 0, 0));
    assert_eq!((again.error, again.finished_at, again.progress), (None, None, 0.0));
    let claim = world.claim(job.id).await;
    assert_eq!((claim.job.attempt, claim.lease.epoch), (1, 2), "epochs go on");
    world.storage.jobs.fail(&claim.lease, &failure, 0.5).await.unwrap();
    world.storage.files.delete(ada, file).await.unwrap();
    let gone = world.storage.jobs.retry(ada, job.id).await;
    assert!(matches!(gone, Err(Error::MissingInput { field }) if field == "audio_file_id"));
}

#[tokio::test]
async fn unfinished_jobs_are_counted_by_kind_and_state() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.job(ada).await;
    world.pass(100);
    world.job(ada).await;
    let done = world.job(ada).await;
    world.storage.jobs.cancel(ada, done.id).await.unwrap();
    world.dispatch(1).await;
    let counts = world.storage.jobs.counts().await.unwrap();
    let by_state: HashMap<_, _> =
        counts.iter().map(|count| (count.state, (count.count, count.oldest_seconds))).collect();
    assert_eq!(by_state, HashMap::from([(JobState::Queued, (1, 100)), (JobState::Waiting, (1, 0))]));
    assert!(counts.iter().all(|count| count.kind == JobKind::Transcribe));
}

fn generate(owner: UserId, (video, audio, subtitles): (FileId, FileId, Option<FileId>)) -> NewJob {
    new_job(
        owner,
        Parameters::GenerateVideo(GenerateVideo {
            original_video_id: video.as_uuid(),
            cloned_audio_id: audio.as_uuid(),
            output_format: VideoContainer::Mp4,
            quality: Quality::Medium,
            extend: None,
            keep_background: false,
            subtitles_file_id: subtitles.map(Uuid::from),
            burn_subtitles: false,
        }),
    )
}
