//! The kinds of job and what each is told to do. Field names are those of the HTTP contract.

mod check;
#[cfg(test)]
mod tests;

pub use check::{Invalid, LONGEST_PROMPT, LONGEST_TEXT, MOST_SEGMENTS};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::questions::SpeechQuestion;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    ExtractAudio,
    Transcribe,
    CloneVoice,
    GenerateVideo,
    /// Tells somebody's server that a job has ended. Made by the end of that job, and seen by nobody as a job.
    DeliverWebhook,
    /// Answers what a request asks of the engines. Seen by nobody as a job.
    AnswerSpeech,
}

impl JobKind {
    pub const ALL: [Self; 6] = [
        Self::ExtractAudio,
        Self::Transcribe,
        Self::CloneVoice,
        Self::GenerateVideo,
        Self::DeliverWebhook,
        Self::AnswerSpeech,
    ];

    /// The kinds that users ask for.
    pub const ASKED_FOR: [Self; 4] =
        [Self::ExtractAudio, Self::Transcribe, Self::CloneVoice, Self::GenerateVideo];

    /// The kinds that nobody asks for: they are in no list, and count for nothing that users may have.
    pub const INTERNAL: [Self; 2] = [Self::DeliverWebhook, Self::AnswerSpeech];

    /// The name in paths, rows, queues and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExtractAudio => "extract-audio",
            Self::Transcribe => "transcribe",
            Self::CloneVoice => "clone-voice",
            Self::GenerateVideo => "generate-video",
            Self::DeliverWebhook => "deliver-webhook",
            Self::AnswerSpeech => "answer-speech",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What one job does. Stored in its row as JSON, so a field may be added but never change its meaning. A worker leaves a
/// job with a field that it does not know to a newer one; so an added field is left out of the JSON where it says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Parameters {
    ExtractAudio(ExtractAudio),
    Transcribe(Transcribe),
    CloneVoice(CloneVoice),
    GenerateVideo(GenerateVideo),
    DeliverWebhook(DeliverWebhook),
    AnswerSpeech(SpeechQuestion),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtractAudio {
    pub video_file_id: Uuid,
    pub audio_format: AudioFormat,
    /// In hertz; none keeps the rate of the source where the format has it.
    pub sample_rate: Option<u32>,
    /// 1 or 2; none keeps the channels of the source, at most 2.
    pub channels: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcribe {
    pub audio_file_id: Uuid,
    /// One of [`languages::TRANSCRIBED`]; none finds out.
    pub source_language: Option<String>,
    pub task: TranscribeTask,
    /// A wish: the best installed model runs where this one is not.
    pub model: Option<String>,
    pub word_timestamps: bool,
    pub prompt: Option<String>,
    pub output_formats: Vec<TranscriptFormat>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneVoice {
    /// Spoken as one track; ignored where there are segments.
    pub text_content: Option<String>,
    /// Each spoken inside its own time, so that the track lies in sync on a video.
    pub segments: Vec<TimedText>,
    pub audio_file_id: Option<Uuid>,
    /// Wins over the file.
    pub voice_profile_id: Option<Uuid>,
    /// ISO 639-1 code.
    pub target_language: String,
    /// Rate of speech, 1 is the voice's own.
    pub speed: f32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateVideo {
    pub original_video_id: Uuid,
    pub cloned_audio_id: Uuid,
    pub output_format: VideoContainer,
    pub quality: Quality,
    /// What happens to a voice longer than the picture; none refuses it.
    pub extend: Option<Extend>,
    pub keep_background: bool,
    pub subtitles_file_id: Option<Uuid>,
    pub burn_subtitles: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverWebhook {
    /// What is said to whom stands in the row of the delivery.
    pub delivery_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedText {
    /// Seconds from the start of the track.
    pub start: f64,
    pub end: f64,
    pub text: String,
}

/// Defines an enum whose variants have one spelling, in JSON and as text.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|variant| variant.as_str() == text)
            }
        }
    };
}

named!(AudioFormat { Wav = "wav", Mp3 = "mp3", Flac = "flac", Aac = "aac", Opus = "opus" });
named!(VideoContainer { Mp4 = "mp4", Mkv = "mkv", Webm = "webm", Mov = "mov" });
named!(Quality { Low = "low", Medium = "medium", High = "high" });
named!(Extend { Freeze = "freeze" });
named!(TranscribeTask { Transcribe = "transcribe", Translate = "translate" });
named!(TranscriptFormat { Json = "json", Text = "text", Srt = "srt", Vtt = "vtt" });

impl AudioFormat {
    /// The sample rates, in hertz, that the codec has; none where it has all from 8,000 to 48,000.
    pub fn sample_rates(self) -> Option<&'static [u32]> {
        match self {
            Self::Wav | Self::Flac => None,
            Self::Mp3 | Self::Aac => {
                Some(&[8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
            }
            Self::Opus => Some(&[8_000, 12_000, 16_000, 24_000, 48_000]),
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Flac => "audio/flac",
            Self::Aac => "audio/mp4",
            Self::Opus => "audio/ogg",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav | Self::Mp3 | Self::Flac | Self::Opus => self.as_str(),
            // A bare AAC stream has no exact length; an MPEG-4 file has.
            Self::Aac => "m4a",
        }
    }
}

impl TranscriptFormat {
    /// The first of each that is asked for, in that order: every format makes one file, however often it is named.
    pub fn first_of_each(asked: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut formats = vec![];
        for format in asked {
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
        formats
    }
}

impl VideoContainer {
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Mkv => "video/x-matroska",
            Self::Webm => "video/webm",
            Self::Mov => "video/quicktime",
        }
    }

    pub fn extension(self) -> &'static str {
        self.as_str()
    }
}

/// What a file that a job reads must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    Video,
    /// An audio file, or a video with sound.
    Sound,
    Subtitles,
}

/// A file that a job reads: the field that names it and what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    pub field: &'static str,
    pub file_id: Uuid,
    pub kind: InputKind,
}

impl Parameters {
    pub fn kind(&self) -> JobKind {
        match self {
            Self::ExtractAudio(_) => JobKind::ExtractAudio,
            Self::Transcribe(_) => JobKind::Transcribe,
            Self::CloneVoice(_) => JobKind::CloneVoice,
            Self::GenerateVideo(_) => JobKind::GenerateVideo,
            Self::DeliverWebhook(_) => JobKind::DeliverWebhook,
            Self::AnswerSpeech(_) => JobKind::AnswerSpeech,
        }
    }

    /// The files that the job reads. A voice profile's sample is not among them.
    pub fn inputs(&self) -> Vec<Input> {
        let input = |field, file_id, kind| Input { field, file_id, kind };
        match self {
            Self::ExtractAudio(job) => vec![input("video_file_id", job.video_file_id, InputKind::Sound)],
            Self::Transcribe(job) => vec![input("audio_file_id", job.audio_file_id, InputKind::Sound)],
            Self::CloneVoice(job) => match (job.voice_profile_id, job.audio_file_id) {
                (None, Some(id)) => vec![input("audio_file_id", id, InputKind::Sound)],
                (Some(_), _) | (None, None) => vec![],
            },
            Self::GenerateVideo(job) => {
                let mut inputs = vec![
                    input("original_video_id", job.original_video_id, InputKind::Video),
                    input("cloned_audio_id", job.cloned_audio_id, InputKind::Sound),
                ];
                inputs.extend(
                    job.subtitles_file_id.map(|id| input("subtitles_file_id", id, InputKind::Subtitles)),
                );
                inputs
            }
            Self::DeliverWebhook(_) | Self::AnswerSpeech(_) => vec![],
        }
    }
}
