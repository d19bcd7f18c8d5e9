//! The transcript as it is published, and its renderings as plain text, SubRip and WebVTT.

use crate::subtitles::{Cue, to_srt, to_vtt};
use serde::{Deserialize, Serialize};

/// The transcript JSON file, and part of a transcribe job's result. Times are seconds from the start of the recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// ISO 639-1 code of what was spoken.
    pub language: String,
    pub task: String,
    pub model: String,
    pub duration_seconds: f64,
    pub text: String,
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub id: usize,
    pub start: f64,
    pub end: f64,
    pub text: String,
    /// Mean probability of the words, 0 to 1.
    pub confidence: f32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Word {
    pub start: f64,
    pub end: f64,
    pub word: String,
    pub confidence: f32,
}

impl Transcript {
    /// One line a segment.
    pub fn plain_text(&self) -> String {
        self.segments.iter().map(|segment| format!("{}\n", segment.text.trim())).collect()
    }

    pub fn srt(&self) -> String {
        to_srt(&self.cues())
    }

    pub fn vtt(&self) -> String {
        to_vtt(&self.cues())
    }

    fn cues(&self) -> Vec<Cue> {
        self.segments
            .iter()
            .map(|segment| Cue {
                start: segment.start,
                end: segment.end,
                text: segment.text.trim().to_owned(),
            })
            .collect()
    }
}
