//! The object store of a fleet, and what lies in it, whatever the program says.

use super::{Garage, S3};
use std::path::{Path, PathBuf};

pub enum Store {
    Folder(S3),
    Garage(Garage),
}

impl Store {
    pub fn port(&self) -> u16 {
        match self {
            Self::Folder(s3) => s3.port(),
            Self::Garage(garage) => garage.port(),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// How many objects have a name that starts with this folder.
    pub async fn count(&self, folder: &str) -> usize {
        match self {
            // What is put there right now lies under a hidden name.
            Self::Folder(_) => {
                let hidden = |path: &PathBuf| {
                    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
                };
                self.files(folder).iter().filter(|path| !hidden(path)).count()
            }
            Self::Garage(garage) => garage.count(folder).await,
        }
    }

    /// How many uploads in parts, of keys that start so, are neither done nor dropped.
    pub fn multiparts(&self, prefix: &str) -> usize {
        match self {
            Self::Folder(s3) => s3.multiparts(prefix),
            Self::Garage(garage) => garage.multiparts(prefix),
        }
    }

    /// # Panics
    /// Where it is not there.
    pub async fn read(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Folder(s3) => std::fs::read(s3.path(key)).unwrap(),
            Self::Garage(garage) => garage.read(key).await,
        }
    }

    /// Where the bytes of an object lie, for what no client can do to them; Garage keeps them in blocks of its own.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(s3) => Some(s3.path(key)),
            Self::Garage(_) => None,
        }
    }

    /// Where the objects below a folder lie.
    ///
    /// # Panics
    /// Where they lie in no files of ours.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        files_below(&self.path(folder).expect("Garage keeps objects in blocks of its own"))
    }
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
