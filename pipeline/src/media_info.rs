//! What a probe finds in a media file. Stored with the file and shown to its owner.

use serde::{Deserialize, Serialize};

/// Seconds by which a voice may outlast a picture and still count as of its length: codecs round lengths up to their
/// frames.
pub const LENGTH_TOLERANCE: f64 = 0.1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaInfo {
    pub duration_seconds: f64,
    /// Short name of the container, such as `mp4` or `matroska`.
    pub container: String,
    pub video: Option<VideoInfo>,
    pub audio: Option<AudioInfo>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    pub codec: String,
    /// In pixels, as stored, before any rotation.
    pub width: u32,
    pub height: u32,
    /// Average frames per second.
    pub fps: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AudioInfo {
    pub codec: String,
    /// In hertz.
    pub sample_rate: u32,
    pub channels: u16,
}
