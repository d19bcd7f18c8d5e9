//! What HTTP must know at once and cannot find out itself, for it knows nothing of media or models.
//! The program that starts the server opens these doors.

use std::error::Error;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pipeline::failure::Failure;
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use uuid::Uuid;

/// Tells what a file holds, whatever its name says.
#[async_trait]
pub trait Probe: Send + Sync {
    /// A permanent failure says that `path` holds no audio or video that is accepted, and its message is shown to the
    /// owner; a transient one says that the probe itself could not run.
    async fn probe(&self, path: &Path) -> Result<MediaInfo, Failure>;
}

/// Asks the engines.
#[async_trait]
pub trait Speech: Send + Sync {
    /// The voices that everybody has. The same at every call of one process.
    fn builtin_voices(&self) -> Vec<BuiltinVoice>;

    /// Refuses a job whose engine or model is not there, with the code `model_unavailable` and, in the message, what
    /// to do about it.
    async fn check(&self, parameters: &Parameters) -> Result<(), Failure>;

    /// Whether any voice speaks this language, an ISO 639-1 code.
    async fn speaks(&self, language: &str) -> Result<bool, Failure>;

    /// Seconds of speech in the media file `sample`; a transient failure within 20 seconds where it takes longer.
    async fn speech_seconds(&self, sample: &Path) -> Result<f64, Failure>;

    /// A whole WAV file that speaks the text; a transient failure within 20 seconds where it takes longer.
    async fn preview(&self, preview: Preview) -> Result<Vec<u8>, Failure>;
}

/// Sends letters.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Returns once a mail server has taken the letter. Why it did not is for the log.
    async fn send(&self, letter: Letter) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Plain text for one reader.
#[derive(Clone)]
pub struct Letter {
    /// An address.
    pub to: String,
    pub subject: String,
    pub text: String,
}

#[derive(Clone, Debug)]
pub struct BuiltinVoice {
    pub id: Uuid,
    pub name: String,
    /// ISO 639-1 code.
    pub language: String,
    /// `male`, `female` or `neutral`, where known.
    pub gender: Option<String>,
    pub description: Option<String>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct Preview {
    pub voice: PreviewVoice,
    /// 1 to 500 characters.
    pub text: String,
    /// ISO 639-1 code.
    pub language: String,
}

#[derive(Clone, Debug)]
pub enum PreviewVoice {
    Builtin(Uuid),
    /// A recording of the speaker, readable until the call returns.
    Sample(PathBuf),
}
