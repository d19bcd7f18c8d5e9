//! Text of any length as sentences that a voice can speak in one breath.

use crate::EngineError;

/// No piece is longer, in characters: about 15 s of speech, so that whoever cancels need not wait long.
pub const LONGEST_SENTENCE: usize = 220;

/// The sentences of `text` in order, none without a letter or digit, none longer than [`LONGEST_SENTENCE`].
/// Text without anything to speak is an [`EngineError::Input`].
pub fn sentences(text: &str) -> Result<Vec<String>, EngineError> {
    let mut sentences = Vec::new();
    for sentence in split_sentences(text) {
        let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        if is_speakable(&sentence) {
            split_long(&sentence, &mut sentences);
        }
    }
    if sentences.is_empty() {
        return Err(EngineError::Input("The text holds no letter or digit that could be spoken.".into()));
    }
    Ok(sentences)
}

fn is_speakable(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Words that end in a full stop in the middle of a sentence, in lower case without the stop.
const ABBREVIATIONS: [&str; 44] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "no", "vol", "fig",
    "approx", "inc", "ltd", "co", "corp", "gen", "col", "sgt", "capt", "lt", "rev", "hon", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sept", "sep", "oct", "nov", "dec", "bzw", "z.b", "usw", "ca", "bzgl",
];

fn split_sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let mut end = at + character.len_utf8();
        if !ends_sentence(character) {
            continue;
        }
        // Marks in a row, and the quotes and brackets that close after them, belong to the sentence.
        let mut last = character;
        while let Some(&(next_at, next)) = characters.peek() {
            if character == '\n' || !(ends_sentence(next) && next != '\n' || closes_quote(next)) {
                break;
            }
            last = next;
            end = next_at + next.len_utf8();
            characters.next();
        }
        let next = text[end..].chars().next();
        if character != '.' || last != '.' || full_stop_ends(&text[start..at], &text[end..], next) {
            sentences.push(&text[start..end]);
            start = end;
        }
    }
    sentences.push(&text[start..]);
    sentences
}

fn ends_sentence(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '؟' | '।' | '۔' | '\n')
}

fn closes_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '”' | '’' | '»' | '」' | '』' | ')' | ']')
}

/// Whether the full stop between `before` and `after` ends a sentence, rather than an abbreviation, initial or number.
fn full_stop_ends(before: &str, after: &str, next: Option<char>) -> bool {
    if next.is_some_and(|next| !next.is_whitespace()) {
        return false;
    }
    let following = after.trim_start().chars().next();
    if following.is_some_and(char::is_lowercase) {
        return false;
    }
    let word = before
        .rsplit(|character: char| character.is_whitespace() || character == '(')
        .next()
        .unwrap_or(before);
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    let abbreviation = ABBREVIATIONS.contains(&word.to_lowercase().as_str());
    // "No. 5" is an abbreviation, "No. He left." is not.
    let number_word = word.eq_ignore_ascii_case("no") && !following.is_some_and(char::is_numeric);
    following.is_none() || !(initial || abbreviation && !number_word)
}

/// Cuts at the last clause mark that fits, else at the last space, else anywhere.
fn split_long(sentence: &str, pieces: &mut Vec<String>) {
    let mut rest = sentence;
    while LONGEST_SENTENCE < rest.chars().count() {
        let limit = rest.char_indices().nth(LONGEST_SENTENCE).map_or(rest.len(), |(at, _)| at);
        let head = &rest[..limit];
        let after_clause =
            head.char_indices().filter(|&(at, mark)| is_clause_end(mark, &head[at + mark.len_utf8()..]));
        // A cut in the first third would leave a stump.
        let cut = after_clause
            .map(|(at, mark)| at + mark.len_utf8())
            .rfind(|&cut| limit / 3 < cut)
            .or_else(|| head.rfind(' ').filter(|&cut| 0 < cut))
            .unwrap_or(limit);
        push_speakable(&rest[..cut], pieces);
        rest = &rest[cut..];
    }
    push_speakable(rest, pieces);
}

fn is_clause_end(mark: char, after: &str) -> bool {
    match mark {
        ',' | ';' | ':' | '–' | '—' => after.starts_with(' '),
        '，' | '、' | '；' | '：' | '،' | '؛' => true,
        _ => false,
    }
}

fn push_speakable(piece: &str, pieces: &mut Vec<String>) {
    let piece = piece.trim();
    if is_speakable(piece) {
        pieces.push(piece.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(sentences(text).unwrap(), expected, "{text:?}");
    }

    #[test]
    fn sentences_end_where_readers_end_them() {
        check("Hello there. How are you?  Fine!", &["Hello there.", "How are you?", "Fine!"]);
        check(
            "Dr. Smith paid $3.50 at 10 a.m. today. J. R. Tolkien agreed.",
            &["Dr. Smith paid $3.50 at 10 a.m. today.", "J. R. Tolkien agreed."],
        );
        check("No. He left. See No. 5 there.", &["No.", "He left.", "See No. 5 there."]);
        check("\"Stop!\" she said... and left", &["\"Stop!\"", "she said... and left"]);
        check("你好。今天天气好吗？很好！", &["你好。", "今天天气好吗？", "很好！"]);
        check("كيف حالك؟ بخير", &["كيف حالك؟", "بخير"]);
        check("A title\nA line\r\n\n* * *\nend", &["A title", "A line", "end"]);
        check("version 2.0.1 is at example.com now", &["version 2.0.1 is at example.com now"]);
    }

    #[test]
    fn long_sentences_are_cut_and_no_word_is_lost() {
        let words: Vec<String> =
            (0..500).map(|n| if n % 7 == 0 { format!("word{n},") } else { format!("word{n}") }).collect();
        let pieces = sentences(&words.join(" ")).unwrap();
        assert!(pieces.iter().all(|piece| piece.chars().count() <= LONGEST_SENTENCE));
        assert!(pieces[..pieces.len() - 1].iter().all(|piece| piece.ends_with(',')));
        assert_eq!(pieces.join(" "), words.join(" "));
        let unbroken = "好".repeat(1000);
        assert_eq!(sentences(&unbroken).unwrap().concat(), unbroken);
    }

    #[test]
    fn text_that_cannot_be_spoken_is_refused() {
        for text in ["", "  \n", "...!?", "🙂 — 🙃"] {
            assert!(matches!(sentences(text), Err(EngineError::Input(_))), "{text:?}");
        }
    }
}
