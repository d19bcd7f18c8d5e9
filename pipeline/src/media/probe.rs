//! What is in a file.

use std::path::Path;

use super::boxes;
use super::child::Job;
use super::error::{MediaError, MediaErrorCode};
use super::source::{Source, Track, dimensions, sound};
use crate::media_info::{AudioInfo, MediaInfo, VideoInfo};

/// Errors: those of [`Source::open`], and `media_unsupported` for a file without picture and sound that we
/// can read.
pub(super) fn probe(path: &Path, job: &Job) -> Result<MediaInfo, MediaError> {
    let mut source = Source::open(path)?;
    let (video, audio) = usable_tracks(&source)?;
    let container = container(path, &source, video.is_some());
    let duration_seconds = duration(&mut source, job)?;
    Ok(MediaInfo {
        duration_seconds,
        container: container.to_owned(),
        video: video.as_ref().map(video_info),
        audio: audio.as_ref().map(audio_info),
    })
}

/// A picture is of use without a sound that we cannot read, and the other way round.
fn usable_tracks(source: &Source) -> Result<(Option<Track>, Option<Track>), MediaError> {
    match (source.video(), source.audio()) {
        (Ok(None), Ok(None)) => Err(MediaError::unsupported("neither picture nor sound")),
        (Ok(video), Ok(audio)) => Ok((video, audio)),
        (Ok(Some(video)), Err(_unreadable)) => Ok((Some(video), None)),
        (Err(_unreadable), Ok(Some(audio))) => Ok((None, Some(audio))),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Reads all packets, without decoding, where the header has no length (a recording made live).
fn duration(source: &mut Source, job: &Job) -> Result<f64, MediaError> {
    /// A file that takes this many packets may keep the guess: two days of sound.
    const MOST_PACKETS: usize = 8_000_000;
    if let Some(duration) = source.duration().filter(|_| source.has_exact_length()) {
        return Ok(duration);
    }
    let guess = source.duration();
    let mut progress = job.progress(None);
    for _packet in 0..MOST_PACKETS {
        if source.next_packet()?.is_none() {
            break;
        }
        progress.reach(source.extent());
    }
    let found = Some(source.extent()).filter(|extent| *extent > 0.0);
    found.or(guess).ok_or_else(|| MediaError::new(MediaErrorCode::MediaTruncated, "holds no packet"))
}

/// One short name for the container that the file says it is.
fn container(path: &Path, source: &Source, has_video: bool) -> &'static str {
    match source.container() {
        "mov,mp4,m4a,3gp,3g2,mj2" => match boxes::major_brand(path).as_ref() {
            Some(b"qt  ") => "mov",
            Some(b"M4A " | b"M4B ") => "m4a",
            Some([b'3', b'g', ..]) => "3gp",
            Some(_) | None if has_video => "mp4",
            Some(_) | None => "m4a",
        },
        "matroska,webm" if boxes::is_webm(path) => "webm",
        "matroska,webm" => "mkv",
        "wav" => "wav",
        "w64" => "w64",
        "mp3" => "mp3",
        "flac" => "flac",
        "ogg" => "ogg",
        "aac" => "aac",
        "aiff" => "aiff",
        "avi" => "avi",
        "mpegts" => "mpegts",
        "mpeg" => "mpeg",
        "flv" => "flv",
        "caf" => "caf",
        "amr" => "amr",
        "asf" => "asf",
        "au" => "au",
        "ac3" => "ac3",
        "eac3" => "eac3",
        _other => "other",
    }
}

fn video_info(track: &Track) -> VideoInfo {
    let (width, height) = dimensions(&track.parameters);
    let fps = f64::from(track.frame_rate);
    let fps = if fps.is_finite() { fps } else { 0.0 };
    VideoInfo { codec: track.parameters.id().name().to_owned(), width, height, fps }
}

fn audio_info(track: &Track) -> AudioInfo {
    let (sample_rate, channels) = sound(&track.parameters);
    AudioInfo { codec: track.parameters.id().name().to_owned(), sample_rate, channels }
}
