//! Which pieces of a recording Whisper gets to hear.

use crate::vad::{SpanRules, SpeechCurve};

/// A piece of the recording, in seconds from its start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) start: f64,
    pub(super) end: f64,
}

impl Window {
    pub(super) fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// Whisper hears 30 seconds at once.
const LONGEST: f64 = 30.0;
/// A stretch that is too long is cut at the quietest moment between these.
const CUT_FROM: f64 = 18.0;
const CUT_TO: f64 = 29.5;

/// Context helps Whisper, so a pause must be long before it parts two windows; a long silence makes it invent words.
const RULES: SpanRules = SpanRules { min_speech: 0.15, min_silence: 2.0, padding: super::decode::PADDING };

/// Windows in order of time; together they hold all speech.
pub(super) fn plan(curve: &SpeechCurve) -> Vec<Window> {
    let mut windows = Vec::new();
    for span in curve.spans(RULES) {
        let mut start = span.start;
        while LONGEST < span.end - start {
            let end = curve.quietest(start + CUT_FROM, start + CUT_TO);
            windows.push(Window { start, end });
            start = end;
        }
        windows.push(Window { start, end: span.end });
    }
    windows
}
