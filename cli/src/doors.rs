//! What HTTP asks of media and engines at once, answered by the worker's own pieces.

use api::doors::{BuiltinVoice, Preview, PreviewVoice, Probe, Speech};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use models::phonemes::language_voice;
use models::track::Script;
use models::{EngineError, Observer};
use pipeline::failure::Failure;
use pipeline::media::{MediaError, MediaRunner, PcmDecoding, Watch};
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use worker::engines::{Engines, LISTENING_RATE, REFERENCE_RATE, SpeechRequest, Voice};

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

pub(crate) struct WorkerSpeech {
    engines: Arc<Engines>,
    media: Media,
    work_directory: PathBuf,
    /// A job that names a model runs that model or none.
    strict: bool,
}

impl WorkerSpeech {
    pub(crate) fn new(services: &worker::Services, media: Media, strict: bool) -> Self {
        Self {
            engines: services.engines.clone(),
            media,
            work_directory: services.config.work_directory.clone(),
            strict,
        }
    }

    fn directory(&self) -> Result<TempDir, Failure> {
        tempfile::Builder::new().prefix("speech-").tempdir_in(&self.work_directory).map_err(|error| {
            tracing::error!(%error, "could not make a directory for speech");
            Failure::internal()
        })
    }

    async fn heard(&self, sample: &Path, stop: &CancellationToken) -> Result<f64, Failure> {
        let directory = self.directory()?;
        let output = directory.path().join("sound.wav");
        let decoding = PcmDecoding { input: sample.to_owned(), output, sample_rate: LISTENING_RATE };
        let sound = self.media.decode(decoding, stop).await?;
        self.engines.speech_seconds(sound, stop).await.map_err(refused)
    }

    async fn spoken(&self, preview: Preview, stop: &CancellationToken) -> Result<Vec<u8>, Failure> {
        let directory = self.directory()?;
        let voice = match preview.voice {
            PreviewVoice::Builtin(id) => Voice::Builtin(self.engines.builtin_voice(id).ok_or_else(|| {
                Failure::permanent("not_found", "This built-in voice is no longer installed.")
            })?),
            PreviewVoice::Sample(input) => {
                let output = directory.path().join("reference.wav");
                let decoding = PcmDecoding { input, output, sample_rate: REFERENCE_RATE };
                Voice::Reference(self.media.decode(decoding, stop).await?)
            }
        };
        let output = directory.path().join("preview.wav");
        let request = SpeechRequest {
            voice,
            language: preview.language,
            script: Script::Text(preview.text),
            speed: 1.0,
            output: output.clone(),
        };
        let observers = (Asked(stop.clone()), Asked(stop.clone()));
        self.engines.speak(request, observers, stop).await.map_err(refused)?;
        tokio::fs::read(&output).await.map_err(|error| {
            tracing::error!(%error, "could not read a preview");
            Failure::internal()
        })
    }
}

#[async_trait]
impl Speech for WorkerSpeech {
    fn builtin_voices(&self) -> Vec<BuiltinVoice> {
        let voices = self.engines.builtin_voices().into_iter();
        voices
            .map(|voice| BuiltinVoice {
                id: voice.id,
                name: voice.name,
                language: voice.language,
                gender: Some(voice.gender),
                description: Some(format!("The voice of the model {}", voice.model)),
                created_at: DateTime::<Utc>::UNIX_EPOCH,
            })
            .collect()
    }

    async fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        let (engines, parameters, strict) = (self.engines.clone(), parameters.clone(), self.strict);
        blocking(move || engines.check(&parameters, strict)).await
    }

    async fn speaks(&self, language: &str) -> Result<bool, Failure> {
        let language = language.to_owned();
        blocking(move || Ok(language_voice(&language)?.is_some())).await
    }

    async fn speech_seconds(&self, sample: &Path) -> Result<f64, Failure> {
        let stop = CancellationToken::new();
        let _ends_with_the_request = stop.clone().drop_guard();
        in_time(self.media.patience, self.heard(sample, &stop)).await
    }

    async fn preview(&self, preview: Preview) -> Result<Vec<u8>, Failure> {
        let stop = CancellationToken::new();
        let _ends_with_the_request = stop.clone().drop_guard();
        in_time(self.media.patience, self.spoken(preview, &stop)).await
    }
}

/// Tells an engine whether the request that asked is still there.
struct Asked(CancellationToken);

impl Observer for Asked {
    fn progress(&mut self, _fraction: f32) {}

    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
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

/// Runs what asks other programs and waits for them.
async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(ask).await.map_err(|_| Failure::internal())?.map_err(refused)
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
    use super::{Media, MediaProbe, WorkerSpeech};
    use crate::config::Config;
    use crate::serve;
    use api::doors::{Probe as _, Speech as _};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Semaphore;
    use worker::engines::{Device, EngineConfig, Engines};

    #[tokio::test]
    async fn a_request_does_not_wait_for_its_turn_for_ever() {
        let slots = Arc::new(Semaphore::new(0));
        let patience = Duration::from_millis(50);
        let media = Media { slots, patience, ..Media::new(serve::media_runner(&Config::default()).unwrap()) };
        let work = tempfile::tempdir().unwrap();
        let config = EngineConfig { threads: 1, idle: Duration::ZERO, device: Device::Cpu };
        let speech = WorkerSpeech {
            engines: Arc::new(Engines::new(serve::catalogue(&Config::default()), config)),
            media: media.clone(),
            work_directory: work.path().to_owned(),
            strict: false,
        };
        let sample = Path::new("sample.wav");
        for refused in [
            MediaProbe(media).probe(sample).await.map(|_| ()).unwrap_err(),
            speech.speech_seconds(sample).await.map(|_| ()).unwrap_err(),
        ] {
            assert_eq!((refused.code.as_str(), refused.retryable), ("service_unavailable", true));
        }
        assert!(work.path().read_dir().unwrap().next().is_none(), "nothing is left behind");
    }
}
