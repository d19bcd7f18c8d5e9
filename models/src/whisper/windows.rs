//! Which pieces of a recording Whisper gets to hear.

use crate::vad::{SpanRules, SpeechCurve};

/// A piece of the recording, in seconds from its start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) start: f64,
    /// Where speech ends; what follows is silence that Whisper expects to hear.
    pub(super) speech_end: f64,
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
/// Silence before and after speech, as far as the recording has it.
const PADDING: f64 = 0.4;

/// Context helps Whisper, so a pause must be long before it parts two windows; a long silence makes it invent words.
const RULES: SpanRules = SpanRules { min_speech: 0.15, min_silence: 2.0, padding: 0.0 };

/// Windows in order of time; together they hold all speech.
pub(super) fn plan(curve: &SpeechCurve) -> Vec<Window> {
    let mut windows = Vec::new();
    for span in curve.spans(RULES) {
        let mut start = (span.start - PADDING).max(0.0);
        let end = (span.end + PADDING).min(curve.duration());
        while LONGEST < end - start {
            let cut = curve.quietest(start + CUT_FROM, start + CUT_TO);
            windows.push(Window { start, speech_end: cut, end: cut });
            start = cut;
        }
        windows.push(Window { start, speech_end: span.end.min(end), end });
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speech_without_end_is_cut_at_its_pauses() {
        // 0.64 s of pause after every 10.24 s of speech.
        let probabilities: Vec<f32> = (0..6800).map(|i| if i % 340 < 320 { 0.9 } else { 0.1 }).collect();
        let curve = SpeechCurve::new(probabilities, 6800.0 * 0.032);
        let windows = plan(&curve);
        assert!(windows.iter().all(|window| window.duration() <= LONGEST));
        for pair in windows.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
            let within_period = pair[0].end % 10.88;
            assert!((10.24..10.88).contains(&within_period), "cut at {}", pair[0].end);
        }
        // The last speech ends at 216.96 s.
        assert_eq!(windows[0].start, 0.0);
        assert!((windows.last().unwrap().end - 217.36).abs() < 1e-9, "{windows:?}");
    }

    #[test]
    fn long_silence_is_left_out() {
        let probabilities = [vec![0.0; 100], vec![0.9; 100], vec![0.0; 100], vec![0.9; 100]].concat();
        let windows = plan(&SpeechCurve::new(probabilities, 12.8));
        assert_eq!(windows.len(), 2);
        assert!((windows[0].start - 2.8).abs() < 1e-9 && (windows[0].end - 6.8).abs() < 1e-9);
        assert_eq!((windows[1].speech_end, windows[1].end), (12.8, 12.8));
    }
}
