//! The files that are named to `voxmill submit`, and those in the directories that are.

use anyhow::{Context as _, bail};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What names of recordings end in. A file that is named itself may end in anything.
const MEDIA: [&str; 26] = [
    "3gp", "aac", "aif", "aiff", "amr", "avi", "flac", "flv", "m4a", "m4v", "mkv", "mov", "mp3", "mp4",
    "mpeg", "mpg", "mts", "oga", "ogg", "ogv", "opus", "ts", "wav", "webm", "wma", "wmv",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// Where it lies below the directory that was named.
    pub(crate) folder: PathBuf,
}

/// How much of a directory is looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Flat,
    Recursive,
}

/// The files of `named`, in order and each once. Nothing below `results` counts, for it is what we made ourselves.
pub(crate) fn files(named: &[PathBuf], depth: Depth, results: Option<&Path>) -> anyhow::Result<Vec<Found>> {
    let results = results.and_then(|directory| directory.canonicalize().ok());
    let mut found = vec![];
    for path in named {
        if path.is_dir() {
            let search = Search { depth, results: results.as_deref() };
            let before = found.len();
            search.directory(path, Path::new(""), &mut found)?;
            if found.len() == before {
                bail!("{} holds no recordings", path.display());
            }
        } else if path.exists() {
            found.push(Found { path: path.clone(), folder: PathBuf::new() });
        } else {
            bail!("{} does not exist", path.display());
        }
    }
    let mut seen = HashSet::new();
    found.retain(|file| seen.insert(file.path.clone()));
    Ok(found)
}

struct Search<'a> {
    depth: Depth,
    results: Option<&'a Path>,
}

impl Search<'_> {
    /// Links to directories are not followed: they may lead in a circle.
    fn directory(&self, directory: &Path, folder: &Path, found: &mut Vec<Found>) -> anyhow::Result<()> {
        if self.results.is_some() && directory.canonicalize().ok().as_deref() == self.results {
            return Ok(());
        }
        let could_not = || format!("could not read {}", directory.display());
        let mut entries = directory
            .read_dir()
            .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
            .with_context(could_not)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().with_context(could_not)?.is_dir() {
                if self.depth == Depth::Recursive {
                    self.directory(&path, &folder.join(name), found)?;
                }
            } else if is_media(&path) && path.is_file() {
                found.push(Found { path, folder: folder.to_owned() });
            }
        }
        Ok(())
    }
}

fn is_media(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    MEDIA.contains(&extension.as_str())
}

#[cfg(test)]
mod tests {
    use super::{Depth, files};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_directory_stands_for_its_recordings() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for name in ["b.WAV", "a.mp4", "notes.txt", ".hidden.wav", "in/c.flac", "in/deep/d.ogg", "out/e.wav"]
        {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("in/circle")).unwrap();
        let found = |named: &[PathBuf], depth: Depth| -> Vec<(String, String)> {
            let plain = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_str().unwrap().to_owned();
            let found = files(named, depth, Some(&root.join("out"))).unwrap();
            found.iter().map(|file| (plain(&file.path), plain(&file.folder))).collect()
        };
        let pair = |path: &str, folder: &str| (path.to_owned(), folder.to_owned());
        assert_eq!(found(&[root.into()], Depth::Flat), [pair("a.mp4", ""), pair("b.WAV", "")]);
        let notes = root.join("notes.txt");
        assert_eq!(
            found(&[notes, root.join("b.WAV"), root.into()], Depth::Recursive),
            [
                pair("notes.txt", ""),
                pair("b.WAV", ""),
                pair("a.mp4", ""),
                pair("in/c.flac", "in"),
                pair("in/deep/d.ogg", "in/deep"),
            ]
        );
        assert!(files(&[root.join("nowhere.wav")], Depth::Flat, None).is_err());
        assert!(
            files(&[root.join("in/deep/d.ogg"), root.join("in/circle/absent")], Depth::Flat, None).is_err()
        );
    }
}
