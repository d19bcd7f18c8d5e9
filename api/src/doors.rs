//! What HTTP must know at once and cannot find out itself, for it knows nothing of media or models.
//! The program that starts the server opens these doors.

use std::error::Error;
use std::path::Path;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use pipeline::failure::Failure;
use pipeline::media_info::MediaInfo;
use pipeline::parameters::Parameters;
use pipeline::trace::TraceParent;
use storage::ids::UserId;
use storage::objects::ObjectKey;
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
    /// The voices that everybody has.
    async fn builtin_voices(&self) -> Result<Vec<BuiltinVoice>, Failure>;

    /// Refuses a job whose engine or model is not there, with the code `model_unavailable` and, in the message, what
    /// to do about it.
    async fn check(&self, parameters: &Parameters) -> Result<(), Failure>;

    /// Whether any voice speaks this language, an ISO 639-1 code.
    async fn speaks(&self, language: &str) -> Result<bool, Failure>;

    /// Seconds of speech in the recording `sample`. A failure `service_unavailable` where it takes longer than a request
    /// can wait, or nobody is there who can tell; its message is shown to whoever asks, and says what to do.
    async fn speech_seconds(&self, asker: &Asker, sample: &ObjectKey) -> Result<f64, Failure>;

    /// A whole WAV file that speaks the text; fails as [`Speech::speech_seconds`] does.
    async fn preview(&self, asker: &Asker, preview: Preview) -> Result<Vec<u8>, Failure>;
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

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    pub user: UserId,
    /// Of the request, for the log.
    pub request_id: Option<String>,
    /// The span of the request.
    pub trace_parent: Option<TraceParent>,
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
    /// A recording of the speaker.
    Sample(ObjectKey),
}
