//! Objects in a bucket of an S3 store, whichever one. What is staged is a file of this machine until it
//! is published.

mod connect;
mod download;
mod failure;
mod multipart;
mod sent_parts;

pub(crate) use multipart::Multipart;
use multipart::Piece;
pub(crate) use sent_parts::StoredPart;

use super::{
    ObjectKey, ObjectMeta, ObjectReader, Objects, Presentation, StagedObject, Staging,
    staging::{StagingDirectory, hash},
};
use crate::error::{Error, Result};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    presigning::PresigningConfig,
    types::{ChecksumAlgorithm, Delete, ObjectIdentifier},
};
use failure::{failed, is_taken, is_unsupported};
use futures_util::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    fmt,
    ops::Range,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

/// The longest that a URL of an object lives.
const PUBLIC_URL_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Up to this size an object comes in one request, and of a larger one that much does.
const PART_SIZE: u64 = 8 << 20;
const LARGEST_SINGLE: u64 = 2 * PART_SIZE;
/// Requests of one transfer at once.
const AT_ONCE: usize = 4;
/// What all transfers together may hold in memory on their way to the store.
const BUFFER_MIB: u32 = 64;
/// How many keys a request to delete may name.
const MOST_DELETED: usize = 1000;

#[derive(Clone, Debug)]
pub struct S3Config {
    /// It must exist.
    pub bucket: String,
    /// Where the store is; none is AWS.
    pub endpoint: Option<String>,
    pub region: String,
    /// None asks the environment, the profile, and the machine or pod for theirs, as all tools of AWS do.
    pub keys: Option<S3Keys>,
    /// Stands before every key, so that a bucket may be shared.
    pub prefix: String,
    /// Where clients reach the store; they then send and fetch bytes there themselves.
    pub public_endpoint: Option<String>,
    /// How long one request to the store may take, and the store be silent within a download.
    pub patience: Duration,
}

#[derive(Clone)]
pub struct S3Keys {
    pub access_key: String,
    pub secret_key: String,
}

#[derive(Clone)]
pub struct S3Objects {
    bucket: Bucket,
    staging: StagingDirectory,
}

/// The bucket, and what every request to it needs.
#[derive(Clone)]
pub(crate) struct Bucket {
    client: Client,
    /// Signs for clients; it sends nothing.
    public: Option<Client>,
    name: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    patience: Duration,
    /// In MiB.
    buffers: Arc<Semaphore>,
}

/// What becomes of an object that has the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Former {
    Replaced,
    /// It stays, where the store can tell that there is one.
    Kept,
}

impl Former {
    /// What to send as `If-None-Match`.
    fn condition(self) -> Option<String> {
        (self == Self::Kept).then(|| "*".to_owned())
    }
}

impl S3Objects {
    /// Uses `staging/` of the directory, which it makes, and the bucket, which must be there: the error says what to
    /// do where it is not.
    pub async fn open(config: &S3Config, data_directory: &Path) -> Result<Self> {
        let staging = StagingDirectory::open(data_directory).await?;
        Ok(Self { bucket: connect::connect(config).await?, staging })
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }
}

#[async_trait]
impl Objects for S3Objects {
    async fn stage(&self) -> Result<Staging> {
        self.staging.create().await
    }

    async fn publish(&self, staged: StagedObject, key: &ObjectKey) -> Result<()> {
        if staged.stored.as_ref().is_some_and(|stored| stored.key == *key) {
            return Ok(());
        }
        self.bucket.upload(staged.path(), staged.size_bytes, key, Former::Replaced).await.map(drop)
    }

    async fn publish_file(&self, from: &Path, key: &ObjectKey) -> Result<ObjectMeta> {
        let path = from.to_owned();
        let meta = tokio::task::spawn_blocking(move || hash(&path)).await.map_err(Error::internal)??;
        let made = self.bucket.upload(from, meta.size_bytes, key, Former::Kept).await?;
        // Most often it is there as the answer to the first try was lost. A database that was restored may count epochs
        // anew, and knows nothing of what they made.
        if !made && self.bucket.sha256(key).await? != meta.sha256 {
            tracing::warn!(%key, "replacing what another life of the database has made");
            self.bucket.upload(from, meta.size_bytes, key, Former::Replaced).await?;
        }
        Ok(meta)
    }

    async fn fetch(&self, key: &ObjectKey, to: &Path) -> Result<()> {
        self.bucket.fetch(key, to).await
    }

    async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectReader> {
        self.bucket.open(key, range).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.bucket.delete(key).await
    }

    async fn delete_all(&self, keys: &[ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let mut left = HashSet::new();
        for some in keys.chunks(MOST_DELETED) {
            left.extend(self.bucket.delete_some(some).await?);
        }
        Ok(left)
    }

    fn pages<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Vec<(ObjectKey, SystemTime)>>> {
        self.bucket.pages(prefix).boxed()
    }

    async fn ping(&self) -> Result<()> {
        let answer = self.bucket.client.head_bucket().bucket(&self.bucket.name).send().await;
        answer.map(drop).map_err(|cause| failed("HeadBucket", cause))
    }

    async fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn public_url(&self, key: &ObjectKey, shown: &Presentation) -> Result<Option<String>> {
        let Some(client) = &self.bucket.public else { return Ok(None) };
        let request = client
            .get_object()
            .bucket(&self.bucket.name)
            .key(self.bucket.full(key))
            .response_content_type(&shown.content_type)
            .response_content_disposition(&shown.disposition)
            .response_cache_control("private, no-cache");
        let signed = request.presigned(for_a_while()?).await.map_err(|cause| failed("GetObject", cause))?;
        Ok(Some(signed.uri().to_owned()))
    }

    async fn sweep_staging(&self, before: SystemTime) -> Result<u64> {
        Ok(self.staging.sweep(before).await? + self.bucket.abort_before(before).await?)
    }
}

impl Bucket {
    /// The name of an object in the store.
    fn full(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of an object of ours.
    fn key(&self, full: &str) -> Option<ObjectKey> {
        ObjectKey::parse(full.strip_prefix(&self.prefix)?).ok()
    }

    /// False where there is one that is kept.
    async fn upload(&self, path: &Path, size: u64, key: &ObjectKey, former: Former) -> Result<bool> {
        if size > LARGEST_SINGLE {
            return self.upload_in_parts(path, size, key, former).await;
        }
        let Piece { bytes, share } = self.read(path, 0..size).await?;
        let request = self.client.put_object().bucket(&self.name).key(self.full(key));
        // The bytes are in memory, so their checksums go in the head of the request, which every store understands.
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).body(bytes.into());
        match request.set_if_none_match(former.condition()).send().await {
            Ok(_) => Ok(true),
            Err(cause) if is_taken(&cause) => Ok(false),
            Err(cause) if former == Former::Kept && is_unsupported(&cause) => {
                drop(share);
                Box::pin(self.upload(path, size, key, Former::Replaced)).await
            }
            Err(cause) => Err(failed("PutObject", cause)),
        }
    }

    async fn sha256(&self, key: &ObjectKey) -> Result<String> {
        let mut sha256 = Sha256::new();
        let mut pieces = ReaderStream::with_capacity(self.open(key, None).await?, 1 << 18);
        while let Some(piece) = pieces.try_next().await? {
            sha256.update(&piece);
        }
        Ok(hex::encode(sha256.finalize()))
    }

    pub(crate) async fn delete(&self, key: &ObjectKey) -> Result<()> {
        let deleted = self.client.delete_object().bucket(&self.name).key(self.full(key)).send().await;
        match deleted {
            Err(cause) if cause.code() == Some("NoSuchKey") => Ok(()),
            deleted => deleted.map(drop).map_err(|cause| failed("DeleteObject", cause)),
        }
    }

    /// At most [`MOST_DELETED`]; those that are left.
    async fn delete_some(&self, keys: &[ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let named = |key: &ObjectKey| ObjectIdentifier::builder().key(self.full(key)).build();
        let named = keys.iter().map(named).collect::<std::result::Result<_, _>>();
        let all = Delete::builder().set_objects(Some(named.map_err(Error::internal)?)).quiet(true).build();
        let request = self.client.delete_objects().bucket(&self.name);
        match request.delete(all.map_err(Error::internal)?).send().await {
            Ok(answer) => {
                let left = answer.errors().iter().filter(|error| error.code() != Some("NoSuchKey"));
                Ok(left.filter_map(|error| self.key(error.key()?)).collect())
            }
            Err(cause) if is_unsupported(&cause) => self.delete_each(keys).await,
            Err(cause) => Err(failed("DeleteObjects", cause)),
        }
    }

    async fn delete_each(&self, keys: &[ObjectKey]) -> Result<HashSet<ObjectKey>> {
        let delete = async |key: &ObjectKey| self.delete(key).await.err().map(|_| key.clone());
        let left = stream::iter(keys).map(delete).buffer_unordered(AT_ONCE);
        Ok(left.filter_map(async |left| left).collect().await)
    }

    fn pages(&self, prefix: &str) -> impl Stream<Item = Result<Vec<(ObjectKey, SystemTime)>>> {
        let request = self.client.list_objects_v2().bucket(&self.name);
        let request = request.prefix(format!("{}{prefix}", self.prefix));
        stream::try_unfold(request.into_paginator().send(), async |mut pages| {
            let Some(page) = pages.next().await else { return Ok(None) };
            let page = page.map_err(|cause| failed("ListObjectsV2", cause))?;
            Ok(Some((page.contents().iter().filter_map(|object| self.listed(object)).collect(), pages)))
        })
    }

    /// None where it is none of ours.
    fn listed(&self, object: &aws_sdk_s3::types::Object) -> Option<(ObjectKey, SystemTime)> {
        let published = SystemTime::try_from(*object.last_modified()?).ok()?;
        Some((self.key(object.key()?)?, published))
    }

    /// The size of the object, where it is there.
    pub(crate) async fn size(&self, key: &ObjectKey) -> Result<Option<u64>> {
        match self.client.head_object().bucket(&self.name).key(self.full(key)).send().await {
            Ok(head) => Ok(head.content_length().map(i64::unsigned_abs)),
            Err(SdkError::ServiceError(cause)) if cause.err().is_not_found() => Ok(None),
            Err(cause) => Err(failed("HeadObject", cause)),
        }
    }
}

/// How long what is signed holds.
fn for_a_while() -> Result<PresigningConfig> {
    PresigningConfig::expires_in(PUBLIC_URL_LIFETIME).map_err(Error::internal)
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Keys").finish_non_exhaustive()
    }
}
