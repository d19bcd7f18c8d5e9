//! The engines behind small traits, and the catalogue of the models that they run.
//!
//! An engine is a plain struct with a synchronous method; [`engine::Owner`] gives it a thread of its own,
//! loads it on first use and drops it when idle. Nothing here knows of jobs, HTTP or a database.

pub mod audio;
pub mod catalogue;
mod convert;
pub mod engine;
pub mod loudness;
pub mod phonemes;
pub mod piper;
pub mod script;
pub mod speaker;
pub mod timbre;
pub mod track;
pub mod vad;
pub mod whisper;

use audio::{Audio, SampleReader};

/// Told by an engine how far it is, and asked whether to go on.
pub trait Observer: Send {
    /// `fraction` of the whole call, 0 to 1, never falling.
    fn progress(&mut self, fraction: f32);
    /// True once the caller wants no result; the engine then returns [`EngineError::Cancelled`] soon.
    fn cancelled(&self) -> bool;
}

/// An observer for calls that nobody watches.
pub struct Unwatched;

impl Observer for Unwatched {
    fn progress(&mut self, _fraction: f32) {}
    fn cancelled(&self) -> bool {
        false
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cancelled")]
    Cancelled,
    /// The input cannot be used; the sentence says why and is fit for the user's eyes.
    #[error("{0}")]
    Input(String),
    /// A model of the catalogue is not on this machine.
    #[error("the model {name} is not installed; run: voxmill models pull {name}")]
    ModelMissing { name: String },
    /// Anything else; for the log, not for the user.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// Speech to text.
pub trait Transcriber: Send {
    /// Transcribes the whole of `audio` (16 kHz mono), window by window, so that memory does not grow with it.
    /// Silence makes no words.
    fn transcribe(
        &mut self,
        audio: &mut dyn SampleReader,
        options: &TranscribeOptions,
        observer: &mut dyn Observer,
    ) -> Result<Transcription, EngineError>;
}

#[derive(Clone, Debug, Default)]
pub struct TranscribeOptions {
    /// ISO 639-1 code; none lets the model find out.
    pub language: Option<String>,
    /// Into English instead of the spoken language.
    pub translate: bool,
    pub word_timestamps: bool,
    /// Names and terms that the recording is likely to hold.
    pub prompt: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Transcription {
    /// ISO 639-1 code of the spoken language.
    pub language: String,
    /// In order of time, not overlapping; times in seconds from the start of the audio.
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
pub struct Segment {
    pub start: f64,
    pub end: f64,
    pub text: String,
    /// Mean probability of the tokens, 0 to 1.
    pub confidence: f32,
    /// Empty unless asked for.
    pub words: Vec<Word>,
}

#[derive(Clone, Debug)]
pub struct Word {
    pub start: f64,
    pub end: f64,
    pub text: String,
    pub confidence: f32,
}

/// Text to speech in a voice of its own.
pub trait Synthesizer: Send {
    fn sample_rate(&self) -> u32;
    /// One sentence or clause; `speed` 0.5 to 2.0 scales the rate of speech, pitch unchanged.
    fn synthesize(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError>;
}

/// Makes synthesized speech sound like the speaker of a reference.
pub trait Cloner: Send {
    /// The name that a result carries, such as `timbre`.
    fn name(&self) -> &'static str;
    /// Learns the speaker of `reference`; following calls to [`Cloner::speak`] use that voice.
    fn learn(&mut self, reference: &Audio, observer: &mut dyn Observer) -> Result<(), EngineError>;
    fn sample_rate(&self) -> u32;
    /// One sentence in the learnt voice.
    fn speak(&mut self, text: &str, speed: f32) -> Result<Audio, EngineError>;
}

/// A voice as a unit vector.
pub trait SpeakerEncoder: Send {
    /// The speaker of `audio` (16 kHz mono, any length) as a vector of length 1.
    fn embed(&mut self, audio: &Audio) -> Result<Vec<f32>, EngineError>;
    /// How near the speaker of `audio` (16 kHz mono) is to `target`, and what a change of the spectrum does to it.
    fn sensitivity(&mut self, audio: &Audio, target: &[f32]) -> Result<Sensitivity, EngineError>;
}

#[derive(Clone, Debug)]
pub struct Sensitivity {
    /// Cosine, as between two vectors of [`SpeakerEncoder::embed`].
    pub similarity: f32,
    pub bands: Vec<BandSensitivity>,
}

#[derive(Clone, Copy, Debug)]
pub struct BandSensitivity {
    /// The middle of the band.
    pub hertz: f32,
    /// Growth of the similarity per neper of amplitude that the band is raised by.
    pub slope: f32,
}
