//! SubRip and WebVTT, read and written.
//! WebVTT: W3C Candidate Recommendation of 2019. SubRip has no standard: what players accept.

use crate::parameters::Invalid;

/// Text shown from `start` to `end`, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    pub start: f64,
    pub end: f64,
    pub text: String,
}

pub fn to_srt(cues: &[Cue]) -> String {
    let mut out = String::new();
    for (index, cue) in cues.iter().enumerate() {
        let (start, end) = (timestamp(cue.start, ','), timestamp(cue.end, ','));
        out += &format!("{}\n{start} --> {end}\n{}\n\n", index + 1, one_block(&cue.text));
    }
    out
}

pub fn to_vtt(cues: &[Cue]) -> String {
    let mut out = String::from("WEBVTT\n\n");
    for cue in cues {
        let (start, end) = (timestamp(cue.start, '.'), timestamp(cue.end, '.'));
        let text = one_block(&cue.text).replace('&', "&amp;").replace('<', "&lt;").replace("-->", "--&gt;");
        out += &format!("{start} --> {end}\n{text}\n\n");
    }
    out
}

/// Reads SubRip or WebVTT, whichever it is. Cues come back in order of their start; one that ends no later than it
/// starts is never seen, so it is left out.
///
/// Errors: times that cannot be read, and a file without any cue.
pub fn parse(text: &str) -> Result<Vec<Cue>, Invalid> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let is_vtt = text.starts_with("WEBVTT");
    let mut cues = vec![];
    let mut seen = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((start, end)) = line.split_once("-->") else { continue };
        seen += 1;
        let end = end.trim().split_ascii_whitespace().next().unwrap_or_default();
        let (Some(start), Some(end)) = (parse_timestamp(start), parse_timestamp(end)) else {
            return Err(Invalid::new("subtitles", format!("cue {seen} has no readable times")));
        };
        let body = lines.by_ref().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
        // In SubRip, `\N` is a line break that programs for another format leave behind.
        let text = if is_vtt { plain(&body) } else { body.replace("\\N", "\n") };
        if end > start {
            cues.push(Cue { start, end, text });
        }
    }
    if cues.is_empty() {
        return Err(Invalid::new("subtitles", "the file holds no cue of SubRip or WebVTT"));
    }
    cues.sort_by(|left, right| left.start.total_cmp(&right.start));
    Ok(cues)
}

/// The same texts with only one at a time, as a track of MPEG-4 has it: where cues overlap, their texts stand
/// together. Times are rounded to milliseconds; what is shorter than that vanishes.
pub fn one_at_a_time(cues: &[Cue]) -> Vec<Cue> {
    let milliseconds = |time: f64| (time.max(0.0) * 1000.0).round() as i64;
    let spans = cues.iter().map(|cue| (milliseconds(cue.start), milliseconds(cue.end), cue.text.as_str()));
    let mut spans: Vec<_> = spans.filter(|(start, end, _)| start < end).collect();
    spans.sort_by_key(|(start, ..)| *start);
    let mut changes: Vec<_> = spans.iter().flat_map(|(start, end, _)| [*start, *end]).collect();
    changes.sort_unstable();
    changes.dedup();

    let mut coming = spans.into_iter().peekable();
    let mut shown: Vec<(i64, i64, &str)> = vec![];
    let mut out = vec![];
    for change in changes.windows(2) {
        let [from, to] = [change[0], change[1]];
        shown.retain(|(_, end, _)| *end > from);
        while let Some(span) = coming.next_if(|(start, ..)| *start <= from) {
            shown.push(span);
        }
        if !shown.is_empty() {
            let text = shown.iter().map(|(.., text)| *text).collect::<Vec<_>>().join("\n");
            out.push(Cue { start: from as f64 / 1000.0, end: to as f64 / 1000.0, text });
        }
    }
    out
}

/// A blank line would end the cue early.
fn one_block(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// WebVTT text without its tags and with its escapes resolved.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut in_tag = false;
    for character in text.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            other if !in_tag => out.push(other),
            _ => {}
        }
    }
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
}

fn timestamp(seconds: f64, decimal: char) -> String {
    let milliseconds = (seconds.max(0.0) * 1000.0).round() as u64;
    let (hours, minutes) = (milliseconds / 3_600_000, milliseconds / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{decimal}{:03}", milliseconds / 1000 % 60, milliseconds % 1000)
}

/// `[hours:]minutes:seconds[.,]fraction`
fn parse_timestamp(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', ".");
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    let digits =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !parts.iter().all(digits) {
        return None;
    }
    parts.iter().try_fold(0.0, |total, part| Some(total * 60.0 + part.parse::<f64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{Cue, one_at_a_time, parse, to_srt, to_vtt};

    fn cues() -> Vec<Cue> {
        vec![
            Cue { start: 0.5, end: 1.25, text: "Fish & <chips>".into() },
            Cue { start: 3661.001, end: 3662.0, text: "two\nlines".into() },
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(parse(&to_srt(&cues())).unwrap(), cues());
        assert_eq!(parse(&to_vtt(&cues())).unwrap(), cues());
    }

    #[test]
    fn srt_looks_as_players_expect() {
        assert!(
            to_srt(&cues())
                .starts_with("1\n00:00:00,500 --> 00:00:01,250\nFish & <chips>\n\n2\n01:01:01,001")
        );
    }

    #[test]
    fn files_of_other_programs_are_read() {
        let windows = "\u{feff}1\r\n00:00:01,000 --> 00:00:02,000\r\nHello\r\n\r\n";
        assert_eq!(parse(windows).unwrap()[0].text, "Hello");
        let styled = "WEBVTT - title\n\nNOTE a remark\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hi &amp; bye</v>\n";
        let disorderly = "2\n00:00:05.000-->00:00:06.000\nlast\n\n\
                          1\n0:0:1,5 --> 00:00:02,000 X1:40\n<i>one</i>\\Ntwo\n\n\
                          3\n00:00:03,000 --> 00:00:03,000\nnever seen\n\n\
                          4\n00:00:04,000 --> 00:00:05,000\nno line ends here";
        let times_and_texts: Vec<_> =
            parse(disorderly).unwrap().into_iter().map(|cue| (cue.start, cue.end, cue.text)).collect();
        let expected = [(1.5, 2.0, "<i>one</i>\ntwo"), (4.0, 5.0, "no line ends here"), (5.0, 6.0, "last")];
        assert_eq!(times_and_texts, expected.map(|(start, end, text)| (start, end, text.to_owned())));
        assert_eq!(parse(styled).unwrap(), vec![Cue { start: 1.0, end: 2.0, text: "Hi & bye".into() }]);
    }

    #[track_caller]
    fn shown(cues: &[(f64, f64, &str)], expected: &[(f64, f64, &str)]) {
        let cue =
            |(start, end, text): &(f64, f64, &str)| Cue { start: *start, end: *end, text: (*text).into() };
        let cues: Vec<_> = cues.iter().map(cue).collect();
        assert_eq!(one_at_a_time(&cues), expected.iter().map(cue).collect::<Vec<_>>());
    }

    #[test]
    fn texts_of_one_time_stand_together() {
        shown(
            &[(1.0, 2.0, "a"), (2.0, 3.0, "b"), (4.0, 5.0, "b")],
            &[(1.0, 2.0, "a"), (2.0, 3.0, "b"), (4.0, 5.0, "b")],
        );
        shown(&[(1.0, 4.0, "a"), (2.0, 3.0, "b")], &[(1.0, 2.0, "a"), (2.0, 3.0, "a\nb"), (3.0, 4.0, "a")]);
        shown(&[(1.0, 2.0, "a"), (1.0, 3.0, "b")], &[(1.0, 2.0, "a\nb"), (2.0, 3.0, "b")]);
    }

    #[test]
    fn no_two_texts_start_within_one_millisecond() {
        shown(&[(1.0, 1.0003, "a"), (1.0003, 2.0, "b")], &[(1.0, 2.0, "b")]);
        shown(&[(1.0001, 2.0, "a"), (1.0004, 2.0, "b")], &[(1.0, 2.0, "a\nb")]);
    }

    #[test]
    fn nonsense_is_refused_with_the_cue_named() {
        assert!(parse("hello").is_err());
        assert!(parse("1\nsoon --> later\nHi\n").unwrap_err().issue.contains("cue 1"));
        assert!(parse("1\n00:00:02,000 --> 00:00:01,000\nHi\n").is_err());
    }
}
