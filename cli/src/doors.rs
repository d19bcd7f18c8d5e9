//! What HTTP asks of media and engines at once: media of a sandboxed child of this process; engines of its own, or of the
//! workers.

mod engines;
mod workers;

pub(crate) use engines::EngineSpeech;
pub(crate) use workers::WorkerSpeech;

use api::doors::{BuiltinVoice, Probe};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use models::EngineError;
use models::catalogue::Stock;
use models::phonemes::language_voice;
use pipeline::failure::Failure;
use pipeline::media::{MediaError, MediaRunner, PcmDecoding, Watch};
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use worker::engines::choice::{self, Absent};

/// How long a request waits for media and engines: to learn a voice for its preview takes 20 s on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// A look into a file takes a moment, and each may be made to take all the memory that a child may have.
const MOST_CHILDREN: usize = 4;

/// The media children that HTTP asks for: no more at once than there are cores, so that a crowd of requests waits here and
/// the jobs keep their share.
#[derive(Clone)]
pub(crate) struct Media {
    runner: MediaRunner,
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl Media {
    pub(crate) fn new(runner: MediaRunner) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { runner, slots: Arc::new(Semaphore::new(cores.min(MOST_CHILDREN))), patience: PATIENCE }
    }

    async fn slot(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.slots.acquire().await.map_err(|_| Failure::internal())
    }

    async fn decode(&self, decoding: PcmDecoding, stop: &CancellationToken) -> Result<PathBuf, Failure> {
        let _slot = self.slot().await?;
        let output = decoding.output.clone();
        let watch = Watch { cancel: stop, on_progress: &mut |_| {} };
        self.runner.decode_pcm(decoding, watch).await.map_err(|error| logged(&error))?;
        Ok(output)
    }
}

pub(crate) struct MediaProbe(pub Media);

#[async_trait]
impl Probe for MediaProbe {
    async fn probe(&self, path: &Path) -> Result<MediaInfo, Failure> {
        let _slot = in_time(self.0.patience, self.0.slot()).await?;
        // Longer files may take longer than a request waits for its turn; the child has a limit of its own.
        self.0.runner.probe(path, &CancellationToken::new()).await.map_err(|error| logged(&error))
    }
}

/// What a client can be made to wait for.
async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        Err(Failure::transient("service_unavailable", "The server is too busy to do this at once."))
    })
}

fn shown(voices: Vec<choice::BuiltinVoice>) -> Vec<BuiltinVoice> {
    let shown = |voice: choice::BuiltinVoice| BuiltinVoice {
        id: voice.id,
        name: voice.name,
        language: voice.language,
        gender: Some(voice.gender),
        description: Some(format!("The voice of the model {}", voice.model)),
        created_at: DateTime::<Utc>::UNIX_EPOCH,
    };
    voices.into_iter().map(shown).collect()
}

async fn check(stock: Stock, parameters: &Parameters, absent: Absent) -> Result<(), Failure> {
    let parameters = parameters.clone();
    blocking(move || choice::check(&stock, &parameters, absent)).await
}

/// By the espeak-ng program of this machine, which all voices speak through.
async fn speaks(language: &str) -> Result<bool, Failure> {
    let language = language.to_owned();
    blocking(move || Ok(language_voice(&language)?.is_some())).await
}

/// Runs what asks other programs and waits for them.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(ask).await.map_err(|_| Failure::internal())?.map_err(refused)
}

fn unexpected(error: &storage::error::Error) -> Failure {
    tracing::error!(error = error as &dyn std::error::Error, "the storage failed a door");
    Failure::internal()
}

fn logged(error: &MediaError) -> Failure {
    tracing::info!(%error, "media refused");
    error.clone().into()
}

fn refused(error: EngineError) -> Failure {
    match error {
        EngineError::Input(sentence) => Failure::permanent("validation_error", sentence),
        EngineError::ModelMissing { .. } => Failure::permanent("model_unavailable", error.to_string()),
        EngineError::Cancelled => Failure::internal(),
        EngineError::Internal(cause) => {
            tracing::error!(error = format!("{cause:#}"), "an engine failed");
            Failure::internal()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EngineSpeech, Media, MediaProbe};
    use crate::config::Config;
    use crate::serve;
    use api::doors::{Asker, Probe as _, Speech as _};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use storage::ids::UserId;
    use storage::objects::ObjectKey;
    use tokio::sync::Semaphore;
    use worker::engines::choice::Absent;

    #[tokio::test]
    async fn a_request_does_not_wait_for_its_turn_for_ever() {
        let slots = Arc::new(Semaphore::new(0));
        let patience = Duration::from_millis(50);
        let data = tempfile::tempdir().unwrap();
        let config = Config { data_dir: data.path().to_owned(), ..Config::default() };
        let media = Media { slots, patience, ..Media::new(serve::media_runner(&config).unwrap()) };
        let storage = serve::storage_beside_a_server(&config).await.unwrap();
        let services = serve::worker_services(&config, storage.clone()).await.unwrap();
        let speech = EngineSpeech::new(&services, media.clone(), Absent::Replaced);
        let key = ObjectKey::parse("files/0/sample").unwrap();
        let sample = Path::new("sample.wav");
        let staged = storage.objects.stage().await.unwrap().finish().await.unwrap();
        storage.objects.publish(staged, &key).await.unwrap();
        let asker = Asker { user: UserId::new(), request_id: None, trace_parent: None };
        for refused in [
            MediaProbe(media).probe(sample).await.map(|_| ()).unwrap_err(),
            speech.speech_seconds(&asker, &key).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!((refused.code.as_str(), refused.retryable), ("service_unavailable", true));
        }
        let left = services.config.work_directory.read_dir().unwrap().next();
        assert!(left.is_none(), "nothing is left behind");
    }
}
