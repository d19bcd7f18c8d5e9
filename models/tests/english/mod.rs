//! Word errors as Whisper's authors count them: after their normalisation of English, as far as these texts need it.

/// Lower case, no punctuation, contractions and numbers in one spelling, titles written out.
pub(crate) fn normalise(text: &str) -> Vec<String> {
    let mut text = text.to_lowercase().replace('’', "'").replace(['-', '—'], " ");
    for (short, long) in CONTRACTIONS {
        text = text.replace(short, long);
    }
    let text: String = text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect();
    text.split_whitespace()
        .filter(|word| !FILLERS.contains(word))
        .map(|word| REPLACEMENTS.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The least number of words to change, insert or delete.
pub(crate) fn word_errors(reference: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, expected) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, word) in heard.iter().enumerate() {
            let change = diagonal + usize::from(word != expected);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[heard.len()]
}

const FILLERS: [&str; 6] = ["hmm", "mm", "mhm", "mmm", "uh", "um"];

const CONTRACTIONS: [(&str, &str); 9] = [
    ("won't", "will not"),
    ("can't", "can not"),
    ("let's", "let us"),
    ("n't", " not"),
    ("'re", " are"),
    ("'ll", " will"),
    ("'ve", " have"),
    ("'m", " am"),
    ("'d", " would"),
];

const REPLACEMENTS: [(&str, &str); 22] = [
    ("mr", "mister"),
    ("mrs", "missus"),
    ("st", "saint"),
    ("dr", "doctor"),
    ("cannot", "can not"),
    ("honour", "honor"),
    ("colour", "color"),
    ("favour", "favor"),
    ("neighbour", "neighbor"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("twelve", "12"),
    ("twenty", "20"),
    ("hundred", "100"),
];
