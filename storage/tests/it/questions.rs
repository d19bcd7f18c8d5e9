//! What requests ask of engines in other processes: asked, answered, and forgotten when nobody waits.

use crate::world::World;
use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::join;
use pipeline::{
    failure::Failure,
    parameters::{JobKind, Parameters},
    questions::{PATIENCE, QuestionedVoice, SpeechAnswer, SpeechQuestion},
    state::JobState,
};
use sea_orm::ConnectionTrait as _;
use storage::{
    error::Error,
    ids::{JobId, UserId},
    jobs::{Completion, JobFilter, Lease, NewQuestion, Renewal},
    page::Page,
};

const KIND: JobKind = JobKind::AnswerSpeech;

#[tokio::test]
async fn a_question_is_answered_to_who_asked_and_then_forgotten() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let jobs = &world.storage.jobs;
    let id = ask(&world, ada).await;
    let mut changes = world.storage.events.subscribe(id);
    let lease = take(&world, id).await;
    assert_eq!(jobs.question(ada, id).await.unwrap().state, JobState::Running);
    let object = answer(&world, &lease).await;
    assert!(changes.next().now_or_never().is_some(), "whoever waits is told");
    let answered = jobs.question(ada, id).await.unwrap();
    assert_eq!(answered.state, JobState::Completed);
    let told: SpeechAnswer = serde_json::from_value(answered.result.unwrap()).unwrap();
    assert_eq!(told, SpeechAnswer::Preview { object: object.clone() });

    assert!(matches!(jobs.question(bob, id).await, Err(Error::NotFound)));
    jobs.withdraw(bob, id).await.unwrap();
    assert!(jobs.question(ada, id).await.is_ok(), "it is not his to withdraw");
    jobs.withdraw(ada, id).await.unwrap();
    jobs.withdraw(ada, id).await.unwrap();
    assert!(matches!(jobs.question(ada, id).await, Err(Error::NotFound)));
    assert_eq!(world.objects().await, [object]);
    world.storage.sweep().await.unwrap();
    assert_eq!(world.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn nobody_sees_a_question_as_a_job() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    let id = ask(&world, ada).await;
    let lease = take(&world, id).await;
    let filter = JobFilter::default();
    assert_eq!(jobs.list(ada, &filter, &Page::first()).await.unwrap().items, []);
    assert_eq!(jobs.list_all(&filter, &Page::first()).await.unwrap().items, []);
    assert!(matches!(jobs.find(ada, id).await, Err(Error::NotFound)));
    assert!(matches!(jobs.cancel(ada, id).await, Err(Error::NotFound)));
    let job = world.job(ada).await.id;
    assert!(matches!(jobs.question(ada, job).await, Err(Error::NotFound)), "nor a job as a question");
    jobs.withdraw(ada, job).await.unwrap();
    assert!(jobs.find(ada, job).await.is_ok());
    jobs.fail(&lease, &Failure::permanent("input_unusable", "No."), 0.0).await.unwrap();
    assert!(matches!(jobs.retry(ada, id).await, Err(Error::NotFound)));
    assert_eq!(world.deliveries(ada, id).await, []);
}

#[tokio::test]
async fn a_worker_stops_when_nobody_waits_any_more() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    let waiting = ask(&world, ada).await;
    jobs.withdraw(ada, waiting).await.unwrap();
    assert_eq!(jobs.dispatch(KIND, 10).await.unwrap(), []);
    let queued = ask(&world, ada).await;
    assert_eq!(jobs.dispatch(KIND, 10).await.unwrap(), [queued]);
    jobs.withdraw(ada, queued).await.unwrap();
    assert!(jobs.claim(queued, "worker").await.unwrap().is_none());

    let running = ask(&world, ada).await;
    let lease = take(&world, running).await;
    jobs.withdraw(ada, running).await.unwrap();
    assert_eq!(jobs.standing(&lease).await.unwrap(), Renewal::CancelRequested);
    assert!(jobs.cancelled(&lease).await.unwrap());
    world.storage.sweep().await.unwrap();
    assert!(jobs.question(ada, running).await.is_ok(), "a process may be about to read it");
    world.clock.advance(2 * PATIENCE);
    world.pass(1);
    world.storage.sweep().await.unwrap();
    assert!(matches!(jobs.question(ada, running).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn what_a_process_asked_that_died_is_forgotten() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    let (answered, running, waiting) =
        (ask(&world, ada).await, ask(&world, ada).await, ask(&world, ada).await);
    let dispatched = jobs.dispatch(KIND, 2).await.unwrap();
    assert_eq!(dispatched, [answered, running]);
    let lease = jobs.claim(answered, "worker").await.unwrap().unwrap().lease;
    answer(&world, &lease).await;
    let lease = jobs.claim(running, "worker").await.unwrap().unwrap().lease;
    let job = world.job(ada).await;
    world.clock.advance(2 * PATIENCE);
    world.pass(1);
    world.storage.sweep().await.unwrap();
    for forgotten in [answered, waiting] {
        assert!(matches!(jobs.question(ada, forgotten).await, Err(Error::NotFound)));
    }
    assert_eq!(jobs.standing(&lease).await.unwrap(), Renewal::Held, "its worker ends it first");
    assert_eq!(world.objects().await.len(), 1, "the file of the job is left");
    assert_eq!(jobs.find(ada, job.id).await.unwrap(), job);
}

#[tokio::test]
async fn a_question_fails_soon_for_somebody_waits() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    let id = ask(&world, ada).await;
    for _ in 0..3 {
        assert_eq!(jobs.question(ada, id).await.unwrap().state, JobState::Waiting);
        world.pass(1);
        let lease = take(&world, id).await;
        assert!(jobs.fail(&lease, &Failure::internal(), 1.0).await.unwrap());
    }
    let failed = jobs.question(ada, id).await.unwrap();
    assert_eq!((failed.state, failed.error), (JobState::Failed, Some(Failure::internal())));
}

#[tokio::test]
async fn an_answer_and_a_withdrawal_at_once_leave_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    for _ in 0..8 {
        let id = ask(&world, ada).await;
        let lease = take(&world, id).await;
        let (_, withdrawn) = join(answer(&world, &lease), jobs.withdraw(ada, id)).await;
        withdrawn.unwrap();
        // Where the answer came too late, its worker takes away what it has published, as it does of every job.
        match jobs.question(ada, id).await {
            Ok(job) => assert_eq!((job.state, job.result), (JobState::Cancelled, None)),
            Err(error) => assert!(matches!(error, Error::NotFound), "{error}"),
        }
    }
}

#[tokio::test]
async fn an_erased_account_takes_its_questions_along() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let jobs = &world.storage.jobs;
    let id = ask(&world, ada).await;
    let lease = take(&world, id).await;
    answer(&world, &lease).await;
    let running = ask(&world, ada).await;
    let lease = take(&world, running).await;
    let others = ask(&world, bob).await;
    world.storage.erase(ada).await.unwrap();
    assert_eq!(jobs.standing(&lease).await.unwrap(), Renewal::Lost);
    assert_eq!(world.objects().await, Vec::<String>::new());
    assert!(jobs.question(bob, others).await.is_ok());
    let asked = NewQuestion { owner: ada, question: preview(), request_id: None, trace_parent: None };
    assert!(jobs.ask(asked).await.is_err(), "nobody is left to ask");
}

#[tokio::test]
async fn jobs_of_a_newer_version_are_in_nobodys_way() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let jobs = &world.storage.jobs;
    ask(&world, ada).await;
    let database = sea_orm::Database::connect(world.config.database_url.as_str()).await.unwrap();
    database.execute_unprepared("UPDATE jobs SET kind = 'sing-along'").await.unwrap();
    let job = world.job(ada).await;
    assert_eq!(jobs.list(ada, &JobFilter::default(), &Page::first()).await.unwrap().items, [job]);
    let counted = jobs.counts().await.unwrap();
    assert_eq!(counted.iter().map(|count| count.kind).collect::<Vec<_>>(), [JobKind::Transcribe]);
}

async fn ask(world: &World, owner: UserId) -> JobId {
    let new =
        NewQuestion { owner, question: preview(), request_id: Some("a request".into()), trace_parent: None };
    let job = world.storage.jobs.ask(new).await.unwrap();
    assert_eq!((job.owner, job.kind), (owner, KIND));
    job.id
}

fn preview() -> SpeechQuestion {
    SpeechQuestion::Preview {
        voice: QuestionedVoice::Sample("voices/0/sample".into()),
        text: "Hello".into(),
        language: "en".into(),
    }
}

/// Dispatches and claims the question, which must be the only one that is due.
async fn take(world: &World, id: JobId) -> Lease {
    let jobs = &world.storage.jobs;
    assert_eq!(jobs.dispatch(KIND, 10).await.unwrap(), [id]);
    let claim = jobs.claim(id, "worker").await.unwrap().unwrap();
    assert_eq!(claim.parameters, Parameters::AnswerSpeech(preview()));
    claim.lease
}

/// The name of the object with the answer.
async fn answer(world: &World, lease: &Lease) -> String {
    let key = lease.object_key("preview.wav").unwrap();
    world.storage.objects.publish(world.staged(b"wav").await, &key).await.unwrap();
    let answer = SpeechAnswer::Preview { object: key.to_string() };
    let completion = Completion { outputs: vec![], result: serde_json::to_value(answer).unwrap() };
    world.storage.jobs.complete(lease, completion).await.unwrap();
    key.to_string()
}
