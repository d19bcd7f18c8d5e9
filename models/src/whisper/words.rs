//! From tokens to words and segments in the time of the recording.

use super::decode::{Spoken, Token, mean_probability};
use super::windows::Window;
use crate::vad::SpeechCurve;
use crate::{Segment, Word};

/// The segment with its words, none of which begins before `earliest`; none if it has no text, or where it claims to be
/// nobody speaks.
pub(super) fn segment(spoken: &Spoken, earliest: f64, scene: &Scene<'_>) -> Option<Segment> {
    let text = text(&spoken.tokens);
    let start = scene.place(spoken.start - TOLERANCE).max(earliest);
    let end = scene.place(spoken.end + TOLERANCE).max(start);
    let voiced = scene.curve.voiced_within(start, end)?;
    if text.is_empty() {
        return None;
    }
    let mut words: Vec<Word> = Vec::new();
    let mut from = start;
    for tokens in group(&spoken.tokens, spoken.spaced) {
        // The mark behind a word takes up the pause, the word does not.
        let sounding =
            tokens.iter().rfind(|token| !is_mark(token)).map_or(from, |token| scene.place(token.end));
        let until = sounding.max(from);
        let exact = scene.curve.voiced_within(from, until);
        words.push(Word {
            start: exact.map_or(from, |span| span.start),
            end: exact.map_or(until, |span| span.end),
            text: self::text(tokens),
            confidence: mean_probability(tokens),
        });
        from = tokens.last().map_or(until, |token| scene.place(token.end).max(until));
    }
    let (start, end) = match (words.first(), words.last()) {
        (Some(first), Some(last)) => (first.start, last.end),
        _ => (voiced.start, voiced.end),
    };
    Some(Segment { start, end, text, confidence: spoken.confidence(), words })
}

/// Where a segment was heard.
pub(super) struct Scene<'a> {
    pub(super) window: &'a Window,
    pub(super) curve: &'a SpeechCurve,
}

impl Scene<'_> {
    /// A time of the window in the recording.
    fn place(&self, time: f64) -> f64 {
        (self.window.start + time).clamp(self.window.start, self.window.end)
    }
}

/// How far Whisper's times may be off, in seconds.
const TOLERANCE: f64 = 0.5;

/// Tokens that form a word: it begins with a space, or in a language without spaces with a whole character. Punctuation
/// belongs to the word before it.
fn group(tokens: &[Token], spaced: bool) -> Vec<&[Token]> {
    let mut starts = Vec::new();
    for index in 0..tokens.len() {
        let begins = if spaced {
            tokens[index].bytes.starts_with(b" ")
        } else {
            std::str::from_utf8(&joined(&tokens[starts.last().copied().unwrap_or(0)..index])).is_ok()
        };
        if index == 0 || begins && !is_mark(&tokens[index]) {
            starts.push(index);
        }
    }
    starts.push(tokens.len());
    starts.windows(2).map(|pair| &tokens[pair[0]..pair[1]]).filter(|word| !text(word).is_empty()).collect()
}

/// A lone space, a dash, a comma: no word of its own.
fn is_mark(token: &Token) -> bool {
    !token.bytes.iter().any(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

fn joined(tokens: &[Token]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect()
}

fn text(tokens: &[Token]) -> String {
    String::from_utf8_lossy(&joined(tokens)).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(parts: &[&[u8]]) -> Vec<Token> {
        parts.iter().map(|bytes| Token { bytes: bytes.to_vec(), probability: 0.5, end: 0.0 }).collect()
    }

    fn words(parts: &[&[u8]], spaced: bool) -> Vec<String> {
        group(&tokens(parts), spaced).into_iter().map(text).collect()
    }

    #[test]
    fn a_space_begins_a_word_and_punctuation_ends_it() {
        let parts: [&[u8]; 8] = [b" And", b" so", b",", b" my", b" fell", b"ow", b" -", b" Americans"];
        assert_eq!(words(&parts, true), ["And", "so,", "my", "fellow -", "Americans"]);
    }

    #[test]
    fn without_spaces_characters_are_words_and_never_torn() {
        let (first, second) = "世".as_bytes().split_at(1);
        let parts: [&[u8]; 3] = ["你好".as_bytes(), first, second];
        assert_eq!(words(&parts, false), ["你好", "世"]);
    }
}
