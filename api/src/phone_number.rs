//! Telephone numbers, written as in E.164.

/// What is wrong with a text that is none.
pub(crate) const ISSUE: &str = "must be a number as in E.164, such as +14155550123";

/// A plus sign and two to fifteen digits, of which the first is no zero.
pub(crate) fn is_valid(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else { return false };
    (2..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn numbers_are_told_from_other_texts() {
        for number in ["+12", "+1234567890", "+123456789012345"] {
            assert!(is_valid(number), "{number}");
        }
        for text in [
            "",
            "+",
            "+1",
            "+0123",
            "1234567890",
            "+1234567890123456",
            "+12 34",
            "+12\n",
            " +12",
            "+1a",
            "++12",
            "+١٢٣",
            "tel:+12",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }
}
