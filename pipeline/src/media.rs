//! The media steps: what is in a file, its sound as a file, a picture with a new voice.
//!
//! A decoder fed by strangers may crash, spin or be taken over, so each operation runs in a child process of
//! its own: the same program with a hidden subcommand, which limits itself and enters a sandbox before it opens
//! the input. [`MediaRunner`] is the parent's side; [`child_main`] is all that the subcommand does.
//!
//! ```ignore
//! let runner = MediaRunner::new(std::env::current_exe()?, vec![CHILD_COMMAND.into()], Limits::default());
//! let info = runner.probe(&upload, &cancel).await?;
//! let report = runner.extract_audio(&extraction, Watch { cancel: &cancel, on_progress: &mut report }).await?;
//! ```
//!
//! The child can read the inputs and write in a fresh directory beside the output, and nothing else; the output moves
//! to its place when it is done. After an error nothing is left. Dropping the future kills the child.

mod audio_track;
mod boxes;
mod child;
mod containers;
mod encoder;
mod error;
mod extract;
mod generate;
mod mix;
mod muxer;
mod operation;
mod probe;
mod room;
mod runner;
mod sandbox;
mod source;
mod subtitle_track;
mod system_calls;
mod video_track;

pub use child::child_main;
pub use error::{MediaError, MediaErrorCode};
pub use operation::{
    AudioExtraction, AudioReport, Limits, PcmDecoding, SubtitleTrack, VideoGeneration, VideoReport,
};
pub use runner::{MediaRunner, Watch};

/// The hidden subcommand by which the program becomes a media child.
pub const CHILD_COMMAND: &str = "media-child";
