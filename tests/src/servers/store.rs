//! The object store of a fleet, and what lies in it, whatever the program says.

use crate::server::files_below;
use crate::servers::{Garage, S3};
use std::path::PathBuf;

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

    /// # Panics
    /// Where it is not there.
    pub async fn read(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Folder(s3) => std::fs::read(s3.path(key)).unwrap(),
            Self::Garage(garage) => garage.read(key).await,
        }
    }

    /// Where the objects below a folder lie.
    ///
    /// # Panics
    /// Where they lie in no files of ours.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        match self {
            Self::Folder(s3) => files_below(&s3.path(folder)),
            Self::Garage(_) => panic!("Garage keeps objects in blocks of its own"),
        }
    }
}
