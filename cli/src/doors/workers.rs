//! Speech by the workers, for a process that has no models: it goes by what they say that they have, and what only engines
//! can answer it asks them, by a job that it waits for.

#[cfg(test)]
mod tests;

use super::{check, shown, speaks, unexpected};
use api::doors::{Asker, BuiltinVoice, Preview, PreviewVoice, Speech};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use models::catalogue::Stock;
use pipeline::failure::Failure;
use pipeline::parameters::{JobKind, Parameters};
use pipeline::questions::{PATIENCE, QuestionedVoice, SpeechAnswer, SpeechQuestion};
use pipeline::state::JobState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::Storage;
use storage::error::Error as StorageError;
use storage::ids::{JobId, UserId};
use storage::jobs::{Job, NewQuestion};
use storage::objects::ObjectKey;
use storage::workers::Worker;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};
use worker::engines::choice::{self, Absent};

/// What the workers have is not asked for more often than this.
const FRESH: Duration = Duration::from_secs(1);
/// How often the question is looked at where nobody tells what other processes do to it.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) struct WorkerSpeech {
    storage: Storage,
    absent: Absent,
    /// How long a request waits for an answer.
    patience: Duration,
    seen: Mutex<Option<Seen>>,
}

/// Those that lived a moment ago.
#[derive(Clone)]
struct Seen {
    at: Instant,
    workers: Arc<[Worker]>,
}

impl WorkerSpeech {
    pub(crate) fn new(storage: Storage, absent: Absent) -> Self {
        Self { storage, absent, patience: PATIENCE, seen: Mutex::default() }
    }

    async fn live(&self) -> Result<Arc<[Worker]>, Failure> {
        if let Some(seen) = self.seen().clone().filter(|seen| seen.at.elapsed() < FRESH) {
            return Ok(seen.workers);
        }
        let workers: Arc<[Worker]> = self.live_now().await?.into();
        *self.seen() = Some(Seen { at: Instant::now(), workers: workers.clone() });
        Ok(workers)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn live_now(&self) -> Result<Vec<Worker>, Failure> {
        self.storage.workers.live().await.map_err(|error| unexpected(&error))
    }

    async fn ask(&self, asker: &Asker, question: SpeechQuestion) -> Result<Asked, Failure> {
        if !self.live_now().await?.iter().any(|worker| can_answer(worker, &question)) {
            return Err(nobody_there());
        }
        let new = NewQuestion {
            owner: asker.user,
            question,
            request_id: asker.request_id.clone(),
            trace_parent: asker.trace_parent,
        };
        let job = self.storage.jobs.ask(new).await.map_err(|error| unexpected(&error))?;
        let Self { storage, patience, .. } = self;
        Ok(Asked { storage: storage.clone(), owner: asker.user, job: job.id, patience: *patience })
    }
}

#[async_trait]
impl Speech for WorkerSpeech {
    async fn builtin_voices(&self) -> Result<Vec<BuiltinVoice>, Failure> {
        let stock = stock_for(&self.live().await?, JobKind::CloneVoice);
        Ok(shown(choice::builtin_voices(&stock)))
    }

    async fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        let stock = stock_for(&self.live().await?, parameters.kind());
        check(stock, parameters, self.absent).await
    }

    async fn speaks(&self, language: &str) -> Result<bool, Failure> {
        speaks(language).await
    }

    async fn speech_seconds(&self, asker: &Asker, sample: &ObjectKey) -> Result<f64, Failure> {
        let question = SpeechQuestion::SpeechSeconds { sample: sample.to_string() };
        match self.ask(asker, question).await?.answer().await? {
            SpeechAnswer::SpeechSeconds(seconds) => Ok(seconds),
            SpeechAnswer::Preview { .. } => Err(misunderstood()),
        }
    }

    async fn preview(&self, asker: &Asker, preview: Preview) -> Result<Vec<u8>, Failure> {
        let Preview { voice, text, language } = preview;
        let voice = match voice {
            PreviewVoice::Builtin(id) => QuestionedVoice::Builtin(id),
            PreviewVoice::Sample(sample) => QuestionedVoice::Sample(sample.to_string()),
        };
        let asked = self.ask(asker, SpeechQuestion::Preview { voice, text, language }).await?;
        match asked.answer().await? {
            SpeechAnswer::Preview { object } => {
                asked.bytes(&object).await.map_err(|error| unexpected(&error))
            }
            SpeechAnswer::SpeechSeconds(_) => Err(misunderstood()),
        }
    }
}

/// The models by which a job of this kind is judged: of those who would take it; where nobody does, of all who live. Where
/// nobody lives there may be any tomorrow, and the job waits for them.
fn stock_for(workers: &[Worker], kind: JobKind) -> Stock {
    if workers.is_empty() {
        return Stock::whole();
    }
    let takes = |worker: &Worker| worker.slots.contains_key(&kind);
    let nobody_takes = !workers.iter().any(takes);
    let judges = workers.iter().filter(|worker| nobody_takes || takes(worker));
    judges.flat_map(|worker| worker.models.iter().cloned()).collect()
}

fn can_answer(worker: &Worker, question: &SpeechQuestion) -> bool {
    let has_voice = match question {
        SpeechQuestion::Preview { voice: QuestionedVoice::Builtin(id), .. } => {
            let stock: Stock = worker.models.iter().cloned().collect();
            choice::builtin_voice(&stock, *id).is_some()
        }
        SpeechQuestion::Preview { voice: QuestionedVoice::Sample(_), .. }
        | SpeechQuestion::SpeechSeconds { .. } => true,
    };
    has_voice && worker.slots.contains_key(&JobKind::AnswerSpeech)
}

/// A question that is withdrawn, and its answer with it, when nobody waits for it any more: it was answered, it took too
/// long, or the client went.
struct Asked {
    storage: Storage,
    owner: UserId,
    job: JobId,
    patience: Duration,
}

impl Asked {
    async fn answer(&self) -> Result<SpeechAnswer, Failure> {
        match tokio::time::timeout(self.patience, self.ended()).await {
            Ok(ended) => told(ended.map_err(|error| unexpected(&error))?),
            Err(_) => {
                tracing::warn!(job.id = %self.job, "no worker answered in time");
                Err(all_busy())
            }
        }
    }

    /// The job once it has ended.
    async fn ended(&self) -> Result<Job, StorageError> {
        // Subscribed before the row is read, so that no change falls in between.
        let mut changes = self.storage.events.subscribe(self.job);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let job = self.storage.jobs.question(self.owner, self.job).await?;
            if job.state.is_terminal() {
                return Ok(job);
            }
            tokio::select! {
                _ = changes.next() => {}
                _ = look.tick(), if !self.storage.events.hear_all() => {}
            }
        }
    }

    /// Of the object with the answer.
    async fn bytes(&self, object: &str) -> Result<Vec<u8>, StorageError> {
        let mut reader = self.storage.objects.open(&ObjectKey::parse(object)?, None).await?;
        let mut bytes = vec![];
        reader.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let (storage, owner, job) = (self.storage.clone(), self.owner, self.job);
        // What is lost here with the process the sweep finds.
        tokio::spawn(async move {
            if let Err(error) = storage.jobs.withdraw(owner, job).await {
                tracing::warn!(error = &error as &dyn std::error::Error, job.id = %job, "a question stays for the sweep");
            }
        });
    }
}

fn told(job: Job) -> Result<SpeechAnswer, Failure> {
    match job.state {
        JobState::Completed => serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
            tracing::error!(%error, job.id = %job.id, "an answer was not understood");
            Failure::internal()
        }),
        JobState::Failed => Err(job.error.unwrap_or_else(Failure::internal)),
        JobState::Waiting | JobState::Queued | JobState::Running | JobState::Cancelled => {
            Err(Failure::internal())
        }
    }
}

fn nobody_there() -> Failure {
    Failure::transient(
        "service_unavailable",
        "No worker that could do this is there. Try again in a while; whoever runs the server has to start a worker that takes \
         answer-speech and has the models.",
    )
}

fn all_busy() -> Failure {
    Failure::transient(
        "service_unavailable",
        "All workers that could do this are busy. Try again in a while; more workers that take answer-speech make it faster.",
    )
}

fn misunderstood() -> Failure {
    tracing::error!("a worker answered another question");
    Failure::internal()
}
