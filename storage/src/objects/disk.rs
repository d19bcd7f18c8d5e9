//! Objects as files below one directory, with the staged ones beside it on the same file system, so that publishing
//! is a rename.

use super::{
    ObjectKey, ObjectMeta, ObjectReader, Objects, Presentation, StagedObject, Staging,
    staging::{StagingDirectory, hash},
};
use crate::error::{Error, Result};
use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use std::{
    collections::HashSet,
    fs, io,
    io::SeekFrom,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// About so many objects are listed at once.
const LISTED: usize = 1000;

#[derive(Clone, Debug)]
pub struct DiskObjects {
    objects: PathBuf,
    staging: StagingDirectory,
}

impl DiskObjects {
    /// Uses `objects/` and `staging/` of the directory, which it makes.
    pub async fn open(data_directory: &Path) -> Result<Self> {
        let objects = data_directory.join("objects");
        tokio::fs::create_dir_all(&objects).await?;
        Ok(Self { objects, staging: StagingDirectory::open(data_directory).await? })
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.objects.join(key.as_str())
    }
}

#[async_trait]
impl Objects for DiskObjects {
    async fn stage(&self) -> Result<Staging> {
        self.staging.create().await
    }

    async fn publish(&self, staged: StagedObject, key: &ObjectKey) -> Result<()> {
        let (root, to) = (self.objects.clone(), self.path(key));
        blocking(move || move_into_place(staged.path(), &to, &root)).await
    }

    async fn publish_file(&self, from: &Path, key: &ObjectKey) -> Result<ObjectMeta> {
        let (root, to) = (self.objects.clone(), self.path(key));
        let (from, staged) = (from.to_owned(), self.staging.path());
        blocking(move || {
            link_or_copy(&from, staged.as_path())?;
            let meta = hash(staged.as_path())?;
            fs::File::open(staged.as_path())?.sync_all()?;
            move_into_place(staged.as_path(), &to, &root)?;
            Ok(meta)
        })
        .await
    }

    async fn fetch(&self, key: &ObjectKey, to: &Path) -> Result<()> {
        let (from, to) = (self.path(key), to.to_owned());
        blocking(move || link_or_copy(&from, &to)).await.map_err(absent)
    }

    async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectReader> {
        let mut file = tokio::fs::File::open(self.path(key)).await.map_err(Error::from).map_err(absent)?;
        let Some(range) = range else { return Ok(Box::new(file)) };
        file.seek(SeekFrom::Start(range.start)).await?;
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let (root, path) = (self.objects.clone(), self.path(key));
        blocking(move || {
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                Ok(()) | Err(_) => {}
            }
            // Directories of a job are its own; the removal of one that is not empty fails, and ends the way up.
            let parents = path.ancestors().skip(1).take_while(|parent| *parent != root);
            for parent in parents {
                if fs::remove_dir(parent).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let mut left = HashSet::new();
        for key in keys {
            if let Err(error) = self.delete(key).await {
                tracing::warn!(error = &error as &dyn std::error::Error, %key, "could not delete an object");
                left.insert(key.clone());
            }
        }
        Ok(left)
    }

    fn pages<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Vec<(ObjectKey, SystemTime)>>> {
        let root = &self.objects;
        let start = prefix.rsplit_once('/').map_or(root.clone(), |(directory, _)| root.join(directory));
        stream::try_unfold(None, move |walk: Option<Vec<fs::ReadDir>>| {
            let (start, root, prefix) = (start.clone(), root.clone(), prefix.to_owned());
            let next = move || {
                let mut walk = match walk {
                    Some(walk) => walk,
                    None => entries(&start)?.into_iter().collect(),
                };
                Ok((list(&root, &mut walk, &prefix)?, walk))
            };
            async {
                let (found, walk) = blocking(next).await?;
                Ok((!found.is_empty()).then_some((found, Some(walk))))
            }
        })
        .boxed()
    }

    async fn ping(&self) -> Result<()> {
        self.free_bytes().await.map(drop)
    }

    async fn free_bytes(&self) -> Result<Option<u64>> {
        let root = self.objects.clone();
        blocking(move || {
            let free = rustix::fs::statvfs(&root)?;
            Ok(Some(free.f_bavail.saturating_mul(free.f_frsize)))
        })
        .await
    }

    async fn public_url(&self, _key: &ObjectKey, _shown: &Presentation) -> Result<Option<String>> {
        Ok(None)
    }

    async fn sweep_staging(&self, before: SystemTime) -> Result<u64> {
        self.staging.sweep(before).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let outcome = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
    Ok(outcome?)
}

fn absent(error: Error) -> Error {
    match &error {
        Error::Internal(cause)
            if cause
                .downcast_ref::<io::Error>()
                .is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound) =>
        {
            Error::NotFound
        }
        Error::NotFound
        | Error::Forbidden
        | Error::Conflict(_)
        | Error::Input { .. }
        | Error::MissingInput { .. }
        | Error::OfJob { .. }
        | Error::QuotaExceeded { .. }
        | Error::Full
        | Error::Internal(_) => error,
    }
}

/// The bytes of `from` are on the disk already; this makes the name durable too.
fn move_into_place(from: &Path, to: &Path, root: &Path) -> io::Result<()> {
    // For reading: who publishes the same file again finds it read-only, and its owner may set times all the same.
    let file = fs::File::open(from)?;
    // The age of an object counts from here, or the sweeper could take one for an orphan before its row is written.
    file.set_modified(SystemTime::now())?;
    file.set_permissions(fs::Permissions::from_mode(0o444))?;
    // The removal of another object may take away a directory that it emptied, and that we just found or made.
    let mut tries = 0;
    loop {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::rename(from, to) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
            outcome => break outcome?,
        }
    }
    for directory in to.ancestors().skip(1) {
        fs::File::open(directory)?.sync_all()?;
        if directory == root {
            break;
        }
    }
    Ok(())
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
            Err(cause)
        }
        // Another file system, or one that has no links.
        Err(_) => {
            let mut target = fs::File::create_new(to)?;
            io::copy(&mut fs::File::open(from)?, &mut target)?;
            Ok(())
        }
    }
}

/// The next objects on a walk through directories whose keys start so; none at its end.
fn list(root: &Path, walk: &mut Vec<fs::ReadDir>, prefix: &str) -> io::Result<Vec<(ObjectKey, SystemTime)>> {
    let mut found = vec![];
    while found.len() < LISTED
        && let Some(innermost) = walk.last_mut()
    {
        let Some(entry) = innermost.next().transpose()? else {
            walk.pop();
            continue;
        };
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk.extend(entries(&path)?);
            continue;
        }
        let key =
            path.strip_prefix(root).ok().and_then(Path::to_str).and_then(|key| ObjectKey::parse(key).ok());
        // An object that went away meanwhile is no longer listed.
        if let (Some(key), Ok(meta)) = (key, entry.metadata())
            && key.as_str().starts_with(prefix)
        {
            found.push((key, meta.modified()?));
        }
    }
    Ok(found)
}

/// None where the directory is not there.
fn entries(directory: &Path) -> io::Result<Option<fs::ReadDir>> {
    match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        entries => entries.map(Some),
    }
}
