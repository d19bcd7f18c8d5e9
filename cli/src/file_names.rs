//! Names for files that come from elsewhere: none takes the place of a file that is there.

use anyhow::{Context as _, bail};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Makes an empty file of this name, or with a number before its extension where there is one already.
pub(crate) fn new_file(directory: &Path, name: &OsStr) -> anyhow::Result<PathBuf> {
    for number in 1_u64.. {
        let path = directory.join(numbered(Path::new(name), number));
        match std::fs::File::create_new(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("could not make {}", path.display())),
        }
    }
    bail!("{} holds too many files of one name", directory.display())
}

/// `song.wav` is `song-2.wav` as number 2.
pub(crate) fn numbered(name: &Path, number: u64) -> OsString {
    let mut numbered = name.file_stem().unwrap_or_default().to_owned();
    if number > 1 {
        numbered.push(format!("-{number}"));
    }
    if let Some(extension) = name.extension() {
        numbered.push(".");
        numbered.push(extension);
    }
    numbered
}

/// The name under which a file is written that is not whole yet.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::new_file;

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = new_file(folder.path(), name.as_ref()).unwrap();
            path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(make("speech.en.wav"), "speech.en.wav");
        assert_eq!(make("speech.en.wav"), "speech.en-2.wav");
        assert_eq!(make("speech.en.wav"), "speech.en-3.wav");
        assert_eq!(make("speech"), "speech");
        assert_eq!(make("speech"), "speech-2");
    }
}
