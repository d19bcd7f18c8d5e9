//! What a file is called on the wire, from what it holds.

use pipeline::media_info::MediaInfo;
use pipeline::subtitles;

/// Largest text that is accepted, in bytes.
pub(crate) const LARGEST_TEXT: u64 = 10 << 20;

/// The content type of a container with or without video.
pub(crate) fn of_media(media: &MediaInfo) -> &'static str {
    let video = media.video.is_some();
    match (media.container.as_str(), video) {
        ("mp4" | "m4a" | "m4v", true) => "video/mp4",
        ("mp4" | "m4a" | "m4v" | "mov", false) => "audio/mp4",
        ("mov", true) => "video/quicktime",
        ("matroska" | "mkv", true) => "video/x-matroska",
        ("matroska" | "mkv", false) => "audio/x-matroska",
        ("webm", true) => "video/webm",
        ("webm", false) => "audio/webm",
        ("avi", _) => "video/x-msvideo",
        ("mpegts", _) => "video/mp2t",
        ("mpeg", _) => "video/mpeg",
        ("flv", _) => "video/x-flv",
        ("ogg", true) => "video/ogg",
        ("ogg" | "opus", _) => "audio/ogg",
        ("wav" | "w64", _) => "audio/wav",
        ("mp3", _) => "audio/mpeg",
        ("flac", _) => "audio/flac",
        ("aac" | "adts", _) => "audio/aac",
        ("aiff", _) => "audio/aiff",
        ("amr", _) => "audio/amr",
        ("asf", true) => "video/x-ms-wmv",
        ("asf", false) => "audio/x-ms-wma",
        _ => "application/octet-stream",
    }
}

/// The content type of bytes that are text; none when they are not: empty, not UTF-8, or with control characters that
/// no text has.
pub(crate) fn of_text(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let body = text.trim_start_matches('\u{feff}');
    let binary = |character: char| {
        character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\x0c' | '\u{85}')
    };
    if body.is_empty() || body.chars().any(binary) {
        return None;
    }
    if body.starts_with("WEBVTT") {
        return Some("text/vtt; charset=utf-8");
    }
    let is_srt = body.contains("-->") && subtitles::parse(body).is_ok();
    Some(if is_srt { "application/x-subrip; charset=utf-8" } else { "text/plain; charset=utf-8" })
}

#[cfg(test)]
mod tests {
    use super::of_text;

    #[test]
    fn text_is_told_by_its_content() {
        assert_eq!(of_text("Grüße\r\n".as_bytes()), Some("text/plain; charset=utf-8"));
        assert_eq!(of_text(b"\xef\xbb\xbfWEBVTT\n\n"), Some("text/vtt; charset=utf-8"));
        let srt = b"1\n00:00:01,000 --> 00:00:02,000\nHello\n";
        assert_eq!(of_text(srt), Some("application/x-subrip; charset=utf-8"));
        assert_eq!(of_text(b"a --> b"), Some("text/plain; charset=utf-8"));
        for binary in [b"".as_slice(), b"\xff\xfe", b"RIFF\0\0", b"\x1b[31m", b"\xef\xbb\xbf"] {
            assert_eq!(of_text(binary), None, "{binary:?}");
        }
    }
}
