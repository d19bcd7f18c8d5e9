//! Inputs, the runner, and the second opinion of `ffprobe`.

use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::media::{Limits, MediaRunner, Watch};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The talk of the shared test data: ten seconds, 1280x720 at 25 fps, with speech. None where the data is absent.
pub(crate) fn talk() -> Option<PathBuf> {
    shared("talk.mp4")
}

pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(name);
    if !path.exists() {
        eprintln!("skipped: the shared test data is absent ({})", path.display());
        return None;
    }
    Some(path)
}

/// A job's private directory.
pub(crate) struct Bench {
    directory: TempDir,
    pub(crate) runner: MediaRunner,
    pub(crate) cancel: CancellationToken,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            runner: child_under(Limits::default()),
            cancel: CancellationToken::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names of all that lies in the directory, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A file made by the `ffmpeg` program with these arguments, split at spaces.
    pub(crate) fn made(&self, name: &str, arguments: &str) -> PathBuf {
        let output = self.path(name);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y"])
            .args(arguments.split(' '))
            .arg(&output)
            .status()
            .expect("the tests need the ffmpeg program");
        assert!(made.success(), "ffmpeg {arguments}");
        output
    }

    /// The same, through a pipe.
    pub(crate) fn piped(&self, name: &str, arguments: &str) -> PathBuf {
        let made = Command::new("ffmpeg").args(["-v", "error"]).args(arguments.split(' ')).arg("-").output();
        self.written(name, made.expect("the tests need the ffmpeg program").stdout)
    }

    pub(crate) fn written(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

pub(crate) fn child_under(limits: Limits) -> MediaRunner {
    MediaRunner::new(PathBuf::from(env!("CARGO_BIN_EXE_media-child")), vec![], limits)
}

/// Follows an operation that nobody stops, and nobody watches.
pub(crate) fn unwatched(cancel: &CancellationToken) -> Watch<'_> {
    Watch { cancel, on_progress: Box::leak(Box::new(|_progress: f64| ())) }
}

/// What `ffprobe` says of one entry, such as `format=duration`, of one stream, such as `a:0`.
pub(crate) fn ffprobe(path: &Path, stream: &str, entry: &str) -> String {
    let selected: &[&str] = if stream.is_empty() { &[] } else { &["-select_streams", stream] };
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries", entry])
        .args(selected)
        .arg(path)
        .output()
        .expect("the tests need the ffprobe program");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn duration(path: &Path) -> f64 {
    ffprobe(path, "", "format=duration").parse().unwrap()
}

#[track_caller]
pub(crate) fn assert_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not within {tolerance} of {expected}");
}

/// Seconds until the sound of a mono WAV file of 16 kHz starts.
pub(crate) fn onset(path: &Path) -> f64 {
    let samples = samples(path);
    let start = samples.iter().position(|sample| sample.unsigned_abs() > 500).expect("all is silent");
    start as f64 / 16_000.0
}

/// The sound of any file as mono samples of 16 kHz, decoded by the `ffmpeg` program.
pub(crate) fn samples(path: &Path) -> Vec<i16> {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "16000", "-f", "s16le", "-"])
        .output()
        .expect("the tests need the ffmpeg program");
    decoded.stdout.chunks_exact(2).map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect()
}
