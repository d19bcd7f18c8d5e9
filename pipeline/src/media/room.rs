//! The one place where a media child can write: a fresh directory beside the wanted output.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::{Context, MediaError, MediaErrorCode};

/// Removed with all that is in it when dropped. The inputs lie outside: they may be links to stored objects, and who
/// can write in a directory can write to the files in it.
pub(super) struct Room {
    directory: PathBuf,
    /// Where the output goes when it is done.
    wanted: PathBuf,
}

impl Room {
    /// Errors: `media_failed`, `storage_full`.
    pub(super) fn beside(wanted: &Path) -> Result<Self, MediaError> {
        let name = wanted.file_name().ok_or_else(|| MediaError::failed("the output has no name"))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".room");
        let directory = wanted.with_file_name(hidden);
        // What a killed process has left.
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).context("clear the room of the output");
        }
        DirBuilder::new().mode(0o700).create(&directory).context("make a room for the output")?;
        Ok(Self { directory, wanted: wanted.to_owned() })
    }

    /// Where the child makes the output.
    pub(super) fn output(&self) -> PathBuf {
        self.directory.join(self.wanted.file_name().unwrap_or_default())
    }

    /// Moves the output to its place. The child must have ended. Nothing but a plain file leaves the room: a link
    /// could name any file of ours.
    pub(super) fn hand_out(&self) -> Result<(), MediaError> {
        let output = self.output();
        let made = fs::symlink_metadata(&output).context("find the output")?;
        if !made.is_file() {
            return Err(MediaError::new(MediaErrorCode::MediaCrashed, "the media child made no plain file"));
        }
        fs::rename(&output, &self.wanted).context("hand the output out")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Once more for a file that a dying child made in the meantime.
        if fs::remove_dir_all(&self.directory).is_err() {
            let _gone_or_not_ours = fs::remove_dir_all(&self.directory);
        }
    }
}
