//! Workers are rows here, and the test answers for them.

use super::{WorkerSpeech, can_answer, stock_for};
use crate::config::Config;
use crate::serve;
use api::doors::{Asker, Speech as _};
use futures_util::future::join;
use models::catalogue::Stock;
use pipeline::failure::Failure;
use pipeline::parameters::JobKind;
use pipeline::questions::{QuestionedVoice, SpeechAnswer, SpeechQuestion};
use std::time::Duration;
use storage::Storage;
use storage::jobs::{Completion, Lease, Renewal};
use storage::objects::ObjectKey;
use storage::users::{Name, NewUser};
use storage::workers::Worker;
use tempfile::TempDir;
use worker::engines::choice::{Absent, builtin_voices};

fn worker(kinds: &[JobKind], models: &[&str]) -> Worker {
    Worker {
        name: "a worker".into(),
        version: "1.2.3".into(),
        device: "cpu".into(),
        slots: kinds.iter().map(|kind| (*kind, 1)).collect(),
        models: models.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn who_takes_a_job_judges_it_then_who_lives_then_the_catalogue() {
    let listener = worker(&[JobKind::Transcribe], &["silero-vad", "whisper-tiny"]);
    let other = worker(&[JobKind::ExtractAudio], &["whisper-base"]);
    let names = |workers: &[Worker]| {
        stock_for(workers, JobKind::Transcribe).names().iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&[listener, other.clone()]), ["silero-vad", "whisper-tiny"]);
    assert_eq!(names(&[other]), ["whisper-base"]);
    assert_eq!(stock_for(&[], JobKind::Transcribe), Stock::whole());
}

#[test]
fn a_question_is_for_who_takes_it_and_has_the_voice() {
    let voice = builtin_voices(&Stock::whole()).remove(0);
    let preview = |voice| SpeechQuestion::Preview { voice, text: "Hello".into(), language: "en".into() };
    let builtin = preview(QuestionedVoice::Builtin(voice.id));
    let sample = preview(QuestionedVoice::Sample("voices/0/sample".into()));
    let older = worker(&[JobKind::CloneVoice], &[&voice.model]);
    let without = worker(&[JobKind::AnswerSpeech], &["ge2e"]);
    let with = worker(&[JobKind::AnswerSpeech], &["ge2e", &voice.model]);
    let can = |worker| [&builtin, &sample].map(|question| can_answer(worker, question));
    assert_eq!([can(&older), can(&without), can(&with)], [[false, false], [false, true], [true, true]]);
}

struct World {
    storage: Storage,
    speech: WorkerSpeech,
    asker: Asker,
    sample: ObjectKey,
    _data: TempDir,
}

async fn world(patience: Duration) -> World {
    let data = tempfile::tempdir().unwrap();
    let config = Config { data_dir: data.path().to_owned(), ..Config::default() };
    let storage = serve::storage_beside_a_server(&config).await.unwrap();
    let user =
        NewUser { email: "ada@example.org".into(), password_hash: "hash".into(), name: Name::full("Ada") };
    let user = storage.users.create(user).await.unwrap().id;
    let speech = WorkerSpeech { patience, ..WorkerSpeech::new(storage.clone(), Absent::Replaced) };
    let asker = Asker { user, request_id: None, trace_parent: None };
    World { storage, speech, asker, sample: ObjectKey::parse("files/0/sample").unwrap(), _data: data }
}

impl World {
    async fn ask(&self) -> Result<f64, Failure> {
        self.speech.speech_seconds(&self.asker, &self.sample).await
    }

    /// The lease of the question, once there is one.
    async fn take(&self) -> Lease {
        let jobs = &self.storage.jobs;
        let job = soon(async || jobs.dispatch(JobKind::AnswerSpeech, 1).await.unwrap().pop()).await;
        jobs.claim(job, "worker").await.unwrap().unwrap().lease
    }

    async fn no_question_is_left(&self) {
        soon(async || self.storage.jobs.counts().await.unwrap().is_empty().then_some(())).await;
    }
}

#[tokio::test]
async fn who_asks_in_vain_is_told_and_takes_the_question_back() {
    let world = world(Duration::from_millis(50)).await;
    let alone = world.ask().await.unwrap_err();
    world.storage.workers.beat(&worker(&[JobKind::AnswerSpeech], &[])).await.unwrap();
    let late = world.ask().await.unwrap_err();
    for (refused, why) in [(alone, "is there"), (late, "are busy")] {
        assert_eq!((refused.code.as_str(), refused.retryable), ("service_unavailable", true));
        assert!(refused.message.contains(why), "{refused:?}");
    }
    world.no_question_is_left().await;
}

#[tokio::test]
async fn a_request_that_goes_takes_its_question_along() {
    let world = world(Duration::from_secs(60)).await;
    world.storage.workers.beat(&worker(&[JobKind::AnswerSpeech], &[])).await.unwrap();
    let lease = tokio::select! {
        answer = world.ask() => panic!("{answer:?}"),
        lease = world.take() => lease,
    };
    let jobs = &world.storage.jobs;
    let told =
        soon(async || Some(jobs.standing(&lease).await.unwrap()).filter(|told| *told != Renewal::Held));
    assert_eq!(told.await, Renewal::CancelRequested);
}

#[tokio::test]
async fn what_a_worker_says_is_the_answer() {
    let world = world(Duration::from_secs(60)).await;
    world.storage.workers.beat(&worker(&[JobKind::AnswerSpeech], &[])).await.unwrap();
    let (jobs, says) = (&world.storage.jobs, |answer| Completion {
        outputs: vec![],
        result: serde_json::to_value::<SpeechAnswer>(answer).unwrap(),
    });
    let answered = async |answer| {
        let lease = world.take().await;
        jobs.complete(&lease, says(answer)).await.unwrap();
    };
    assert_eq!(join(world.ask(), answered(SpeechAnswer::SpeechSeconds(4.5))).await.0, Ok(4.5));
    let other = SpeechAnswer::Preview { object: "jobs/0/1/preview.wav".into() };
    assert_eq!(join(world.ask(), answered(other)).await.0, Err(Failure::internal()));
    let deleted = Failure::permanent("input_deleted", "The recording is gone.");
    let failed = async {
        let lease = world.take().await;
        jobs.fail(&lease, &deleted, 0.0).await.unwrap();
    };
    assert_eq!(join(world.ask(), failed).await.0, Err(deleted.clone()));
    world.no_question_is_left().await;
}

/// Asks until there is something, and not for ever.
async fn soon<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap()
}
