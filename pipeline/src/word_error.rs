//! How many words of a text a listener missed, added or mistook.

/// Edits that turn the words heard into the words of the text, over the words of the text: 0 is perfect. None when the
/// text has no words. Case, punctuation and symbols do not count.
pub fn word_error_rate(text: &str, heard: &str) -> Option<f64> {
    let (text, heard) = (words(text), words(heard));
    if text.is_empty() { None } else { Some(edits(&text, &heard) as f64 / text.len() as f64) }
}

/// Lower case, letters, digits and inner apostrophes only.
fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace('’', "'")
        .split(|character: char| !character.is_alphanumeric() && character != '\'')
        .map(|word| word.trim_matches('\'').to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Levenshtein distance over words.
fn edits(left: &[String], right: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, word) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(word != other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::word_error_rate;

    #[test]
    fn counts_words_missed_added_and_mistaken() {
        assert_eq!(word_error_rate("And so, my fellow Americans!", "and so my fellow americans"), Some(0.0));
        assert_eq!(word_error_rate("one two three four", "one too four five"), Some(0.75));
        assert_eq!(word_error_rate("one two", ""), Some(1.0));
        assert_eq!(word_error_rate("…", "one"), None);
        assert_eq!(word_error_rate("don't", "don’t"), Some(0.0));
    }
}
