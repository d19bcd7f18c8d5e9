//! What each container of a result can hold, and how it is written.

use ffmpeg_next::codec::Id;

use super::encoder::{PictureCodec, SoundCodec};
use crate::parameters::VideoContainer;

/// Containers that can tell a player to turn the picture.
pub(super) fn says_turns(container: VideoContainer) -> bool {
    match container {
        VideoContainer::Mp4 | VideoContainer::Mov => true,
        VideoContainer::Mkv | VideoContainer::Webm => false,
    }
}

pub(super) fn holds(container: VideoContainer, codec: Id) -> bool {
    match container {
        VideoContainer::Mp4 => matches!(codec, Id::H264 | Id::HEVC | Id::AV1 | Id::VP9 | Id::MPEG4),
        VideoContainer::Mov => {
            matches!(codec, Id::H264 | Id::HEVC | Id::MPEG4 | Id::PRORES | Id::DNXHD | Id::MJPEG)
        }
        VideoContainer::Webm => matches!(codec, Id::VP8 | Id::VP9 | Id::AV1),
        VideoContainer::Mkv => true,
    }
}

/// Containers whose packets carry their time; in others a muxer would have to guess the order of frames.
pub(super) fn has_timed_packets(container: &str) -> bool {
    matches!(container, "mov,mp4,m4a,3gp,3g2,mj2" | "matroska,webm" | "mpegts" | "flv")
}

pub(super) fn sound_codec(container: VideoContainer) -> SoundCodec {
    match container {
        VideoContainer::Mp4 | VideoContainer::Mov | VideoContainer::Mkv => SoundCodec::Aac,
        VideoContainer::Webm => SoundCodec::Opus,
    }
}

pub(super) fn picture_codec(container: VideoContainer) -> PictureCodec {
    match container {
        VideoContainer::Mp4 | VideoContainer::Mov | VideoContainer::Mkv => PictureCodec::H264,
        VideoContainer::Webm => PictureCodec::Vp9,
    }
}

pub(super) fn format_name(container: VideoContainer) -> &'static str {
    match container {
        VideoContainer::Mp4 => "mp4",
        VideoContainer::Mkv => "matroska",
        VideoContainer::Webm => "webm",
        VideoContainer::Mov => "mov",
    }
}

/// The index comes first in MPEG-4, so that a player can start before all is there.
pub(super) fn header_options(container: VideoContainer) -> &'static [(&'static str, &'static str)] {
    match container {
        VideoContainer::Mp4 | VideoContainer::Mov => &[("movflags", "+faststart")],
        VideoContainer::Mkv | VideoContainer::Webm => &[],
    }
}
