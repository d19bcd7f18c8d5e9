//! Bytes on their way to become an object: in a file of our own, counted and hashed as they come.

use super::{ObjectMeta, s3::Multipart};
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};
use tokio::{
    fs::File,
    io::{AsyncWrite, AsyncWriteExt},
};
use uuid::Uuid;

/// Where such files lie.
#[derive(Clone, Debug)]
pub(crate) struct StagingDirectory(PathBuf);

/// A file being written. Dropped before [`Staging::finish`], it is removed.
#[derive(Debug)]
pub struct Staging {
    file: File,
    path: StagedPath,
    size_bytes: u64,
    sha256: Sha256,
}

/// Bytes that are whole and on the disk, but not an object yet. Dropped, they are removed.
#[derive(Debug)]
pub struct StagedObject {
    path: StagedPath,
    pub size_bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// The object that has the same bytes already, for they came by way of the store, and the upload that it was joined of.
    pub(crate) stored: Option<Multipart>,
}

impl StagingDirectory {
    /// `staging/` of the directory, which it makes.
    pub(crate) async fn open(data_directory: &Path) -> Result<Self> {
        let directory = Self(data_directory.join("staging"));
        tokio::fs::create_dir_all(&directory.0).await?;
        Ok(directory)
    }

    pub(crate) async fn create(&self) -> Result<Staging> {
        let path = self.path();
        let file = File::create_new(path.as_path()).await?;
        Ok(Staging { file, path, size_bytes: 0, sha256: Sha256::new() })
    }

    /// For a file that is yet to be made, and goes when this is dropped.
    pub(crate) fn path(&self) -> StagedPath {
        StagedPath(self.0.join(Uuid::new_v4().simple().to_string()))
    }

    /// Removes those last written to before then; returns how many.
    pub(crate) async fn sweep(&self, before: SystemTime) -> Result<u64> {
        let directory = self.0.clone();
        let sweep = move || -> io::Result<u64> {
            let mut removed = 0;
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_file() && meta.modified()? < before && fs::remove_file(entry.path()).is_ok() {
                    removed += 1;
                }
            }
            Ok(removed)
        };
        Ok(tokio::task::spawn_blocking(sweep).await.map_err(Error::internal)??)
    }
}

impl Staging {
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Waits until the bytes are on the disk.
    pub async fn finish(self) -> Result<StagedObject> {
        let Self { mut file, path, size_bytes, sha256 } = self;
        file.flush().await?;
        file.sync_all().await?;
        Ok(StagedObject { path, size_bytes, sha256: hex::encode(sha256.finalize()), stored: None })
    }
}

impl AsyncWrite for Staging {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let staging = self.get_mut();
        let written = Pin::new(&mut staging.file).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            staging.sha256.update(&bytes[..count]);
            staging.size_bytes += count as u64;
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().file).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().file).poll_shutdown(context)
    }
}

impl StagedObject {
    /// For reading what was staged. It is there as long as this value.
    pub fn path(&self) -> &Path {
        &self.path.0
    }
}

/// Removes the file when dropped, unless it was moved away before.
#[derive(Debug)]
pub(crate) struct StagedPath(PathBuf);

impl StagedPath {
    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(error = %cause, "could not remove a staged file; the sweeper will");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// Size and checksum of a file that is there.
pub(crate) fn hash(path: &Path) -> io::Result<ObjectMeta> {
    let mut file = fs::File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut size_bytes = 0;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        sha256.update(&buffer[..count]);
        size_bytes += count as u64;
    }
    Ok(ObjectMeta { size_bytes, sha256: hex::encode(sha256.finalize()) })
}
