//! Text to phonemes by the espeak-ng program, kept running on a pair of pipes: starting it for every sentence would
//! cost more than the sentence. It is GPL and therefore run, never linked.

mod espeak;
mod process;

use crate::EngineError;
pub use espeak::{EspeakSynthesizer, language_voice};
use process::Process;

/// Turns text of one language into the International Phonetic Alphabet, punctuation kept.
pub struct Phonemizer {
    process: Process,
}

impl Phonemizer {
    /// `voice` is an espeak-ng voice such as `en-us`; see [`language_voice`].
    pub fn new(voice: &str) -> Result<Self, EngineError> {
        Ok(Self { process: Process::start(voice)? })
    }

    /// The phonemes of `text` with its clause marks (`. , ; : ! ?`) in their places, always ending in one.
    /// Empty where nothing can be spoken.
    pub fn phonemes(&mut self, text: &str) -> Result<String, EngineError> {
        let mut phonemes = String::new();
        for clause in clauses(&clean(text)) {
            let spoken = self.process.phonemes(&clause.text)?;
            if spoken.is_empty() {
                continue;
            }
            if !phonemes.is_empty() {
                phonemes.push(' ');
            }
            phonemes.push_str(&spoken);
            phonemes.push(clause.mark);
        }
        Ok(phonemes)
    }
}

/// A stretch of text without punctuation that espeak-ng would split at, and the mark that follows it.
#[derive(Debug, PartialEq)]
struct Clause {
    text: String,
    mark: char,
}

/// Longer clauses are cut between words: the program reads lines of at most 1,000 bytes.
const CLAUSE_BYTES: usize = 800;

/// Splits at clause marks that end a word; a mark within a word or number (`3.14`, `10:30`) is part of it.
fn clauses(text: &str) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let mut current = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let mark = clause_mark(character);
        let inside_word = matches!(character, '.' | ',' | ':')
            && current.chars().next_back().is_some_and(char::is_alphanumeric)
            && characters.peek().is_some_and(|next| next.is_alphanumeric());
        match mark {
            Some(mark) if !inside_word => finish_clause(&mut clauses, &mut current, mark),
            Some(_) | None => current.push(character),
        }
        let at_space = character == ' ' && CLAUSE_BYTES / 2 <= current.len();
        // A word without end is cut anywhere rather than refused.
        if at_space || CLAUSE_BYTES <= current.len() {
            finish_clause(&mut clauses, &mut current, ',');
        }
    }
    finish_clause(&mut clauses, &mut current, '.');
    clauses
}

fn finish_clause(clauses: &mut Vec<Clause>, current: &mut String, mark: char) {
    let text = std::mem::take(current);
    let text = text.trim();
    if text.chars().any(char::is_alphanumeric) {
        clauses.push(Clause { text: text.into(), mark });
    } else if let Some(last) = clauses.last_mut()
        && matches!(mark, '!' | '?')
    {
        // "What?!" and "no...?" are questions still.
        last.mark = mark;
    }
}

fn clause_mark(character: char) -> Option<char> {
    match character {
        '.' | '…' | '。' | '．' | '।' | '۔' | '\n' => Some('.'),
        ',' | '，' | '、' | '،' | '(' | ')' | '–' | '—' => Some(','),
        ';' | '；' | '؛' => Some(';'),
        ':' | '：' => Some(':'),
        '!' | '！' | '¡' => Some('!'),
        '?' | '？' | '؟' | '¿' => Some('?'),
        _ => None,
    }
}

/// Only what can be spoken: control characters would be commands to espeak-ng, `[[` would begin raw phonemes.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => '\n',
            '[' | ']' | '\u{feff}' | '\u{fffd}' => ' ',
            '’' | 'ʼ' => '\'',
            control if control.is_control() => ' ',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Phonemizer {
        Phonemizer::new("en-us").unwrap()
    }

    #[test]
    fn punctuation_stays_where_it_was() {
        let phonemes = english().phonemes("Hello, world! Is this 3.14? Yes").unwrap();
        assert_eq!(phonemes, "həlˈoʊ, wˈɜːld! ɪz ðɪs θɹˈiː pɔɪnt wˈʌn fˈoːɹ? jˈɛs.");
    }

    #[test]
    fn one_process_serves_many_texts_and_outlives_hostile_ones() {
        let mut phonemizer = english();
        let hostile = [
            "-v de --stdin",
            "\0\u{1}+10S\u{1b}",
            "[[h@loU]]",
            "<speak>",
            "&amp;",
            "",
            "...",
            "]]>'\"$(id)`",
        ];
        for text in hostile {
            phonemizer.phonemes(text).unwrap();
        }
        let long = "word ".repeat(5000);
        assert_eq!(phonemizer.phonemes(&long).unwrap().matches("wˈɜːd").count(), 5000);
        phonemizer.phonemes(&"x".repeat(20_000)).unwrap();
        assert_eq!(phonemizer.phonemes("Hello").unwrap(), "həlˈoʊ.");
    }

    #[test]
    fn a_dead_process_is_started_again() {
        let mut phonemizer = english();
        phonemizer.process.kill();
        assert_eq!(phonemizer.phonemes("Hello").unwrap(), "həlˈoʊ.");
    }

    #[test]
    fn marks_within_words_do_not_split() {
        let text = |clause: &Clause| format!("{}{}", clause.text, clause.mark);
        let got: Vec<_> = clauses("At 10:30, 1,234.5 e.g. x?! (why) —no").iter().map(text).collect();
        assert_eq!(got, ["At 10:30,", "1,234.5 e.g.", "x!", "why,", "no."]);
    }

    #[test]
    fn every_language_has_its_voice() {
        for (code, voice) in [("en", "en-us"), ("fr", "fr-fr"), ("de", "de"), ("pt", "pt-br"), ("zh", "cmn")]
        {
            assert_eq!(language_voice(code).unwrap().as_deref(), Some(voice), "{code}");
        }
        assert_eq!(language_voice("xx").unwrap(), None);
        for code in ["es", "ja", "ar", "hi", "no", "he", "uk"] {
            let voice = language_voice(code).unwrap().unwrap();
            assert!(!Phonemizer::new(&voice).unwrap().phonemes("Babu, kudi").unwrap().is_empty(), "{code}");
        }
    }
}
