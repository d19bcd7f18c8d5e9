//! Bytes on their way to become an object: in a file of our own, counted and hashed as they come.

use crate::error::Result;
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    fs::File,
    io::{AsyncWrite, AsyncWriteExt},
};

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
}

impl Staging {
    pub(crate) async fn create(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).await?;
        Ok(Self { file, path: StagedPath(path), size_bytes: 0, sha256: Sha256::new() })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Waits until the bytes are on the disk.
    pub async fn finish(self) -> Result<StagedObject> {
        let Self { mut file, path, size_bytes, sha256 } = self;
        file.flush().await?;
        file.sync_all().await?;
        Ok(StagedObject { path, size_bytes, sha256: hex::encode(sha256.finalize()) })
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
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

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
