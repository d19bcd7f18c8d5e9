//! A file of lines of JSON that grows by a line a change, and that no two processes write to.

use crate::file_names::part_of;
use anyhow::{Context as _, bail};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(super) struct Journal {
    path: PathBuf,
    /// Locked, and open to be added to.
    file: File,
    /// In bytes, of the lines that are whole.
    length: u64,
}

impl Journal {
    /// The file, which is made where it is not there, and its lines. A last one that is not whole was cut off with the
    /// process that wrote it, and is left out.
    pub(super) fn open(path: &Path) -> anyhow::Result<(Self, Vec<String>)> {
        let could_not = || format!("could not read {}", path.display());
        let mut file = loop {
            let file = append_to(path).with_context(could_not)?;
            if file.try_lock().is_err() {
                bail!("another submit keeps its record in {}", path.display());
            }
            // Whoever had the lock may have put another file in its place meanwhile.
            if is_at(&file, path).with_context(could_not)? {
                break file;
            }
        };
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).with_context(could_not)?;
        let length = bytes.len() as u64;
        // Before it is read as text: the cut may go through a letter.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        match String::from_utf8(bytes) {
            Ok(whole) if length == 0 || !whole.is_empty() => {
                let lines = whole.lines().map(str::to_owned).collect();
                Ok((Self { path: path.to_owned(), file, length }, lines))
            }
            Ok(_) | Err(_) => bail!("{} is something else, and stays as it is", path.display()),
        }
    }

    /// Puts these lines in place of all that were there.
    pub(super) fn rewrite(&mut self, lines: &[impl Serialize]) -> anyhow::Result<()> {
        let part = part_of(&self.path);
        let written = append_to(&part).and_then(|mut file| {
            file.set_len(0)?;
            // Before it has the name by which others find it.
            file.try_lock()?;
            let mut text = vec![];
            for line in lines {
                serde_json::to_writer(&mut text, line)?;
                text.push(b'\n');
            }
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&part, &self.path)?;
            (self.file, self.length) = (file, text.len() as u64);
            Ok(())
        });
        written.with_context(|| self.could_not_write())
    }

    /// Once this returns, the line is on the disk.
    pub(super) fn add(&mut self, line: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        match &written {
            Ok(()) => self.length += text.len() as u64,
            // A part of a line would spoil the next one.
            Err(_) => self.file.set_len(self.length).with_context(|| self.could_not_write())?,
        }
        written.with_context(|| self.could_not_write())
    }

    fn could_not_write(&self) -> String {
        format!("could not write {}", self.path.display())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (open, found) = (file.metadata()?, std::fs::metadata(path));
    Ok(found.is_ok_and(|found| (found.dev(), found.ino()) == (open.dev(), open.ino())))
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use std::io::Write as _;

    #[test]
    fn what_was_added_is_there_again_but_for_half_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert!(lines.is_empty());
        journal.add(&1).unwrap();
        journal.add(&"two").unwrap();
        let second = Journal::open(&path).err().unwrap();
        assert!(second.to_string().contains("another submit"), "{second}");
        drop(journal);
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"[\"thr\xc3").unwrap();

        let (mut journal, lines) = Journal::open(&path).unwrap();
        assert_eq!(lines, ["1", "\"two\""]);
        journal.rewrite(&[3]).unwrap();
        assert!(Journal::open(&path).is_err(), "the new file is locked as the old one was");
        journal.add(&4).unwrap();
        drop(journal);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n4\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left");
        std::fs::write(&path, "a letter").unwrap();
        assert!(Journal::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
    }
}
