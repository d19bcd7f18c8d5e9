//! Where the bytes of files live. An object appears whole or not at all, and is never changed.

mod disk;
pub(crate) mod s3;
mod staging;

pub use disk::DiskObjects;
pub use s3::{S3Config, S3Keys, S3Objects};
pub use staging::{StagedObject, Staging};

use crate::error::{Error, Result};
use async_trait::async_trait;
use futures_util::{TryStreamExt, stream::BoxStream};
use std::{collections::HashSet, fmt, ops::Range, path::Path, str::FromStr, time::SystemTime};
use tokio::io::AsyncRead;

/// What the keys of all our objects begin with.
pub(crate) const PREFIXES: [&str; 5] = ["files/", "jobs/", "voices/", "recordings/", "previews/"];

/// The name of an object: parts of letters, digits, `.`, `_` and `-`, joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    pub size_bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Where objects are kept.
#[derive(Clone, Debug)]
pub enum ObjectsConfig {
    /// In the data directory.
    Disk,
    S3(S3Config),
}

/// How an object looks to who fetches it by its URL.
#[derive(Clone, Debug)]
pub struct Presentation {
    pub content_type: String,
    /// `Content-Disposition`, as RFC 6266 has it.
    pub disposition: String,
}

pub type ObjectReader = Box<dyn AsyncRead + Send + Sync + Unpin>;

#[async_trait]
pub trait Objects: Send + Sync {
    /// A file of our own to write to; it becomes an object by [`Objects::publish`], or goes when dropped.
    async fn stage(&self) -> Result<Staging>;

    /// Makes the staged bytes the object `key`, at once and durably. Replaces what was there.
    async fn publish(&self, staged: StagedObject, key: &ObjectKey) -> Result<()>;

    /// Makes a copy of the file `from` the object `key`, at once and durably. Replaces what was there; the same once
    /// more is fine, as after an answer that was lost.
    /// The copy may share its bytes with `from`, which must not be written to any more.
    async fn publish_file(&self, from: &Path, key: &ObjectKey) -> Result<ObjectMeta>;

    /// Puts the object at the path `to`, which must not exist, for reading only: the bytes may be shared.
    async fn fetch(&self, key: &ObjectKey, to: &Path) -> Result<()>;

    /// The bytes of the object, or those of them that lie in `range`.
    async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectReader>;

    /// Who reads it already reads on. An absent object is fine.
    async fn delete(&self, key: &ObjectKey) -> Result<()>;

    /// Deletes them all, as [`Objects::delete`] does; those that it could not are returned.
    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<HashSet<ObjectKey>>;

    /// The objects whose key starts with `prefix`, and when each was published, in no order, as many at a time as the store
    /// tells of at once.
    fn pages<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Vec<(ObjectKey, SystemTime)>>>;

    /// All of [`Objects::pages`], for a prefix with few.
    async fn list(&self, prefix: &str) -> Result<Vec<(ObjectKey, SystemTime)>> {
        self.pages(prefix).try_concat().await
    }

    /// Whether the objects can be reached.
    async fn ping(&self) -> Result<()>;

    /// How many bytes may still be stored, where that is known.
    async fn free_bytes(&self) -> Result<Option<u64>>;

    /// Where a client fetches the object itself, without a header, for 15 minutes; none where it cannot. Whoever has
    /// the URL may: it is for the client alone, and for no log.
    async fn public_url(&self, key: &ObjectKey, shown: &Presentation) -> Result<Option<String>>;

    /// Removes what was staged before `before` by processes that died.
    async fn sweep_staging(&self, before: SystemTime) -> Result<u64>;
}

impl ObjectKey {
    /// The key is [`Error::Input`] with the field `object_key` if it is not well formed.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        if text.len() <= 512 && text.split('/').all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::input("object_key", "is not well formed"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ObjectKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectKey;

    #[test]
    fn a_key_cannot_leave_its_place() {
        for key in ["a", "files/0a/x.wav", "jobs/1/2/a-b_c.mp4"] {
            assert!(ObjectKey::parse(key).is_ok(), "{key}");
        }
        let long = "a".repeat(513);
        for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a b", "a\\b", "ä", "a\0", &long] {
            assert!(ObjectKey::parse(key).is_err(), "{key}");
        }
    }
}
