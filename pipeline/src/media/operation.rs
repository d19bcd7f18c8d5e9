//! What a media child is asked and what it answers, as values. They cross the pipe between the two as JSON.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::MediaError;
use crate::media_info::MediaInfo;
use crate::parameters::{AudioFormat, Extend, Quality, VideoContainer};

/// The sound of `input` as a file: from the container's time zero, so in sync with its picture, with silence
/// where the sound starts late or has gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AudioExtraction {
    pub input: PathBuf,
    pub output: PathBuf,
    /// WAV is 16-bit PCM (RF64 past 4 GiB); AAC comes in an MPEG-4 file (.m4a), whose length is exact, unlike
    /// that of a bare AAC stream; Opus comes in Ogg.
    pub format: AudioFormat,
    /// In hertz. None keeps the source's rate, or takes the next higher one that the format has.
    pub sample_rate: Option<u32>,
    /// 1 or 2. None keeps mono as it is and makes everything else stereo.
    pub channels: Option<u16>,
}

/// The sound of `input` as the engines read it: 16-bit mono PCM in a WAV file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PcmDecoding {
    pub input: PathBuf,
    pub output: PathBuf,
    /// In hertz.
    pub sample_rate: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioReport {
    pub duration_seconds: f64,
    /// In hertz; for Opus the rate that was encoded, though its decoders always give 48,000.
    pub sample_rate: u32,
    pub channels: u16,
}

/// The picture of `video` with `voice` in the place of its sound.
///
/// The picture's length wins: silence follows a shorter voice, a longer one is an error unless `extend` says
/// what to show. The picture is copied untouched where quality is high, the container has its codec, and nothing
/// is burned in or held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VideoGeneration {
    pub video: PathBuf,
    pub voice: PathBuf,
    pub output: PathBuf,
    pub container: VideoContainer,
    pub quality: Quality,
    pub extend: Option<Extend>,
    /// Mixes the original sound under the voice, turned down while the voice speaks.
    pub keep_background: bool,
    pub subtitles: Option<SubtitleTrack>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubtitleTrack {
    /// A SubRip file.
    pub path: PathBuf,
    /// Drawn into the picture; else a track of its own that the player may show.
    pub burn: bool,
    /// ISO 639 code; none leaves it undetermined.
    pub language: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoReport {
    pub duration_seconds: f64,
    /// True when the picture was copied without decoding it.
    pub video_copied: bool,
    /// In pixels, as stored.
    pub width: u32,
    pub height: u32,
}

/// What one child may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Address space.
    pub memory_bytes: u64,
    /// Computing, over all threads.
    pub cpu: Duration,
    pub wall_clock: Duration,
    /// Longest time without progress.
    pub stall: Duration,
    /// Largest file that it may write.
    pub output_bytes: u64,
    /// Threads of one decoder or encoder.
    pub threads: usize,
}

impl Default for Limits {
    /// Six hours.
    fn default() -> Self {
        Self::within(Duration::from_secs(6 * 3600))
    }
}

impl Limits {
    /// Limits of a child that must end within `time`. In that time it may compute as much as all cores can, so that
    /// the clock ends honest work, and the computing limit only what the clock cannot reach any more.
    pub fn within(time: Duration) -> Self {
        let cores = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        Self {
            memory_bytes: 4 << 30,
            cpu: time.saturating_mul(u32::try_from(cores.get()).unwrap_or(u32::MAX)),
            wall_clock: time,
            stall: Duration::from_secs(60),
            output_bytes: 64 << 30,
            threads: cores.get().min(8),
        }
    }

    /// The same, but no more than a look into a header may take.
    pub(super) fn for_probe(&self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(2 << 30),
            cpu: self.cpu.min(Duration::from_secs(20)),
            wall_clock: self.wall_clock.min(Duration::from_secs(30)),
            stall: self.stall.min(Duration::from_secs(30)),
            output_bytes: 0,
            threads: 1,
        }
    }
}

/// The one line that a child reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) operation: Operation,
    pub(super) limits: Limits,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum Operation {
    Probe { input: PathBuf },
    ExtractAudio(AudioExtraction),
    DecodePcm(PcmDecoding),
    GenerateVideo(VideoGeneration),
}

impl Operation {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Probe { .. } => "probe",
            Self::ExtractAudio(_) => "extract-audio",
            Self::DecodePcm(_) => "decode-pcm",
            Self::GenerateVideo(_) => "generate-video",
        }
    }

    /// The files that the child may read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        match self {
            Self::Probe { input } => vec![input],
            Self::ExtractAudio(extraction) => vec![&extraction.input],
            Self::DecodePcm(decoding) => vec![&decoding.input],
            Self::GenerateVideo(generation) => {
                let subtitles = generation.subtitles.as_ref().map(|track| track.path.as_path());
                [generation.video.as_path(), &generation.voice].into_iter().chain(subtitles).collect()
            }
        }
    }

    /// The file that the child makes; it can write in the whole directory.
    pub(super) fn output(&self) -> Option<&Path> {
        match self {
            Self::Probe { .. } => None,
            Self::ExtractAudio(extraction) => Some(&extraction.output),
            Self::DecodePcm(decoding) => Some(&decoding.output),
            Self::GenerateVideo(generation) => Some(&generation.output),
        }
    }

    pub(super) fn output_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Probe { .. } => None,
            Self::ExtractAudio(extraction) => Some(&mut extraction.output),
            Self::DecodePcm(decoding) => Some(&mut decoding.output),
            Self::GenerateVideo(generation) => Some(&mut generation.output),
        }
    }

    /// True when letters are drawn, which needs the fonts of the system.
    pub(super) fn draws_text(&self) -> bool {
        match self {
            Self::GenerateVideo(generation) => generation.subtitles.as_ref().is_some_and(|track| track.burn),
            Self::Probe { .. } | Self::ExtractAudio(_) | Self::DecodePcm(_) => false,
        }
    }
}

/// A line that a child writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The first, before the input is opened.
    ShutIn(Walls),
    /// The share of the work that is done, 0 to 1. Sent only when media time has passed.
    Progress(f64),
    /// The file's parts are being put in order, which shows no progress for as long as its bytes take to copy.
    Finishing {
        bytes: u64,
    },
    Done(Report),
    Failed(MediaError),
}

/// Which walls this machine's kernel has let the child put up around itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Walls {
    /// Landlock: no file but its own can be opened.
    pub(super) files: bool,
    /// No connection can be opened.
    pub(super) network: bool,
    /// Seccomp: no program can be started, and no other process touched.
    pub(super) system_calls: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Report {
    Probed { media: MediaInfo },
    Decoded { report: AudioReport },
    Extracted { report: AudioReport, media: MediaInfo },
    Generated { report: VideoReport, media: MediaInfo },
}
