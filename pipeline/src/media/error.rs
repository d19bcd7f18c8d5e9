//! How media work fails: stable codes, and what each tells the owner of the file.

use std::fmt;

use ffmpeg_next::util::error::{EFBIG, ENOMEM, ENOSPC};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Linux's number for a used up disk quota, which the media library does not name.
const EDQUOT: i32 = 122;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaErrorCode {
    /// The container or a codec is not on the list, or the file is no media at all.
    MediaUnsupported,
    /// The file ends before its own header says it does.
    MediaTruncated,
    MediaNoAudio,
    MediaNoVideo,
    /// Too many pixels or streams, or more memory needed than the limit.
    MediaTooLarge,
    /// More computing or waiting needed than the limit.
    MediaTooComplex,
    /// The decoder died.
    MediaCrashed,
    /// No progress for the time of the watchdog.
    MediaStalled,
    /// The disk or the size limit of one file is reached.
    StorageFull,
    /// The voice outlasts the picture and nothing says what to show then.
    VoiceLongerThanPicture,
    Cancelled,
    /// Anything else; the log has the cause.
    MediaFailed,
}

impl MediaErrorCode {
    pub const ALL: [Self; 12] = [
        Self::MediaUnsupported,
        Self::MediaTruncated,
        Self::MediaNoAudio,
        Self::MediaNoVideo,
        Self::MediaTooLarge,
        Self::MediaTooComplex,
        Self::MediaCrashed,
        Self::MediaStalled,
        Self::StorageFull,
        Self::VoiceLongerThanPicture,
        Self::Cancelled,
        Self::MediaFailed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::MediaUnsupported => "media_unsupported",
            Self::MediaTruncated => "media_truncated",
            Self::MediaNoAudio => "media_no_audio",
            Self::MediaNoVideo => "media_no_video",
            Self::MediaTooLarge => "media_too_large",
            Self::MediaTooComplex => "media_too_complex",
            Self::MediaCrashed => "media_crashed",
            Self::MediaStalled => "media_stalled",
            Self::StorageFull => "storage_full",
            Self::VoiceLongerThanPicture => "voice_longer_than_picture",
            Self::Cancelled => "cancelled",
            Self::MediaFailed => "media_failed",
        }
    }

    /// A sentence for the owner of the file. Holds no path and no text from the file.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::MediaUnsupported => "The file is no audio or video of a kind that we read.",
            Self::MediaTruncated => "The file ends early or is damaged. Upload it again.",
            Self::MediaNoAudio => "The file has no sound.",
            Self::MediaNoVideo => "The file has no picture.",
            Self::MediaTooLarge => "The picture is too large, or the file has too many streams.",
            Self::MediaTooComplex => "The file takes more computing than the limit. Try a shorter one.",
            Self::MediaCrashed => "The file made the decoder fail. It may be damaged.",
            Self::MediaStalled => "The work on the file made no progress and was stopped.",
            Self::StorageFull => "The server has no room for the result.",
            Self::VoiceLongerThanPicture => {
                "The voice is longer than the picture. Shorten it, or ask for the last picture to be held."
            }
            Self::Cancelled => "The work was cancelled.",
            Self::MediaFailed => "The work on the file failed.",
        }
    }

    /// True when the same work on the same file may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::MediaStalled | Self::StorageFull | Self::MediaFailed | Self::MediaCrashed => true,
            Self::MediaUnsupported
            | Self::MediaTruncated
            | Self::MediaNoAudio
            | Self::MediaNoVideo
            | Self::MediaTooLarge
            | Self::MediaTooComplex
            | Self::VoiceLongerThanPicture
            | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for MediaErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A failed operation. Its `Display` is for the log; users get [`MediaErrorCode::sentence`].
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct MediaError {
    pub code: MediaErrorCode,
    /// The cause, for the log alone: it may name files.
    pub message: String,
}

impl MediaError {
    pub fn new(code: MediaErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn truncated(message: impl Into<String>) -> Self {
        Self::new(MediaErrorCode::MediaTruncated, message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(MediaErrorCode::MediaUnsupported, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(MediaErrorCode::MediaFailed, message)
    }

    /// `error`, met while doing `what`, with the code that its kind alone tells, else `otherwise`.
    pub(super) fn because(what: &str, error: ffmpeg_next::Error, otherwise: MediaErrorCode) -> Self {
        let code = match error {
            ffmpeg_next::Error::Other { errno: ENOSPC | EFBIG | EDQUOT } => MediaErrorCode::StorageFull,
            ffmpeg_next::Error::Other { errno: ENOMEM } => MediaErrorCode::MediaTooLarge,
            _other => otherwise,
        };
        Self::new(code, format!("{what}: {error}"))
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let (code, sentence) = (error.code.as_str(), error.code.sentence());
        match error.code.is_retryable() {
            true => Self::transient(code, sentence),
            false => Self::permanent(code, sentence),
        }
    }
}

/// Adds to a library's error what was being done.
pub(super) trait Context<T> {
    fn context(self, what: &str) -> Result<T, MediaError>;
}

impl<T> Context<T> for Result<T, ffmpeg_next::Error> {
    fn context(self, what: &str) -> Result<T, MediaError> {
        self.map_err(|error| MediaError::because(what, error, MediaErrorCode::MediaFailed))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: &str) -> Result<T, MediaError> {
        self.map_err(|error| {
            let code = match error.raw_os_error() {
                Some(ENOSPC | EFBIG | EDQUOT) => MediaErrorCode::StorageFull,
                Some(_) | None => MediaErrorCode::MediaFailed,
            };
            MediaError::new(code, format!("{what}: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_one_spelling_everywhere() {
        for code in MediaErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
