//! What of a job can be refused without looking at a file.

use super::{
    AudioFormat, CloneVoice, ExtractAudio, GenerateVideo, Parameters, TimedText, Transcribe, TranscriptFormat,
};
use crate::languages;

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

/// Longest text, in characters, that one clone-voice job speaks.
pub const LONGEST_TEXT: usize = 200_000;
/// Most segments of one clone-voice job.
pub const MOST_SEGMENTS: usize = 10_000;
/// Longest prompt, in characters; the model reads no more than 224 tokens of it.
pub const LONGEST_PROMPT: usize = 1_000;

impl Parameters {
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
