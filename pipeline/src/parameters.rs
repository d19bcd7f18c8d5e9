//! The kinds of job and what each is told to do. Field names are those of the HTTP contract.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::languages;
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

/// What one job does. Stored in its row as JSON, so a field may be added but never change its meaning.
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
pub struct ExtractAudio {
    pub video_file_id: Uuid,
    pub audio_format: AudioFormat,
    /// In hertz; none keeps the rate of the source where the format has it.
    pub sample_rate: Option<u32>,
    /// 1 or 2; none keeps the channels of the source, at most 2.
    pub channels: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
pub struct DeliverWebhook {
    /// What is said to whom stands in the row of the delivery.
    pub delivery_id: Uuid,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// A parameter that cannot be: which one, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {issue}")]
pub struct Invalid {
    pub field: String,
    pub issue: String,
}

impl Invalid {
    pub fn new(field: impl Into<String>, issue: impl Into<String>) -> Self {
        Self { field: field.into(), issue: issue.into() }
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

/// Longest text, in characters, that one clone-voice job speaks.
pub const LONGEST_TEXT: usize = 200_000;
/// Most segments of one clone-voice job.
pub const MOST_SEGMENTS: usize = 10_000;
/// Longest prompt, in characters; the model reads no more than 224 tokens of it.
pub const LONGEST_PROMPT: usize = 1_000;

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

    /// Everything that can be refused without looking at a file.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::ExtractAudio(job) => job.validate(),
            Self::Transcribe(job) => job.validate(),
            Self::CloneVoice(job) => job.validate(),
            Self::GenerateVideo(job) => job.validate(),
            Self::DeliverWebhook(_) | Self::AnswerSpeech(_) => Ok(()),
        }
    }
}

impl ExtractAudio {
    fn validate(&self) -> Result<(), Invalid> {
        if let Some(rate) = self.sample_rate {
            check_rate(self.audio_format, rate)?;
        }
        match self.channels {
            None | Some(1 | 2) => Ok(()),
            Some(_) => Err(Invalid::new("channels", "must be 1 or 2")),
        }
    }
}

impl Transcribe {
    fn validate(&self) -> Result<(), Invalid> {
        if let Some(language) = &self.source_language {
            check_spoken_language(language)?;
        }
        if let Some(prompt) = &self.prompt {
            check_text("prompt", prompt, LONGEST_PROMPT)?;
        }
        if self.output_formats.is_empty() {
            return Err(Invalid::new("output_formats", "must name at least one of json, text, srt, vtt"));
        }
        let distinct = TranscriptFormat::first_of_each(self.output_formats.iter().copied());
        if distinct.len() < self.output_formats.len() {
            return Err(Invalid::new("output_formats", "must name each format once"));
        }
        Ok(())
    }
}

impl CloneVoice {
    fn validate(&self) -> Result<(), Invalid> {
        if self.voice_profile_id.is_none() && self.audio_file_id.is_none() {
            return Err(Invalid::new(
                "audio_file_id",
                "either audio_file_id or voice_profile_id is required",
            ));
        }
        check_language("target_language", &self.target_language)?;
        if !(0.5..=2.0).contains(&self.speed) {
            return Err(Invalid::new("speed", "must lie between 0.5 and 2.0"));
        }
        if !self.segments.is_empty() {
            return check_segments(&self.segments);
        }
        match &self.text_content {
            None => Err(Invalid::new("text_content", "either text_content or segments is required")),
            Some(text) => check_spoken("text_content", text),
        }
    }
}

impl GenerateVideo {
    fn validate(&self) -> Result<(), Invalid> {
        if self.burn_subtitles && self.subtitles_file_id.is_none() {
            return Err(Invalid::new("subtitles_file_id", "is required to burn subtitles in"));
        }
        Ok(())
    }
}

fn check_rate(format: AudioFormat, rate: u32) -> Result<(), Invalid> {
    if !(8_000..=48_000).contains(&rate) {
        return Err(Invalid::new("sample_rate", "must lie between 8000 and 48000"));
    }
    match format.sample_rates() {
        Some(rates) if !rates.contains(&rate) => {
            let listed = rates.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            Err(Invalid::new("sample_rate", format!("{} has the sample rates {listed}", format.as_str())))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_segments(segments: &[TimedText]) -> Result<(), Invalid> {
    if segments.len() > MOST_SEGMENTS {
        return Err(Invalid::new("segments", format!("must be at most {MOST_SEGMENTS}")));
    }
    let mut characters = 0;
    let mut last_end = 0.0;
    for (index, segment) in segments.iter().enumerate() {
        let field = |name: &str| format!("segments.{index}.{name}");
        if !segment.start.is_finite() || segment.start < last_end {
            return Err(Invalid::new(field("start"), "must not lie before the end of the segment before it"));
        }
        if !segment.end.is_finite() || segment.end <= segment.start || segment.end > 86_400.0 {
            return Err(Invalid::new(field("end"), "must lie after start and within a day"));
        }
        check_spoken(&field("text"), &segment.text)?;
        last_end = segment.end;
        characters += segment.text.chars().count();
    }
    if characters > LONGEST_TEXT {
        return Err(Invalid::new("segments", format!("must hold at most {LONGEST_TEXT} characters")));
    }
    Ok(())
}

fn check_spoken(field: &str, text: &str) -> Result<(), Invalid> {
    check_text(field, text, LONGEST_TEXT)?;
    if text.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    Err(Invalid::new(field, "must hold something that can be spoken: a letter or a digit"))
}

fn check_text(field: &str, text: &str, longest: usize) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new(field, "must not hold NUL"));
    }
    if text.chars().count() > longest {
        return Err(Invalid::new(field, format!("must be at most {longest} characters")));
    }
    Ok(())
}

fn check_language(field: &str, code: &str) -> Result<(), Invalid> {
    let shaped = (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if shaped { Ok(()) } else { Err(Invalid::new(field, "must be an ISO 639-1 code such as en")) }
}

fn check_spoken_language(code: &str) -> Result<(), Invalid> {
    if languages::TRANSCRIBED.contains(&code) {
        return Ok(());
    }
    Err(Invalid::new("source_language", "must be the code of a language that Whisper knows, such as en"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clone_voice() -> CloneVoice {
        CloneVoice {
            text_content: Some("Hello.".into()),
            segments: vec![],
            audio_file_id: Some(Uuid::nil()),
            voice_profile_id: None,
            target_language: "en".into(),
            speed: 1.0,
        }
    }

    #[track_caller]
    fn refused(job: CloneVoice, field: &str) {
        let invalid = Parameters::CloneVoice(job).validate().unwrap_err();
        assert_eq!(invalid.field, field, "{invalid}");
    }

    #[test]
    fn a_clone_needs_a_voice_and_something_to_say() {
        assert_eq!(Parameters::CloneVoice(clone_voice()).validate(), Ok(()));
        refused(CloneVoice { audio_file_id: None, ..clone_voice() }, "audio_file_id");
        refused(CloneVoice { text_content: None, ..clone_voice() }, "text_content");
        refused(CloneVoice { text_content: Some("?!…".into()), ..clone_voice() }, "text_content");
        refused(CloneVoice { text_content: Some("a\0b".into()), ..clone_voice() }, "text_content");
        refused(CloneVoice { speed: f32::NAN, ..clone_voice() }, "speed");
        refused(CloneVoice { target_language: "english".into(), ..clone_voice() }, "target_language");
    }

    #[test]
    fn a_transcript_is_of_a_known_language_and_in_each_format_once() {
        let refusal = |language: Option<&str>, output_formats| {
            let job = Transcribe {
                audio_file_id: Uuid::nil(),
                source_language: language.map(str::to_owned),
                task: TranscribeTask::Transcribe,
                model: None,
                word_timestamps: true,
                prompt: None,
                output_formats,
            };
            Parameters::Transcribe(job).validate().err().map(|invalid| invalid.field)
        };
        let (json, text) = (TranscriptFormat::Json, TranscriptFormat::Text);
        for known in [None, Some("en"), Some("haw"), Some("yue")] {
            assert_eq!(refusal(known, vec![json]), None);
        }
        for unknown in ["xx", "english", "EN", ""] {
            assert_eq!(refusal(Some(unknown), vec![json]).as_deref(), Some("source_language"), "{unknown}");
        }
        let asked = [text, json, text, json, json];
        assert_eq!(refusal(None, vec![json, json]).as_deref(), Some("output_formats"));
        assert_eq!(refusal(None, asked.to_vec()).as_deref(), Some("output_formats"));
        assert_eq!(TranscriptFormat::first_of_each(asked), [text, json]);
    }

    #[test]
    fn segments_follow_each_other() {
        let segment = |start, end| TimedText { start, end, text: "hello".into() };
        let with = |segments| CloneVoice { segments, text_content: None, ..clone_voice() };
        assert_eq!(
            Parameters::CloneVoice(with(vec![segment(0.0, 1.0), segment(1.0, 2.0)])).validate(),
            Ok(())
        );
        refused(with(vec![segment(-1.0, 1.0)]), "segments.0.start");
        refused(with(vec![segment(0.0, 1.0), segment(0.5, 2.0)]), "segments.1.start");
        refused(with(vec![segment(1.0, 1.0)]), "segments.0.end");
        refused(with(vec![segment(0.0, f64::INFINITY)]), "segments.0.end");
    }

    #[test]
    fn a_rate_that_the_codec_lacks_is_refused_with_those_it_has() {
        let job = ExtractAudio {
            video_file_id: Uuid::nil(),
            audio_format: AudioFormat::Opus,
            sample_rate: Some(44_100),
            channels: None,
        };
        let invalid = Parameters::ExtractAudio(job).validate().unwrap_err();
        assert_eq!(invalid.field, "sample_rate");
        assert!(invalid.issue.contains("48000"), "{invalid}");
    }

    #[test]
    fn a_kind_is_asked_for_or_internal() {
        for kind in JobKind::ALL {
            assert!(JobKind::ASKED_FOR.contains(&kind) != JobKind::INTERNAL.contains(&kind), "{kind:?}");
            assert_eq!(JobKind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn parameters_survive_the_row() {
        let job = Parameters::CloneVoice(clone_voice());
        let json = serde_json::to_value(&job).unwrap();
        assert_eq!(json["kind"], "clone-voice");
        assert_eq!(serde_json::from_value::<Parameters>(json).unwrap(), job);
    }
}
