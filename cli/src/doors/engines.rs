//! Speech by the engines of this process.

use super::{Media, check, in_time, refused, shown, speaks, unexpected};
use api::doors::{Asker, BuiltinVoice, Preview, PreviewVoice, Speech};
use async_trait::async_trait;
use models::Observer;
use models::track::Script;
use pipeline::failure::Failure;
use pipeline::media::PcmDecoding;
use pipeline::parameters::Parameters;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Storage;
use storage::error::Error as StorageError;
use storage::objects::ObjectKey;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use worker::engines::choice::{self, Absent, builtin_voice};
use worker::engines::{Engines, LISTENING_RATE, REFERENCE_RATE, SpeechRequest, Voice, Waits};

/// The engines of this process.
pub(crate) struct EngineSpeech {
    storage: Storage,
    engines: Arc<Engines>,
    media: Media,
    work_directory: PathBuf,
    absent: Absent,
}

impl EngineSpeech {
    pub(crate) fn new(services: &worker::Services, media: Media, absent: Absent) -> Self {
        Self {
            storage: services.storage.clone(),
            engines: services.engines.clone(),
            media,
            work_directory: services.config.work_directory.clone(),
            absent,
        }
    }

    fn directory(&self) -> Result<TempDir, Failure> {
        tempfile::Builder::new().prefix("speech-").tempdir_in(&self.work_directory).map_err(|error| {
            tracing::error!(%error, "could not make a directory for speech");
            Failure::internal()
        })
    }

    async fn heard(&self, sample: &ObjectKey, stop: &CancellationToken) -> Result<f64, Failure> {
        let directory = self.directory()?;
        let sound = self.sound(sample, directory.path(), (LISTENING_RATE, stop)).await?;
        self.engines.speech_seconds(sound, stop).await.map_err(refused)
    }

    /// The sound of a recording, in the directory.
    async fn sound(
        &self,
        sample: &ObjectKey,
        directory: &Path,
        (sample_rate, stop): (u32, &CancellationToken),
    ) -> Result<PathBuf, Failure> {
        let (input, output) = (directory.join("sample"), directory.join("sound.wav"));
        self.storage.objects.fetch(sample, &input).await.map_err(|error| match error {
            StorageError::NotFound => Failure::permanent("not_found", "The recording is gone."),
            other => unexpected(&other),
        })?;
        self.media.decode(PcmDecoding { input, output, sample_rate }, stop).await
    }

    async fn spoken(&self, preview: Preview, stop: &CancellationToken) -> Result<Vec<u8>, Failure> {
        let directory = self.directory()?;
        let voice = match preview.voice {
            PreviewVoice::Builtin(id) => {
                Voice::Builtin(builtin_voice(&self.engines.stock(), id).ok_or_else(|| {
                    Failure::permanent("not_found", "This built-in voice is no longer installed.")
                })?)
            }
            PreviewVoice::Sample(sample) => {
                Voice::Reference(self.sound(&sample, directory.path(), (REFERENCE_RATE, stop)).await?)
            }
        };
        let output = directory.path().join("preview.wav");
        let request = SpeechRequest {
            waits: Waits::Request,
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
impl Speech for EngineSpeech {
    async fn builtin_voices(&self) -> Result<Vec<BuiltinVoice>, Failure> {
        Ok(shown(choice::builtin_voices(&self.engines.stock())))
    }

    async fn check(&self, parameters: &Parameters) -> Result<(), Failure> {
        check(self.engines.stock(), parameters, self.absent).await
    }

    async fn speaks(&self, language: &str) -> Result<bool, Failure> {
        speaks(language).await
    }

    async fn speech_seconds(&self, _: &Asker, sample: &ObjectKey) -> Result<f64, Failure> {
        let stop = CancellationToken::new();
        let _ends_with_the_request = stop.clone().drop_guard();
        in_time(self.media.patience, self.heard(sample, &stop)).await
    }

    async fn preview(&self, _: &Asker, preview: Preview) -> Result<Vec<u8>, Failure> {
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
