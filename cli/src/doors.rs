//! What HTTP asks of media and engines at once, answered by the worker's own pieces.

use api::doors::{BuiltinVoice, Preview, PreviewVoice, Probe, Speech};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use models::track::Script;
use models::{EngineError, Unwatched};
use pipeline::failure::Failure;
use pipeline::media::{MediaError, MediaRunner, PcmDecoding, Watch};
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use worker::engines::{Engines, LISTENING_RATE, REFERENCE_RATE, SpeechRequest, Voice};

pub(crate) struct MediaProbe(pub MediaRunner);

#[async_trait]
impl Probe for MediaProbe {
    async fn probe(&self, path: &Path) -> Result<MediaInfo, Failure> {
        self.0.probe(path, &CancellationToken::new()).await.map_err(|error| logged(&error))
    }
}

pub(crate) struct WorkerSpeech {
    engines: Arc<Engines>,
    media: MediaRunner,
    work_directory: PathBuf,
    /// A job that names a model runs that model or none.
    strict: bool,
}

impl WorkerSpeech {
    pub(crate) fn new(services: &worker::Services, strict: bool) -> Self {
        Self {
            engines: services.engines.clone(),
            media: services.media.clone(),
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

    async fn decode(&self, input: &Path, output: PathBuf, sample_rate: u32) -> Result<PathBuf, Failure> {
        let decoding = PcmDecoding { input: input.to_owned(), output: output.clone(), sample_rate };
        let watch = Watch { cancel: &CancellationToken::new(), on_progress: &mut |_| {} };
        self.media.decode_pcm(decoding, watch).await.map_err(|error| logged(&error))?;
        Ok(output)
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

    fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        self.engines.check(parameters, self.strict).map_err(refused)
    }

    async fn speech_seconds(&self, sample: &Path) -> Result<f64, Failure> {
        let directory = self.directory()?;
        let sound = self.decode(sample, directory.path().join("sound.wav"), LISTENING_RATE).await?;
        self.engines.speech_seconds(sound, &CancellationToken::new()).await.map_err(refused)
    }

    async fn preview(&self, preview: Preview) -> Result<Vec<u8>, Failure> {
        let directory = self.directory()?;
        let voice = match preview.voice {
            PreviewVoice::Builtin(id) => Voice::Builtin(self.engines.builtin_voice(id).ok_or_else(|| {
                Failure::permanent("not_found", "This built-in voice is no longer installed.")
            })?),
            PreviewVoice::Sample(path) => {
                let reference = directory.path().join("reference.wav");
                Voice::Reference(self.decode(&path, reference, REFERENCE_RATE).await?)
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
        self.engines
            .speak(request, (Unwatched, Unwatched), &CancellationToken::new())
            .await
            .map_err(refused)?;
        tokio::fs::read(&output).await.map_err(|error| {
            tracing::error!(%error, "could not read a preview");
            Failure::internal()
        })
    }
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
