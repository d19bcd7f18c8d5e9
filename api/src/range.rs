//! Byte ranges: RFC 9110, section 14.

use std::ops::Range;

/// Which bytes of a file to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them, as 200.
    Whole,
    /// These, as 206.
    Range(Range<u64>),
    /// None of those asked for exist: 416.
    Unsatisfiable,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// The header `Range`.
    pub(crate) range: Option<&'a str>,
    /// The header `If-Range`: the range counts only while the file is still this one.
    pub(crate) if_range: Option<&'a str>,
}

/// What to send of `size` bytes whose entity tag is `etag`. A header that is malformed, of another unit, or asks for
/// several ranges is ignored, as the RFC allows.
pub(crate) fn resolve(asked: Asked<'_>, etag: &str, size: u64) -> Part {
    let Some(range) = asked.range else { return Part::Whole };
    if asked.if_range.is_some_and(|tag| tag != etag) {
        return Part::Whole;
    }
    let Some(range) = range.trim().strip_prefix("bytes=") else { return Part::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        (Number::Is(first), Number::Is(last)) if last < first => Part::Whole,
        (Number::Is(first), _) if first >= size && !matches!(number(last), Number::Malformed) => {
            Part::Unsatisfiable
        }
        (Number::Is(first), Number::Is(last)) => Part::Range(first..last.saturating_add(1).min(size)),
        (Number::Is(first), Number::Absent) => Part::Range(first..size),
        (Number::Absent, Number::Is(0)) => Part::Unsatisfiable,
        (Number::Absent, Number::Is(_)) if size == 0 => Part::Unsatisfiable,
        (Number::Absent, Number::Is(suffix)) => Part::Range(size.saturating_sub(suffix)..size),
        (Number::Absent, Number::Absent) | (Number::Malformed, _) | (_, Number::Malformed) => Part::Whole,
    }
}

enum Number {
    Is(u64),
    Absent,
    Malformed,
}

fn number(text: &str) -> Number {
    let text = text.trim();
    if text.is_empty() {
        return Number::Absent;
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Number::Malformed;
    }
    // A number too long for 64 bits is beyond the end of every file.
    Number::Is(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Asked, Part, resolve};

    #[track_caller]
    fn check(range: &str, size: u64, expected: Part) {
        assert_eq!(
            resolve(Asked { range: Some(range), if_range: None }, "\"tag\"", size),
            expected,
            "{range}"
        );
    }

    #[test]
    fn ranges_are_clamped_to_the_file() {
        check("bytes=0-0", 10, Part::Range(0..1));
        check("bytes=2-5", 10, Part::Range(2..6));
        check("bytes=5-99999", 10, Part::Range(5..10));
        check("bytes=0-", 10, Part::Range(0..10));
        check("bytes=9-", 10, Part::Range(9..10));
        check("bytes=-3", 10, Part::Range(7..10));
        check("bytes=-99", 10, Part::Range(0..10));
        check("bytes=0-99999999999999999999999999", 10, Part::Range(0..10));
    }

    #[test]
    fn what_lies_past_the_end_cannot_be_sent() {
        check("bytes=10-", 10, Part::Unsatisfiable);
        check("bytes=10-12", 10, Part::Unsatisfiable);
        check("bytes=-0", 10, Part::Unsatisfiable);
        check("bytes=0-0", 0, Part::Unsatisfiable);
        check("bytes=-5", 0, Part::Unsatisfiable);
    }

    #[test]
    fn what_is_not_one_range_is_ignored() {
        for range in
            ["bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=1-x", "bytes=0-1,3-4", "lines=1-2", "1-2"]
        {
            check(range, 10, Part::Whole);
        }
    }

    #[test]
    fn another_version_of_the_file_is_sent_whole() {
        let asked = |if_range| Asked { range: Some("bytes=1-2"), if_range: Some(if_range) };
        assert_eq!(resolve(asked("\"tag\""), "\"tag\"", 10), Part::Range(1..3));
        assert_eq!(resolve(asked("\"other\""), "\"tag\"", 10), Part::Whole);
        assert_eq!(resolve(asked("W/\"tag\""), "\"tag\"", 10), Part::Whole);
        assert_eq!(resolve(asked("Wed, 21 Oct 2026 07:28:00 GMT"), "\"tag\"", 10), Part::Whole);
    }
}
