//! Objects too large for one request, in parts.

use super::{
    AT_ONCE, Bucket, Former, PART_SIZE,
    connect::timeouts,
    failed,
    failure::{is_taken, is_unsupported},
};
use crate::{
    error::{Error, Result},
    objects::{ObjectKey, PREFIXES},
};
use aws_sdk_s3::{
    config::Builder,
    error::ProvideErrorMetadata,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path, time::SystemTime};
use tokio::sync::OwnedSemaphorePermit;

/// The most that a store takes.
const MOST_PARTS: u64 = 10_000;
/// How much longer than usual the store may take to put the parts together.
const JOINING: u32 = 10;

/// An upload in parts that the store knows by this name.
#[derive(Clone, Debug)]
pub(crate) struct Multipart {
    pub(crate) key: ObjectKey,
    pub(crate) name: String,
}

/// Bytes of a file on their way to the store, and their share of the memory for such.
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) share: OwnedSemaphorePermit,
}

impl Bucket {
    /// Nothing is left in the store unless all of it is. False where there is one that is kept.
    pub(super) async fn upload_in_parts(
        &self,
        path: &Path,
        size: u64,
        key: &ObjectKey,
        former: Former,
    ) -> Result<bool> {
        let request = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let begun = request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
        let begun = begun.map_err(|cause| failed("CreateMultipartUpload", cause))?;
        let multipart = named(key, begun.upload_id())?;
        let outcome = match self.upload_parts(path, size, &multipart).await {
            Ok(parts) => self.complete(&multipart, parts, size, former).await,
            Err(error) => Err(error),
        };
        if outcome.is_err()
            && let Err(error) = self.abort(&multipart).await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "an upload to the object store is left to sweep");
        }
        outcome
    }

    async fn upload_parts(&self, path: &Path, size: u64, to: &Multipart) -> Result<Vec<CompletedPart>> {
        let part_size = PART_SIZE.max(size.div_ceil(MOST_PARTS));
        let part = async |number: u64| {
            let start = (number - 1) * part_size;
            let piece = self.read(path, start..size.min(start + part_size)).await?;
            let number = i32::try_from(number).map_err(Error::internal)?;
            self.send_part(to, number, piece).await
        };
        let mut parts: Vec<_> = stream::iter(1..=size.div_ceil(part_size))
            .map(part)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn send_part(&self, to: &Multipart, number: i32, piece: Piece) -> Result<CompletedPart> {
        let request = self.client.upload_part().bucket(&self.name).key(self.full(&to.key));
        let request = request.upload_id(&to.name).part_number(number).body(piece.bytes.into());
        let sent = request.checksum_algorithm(ChecksumAlgorithm::Crc32).send().await;
        let sent = sent.map_err(|cause| failed("UploadPart", cause))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32)
            .build())
    }

    /// Makes the object of these parts, and makes sure of its size. Once more is fine, as after an answer that was lost;
    /// [`Error::NotFound`] where there is nothing to make it of. False where there is one that is kept.
    pub(super) async fn complete(
        &self,
        multipart: &Multipart,
        parts: Vec<CompletedPart>,
        size: u64,
        former: Former,
    ) -> Result<bool> {
        let request = self.client.complete_multipart_upload().bucket(&self.name);
        let request = request.key(self.full(&multipart.key)).upload_id(&multipart.name);
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build();
        let request = request.multipart_upload(all).set_if_none_match(former.condition());
        let patience = Builder::new().timeout_config(timeouts(self.patience * JOINING));
        match request.customize().config_override(patience).send().await {
            Ok(_) => {}
            // A first attempt did it, or another process; or it is lost, which the look at the object tells.
            Err(cause) if cause.code() == Some("NoSuchUpload") => {}
            // The parts are of no use any more.
            Err(cause) if is_taken(&cause) => return self.abort(multipart).await.map(|()| false),
            Err(cause) if former == Former::Kept && is_unsupported(&cause) => {
                return Box::pin(self.complete(multipart, parts, size, Former::Replaced)).await;
            }
            Err(cause) => return Err(failed("CompleteMultipartUpload", cause)),
        }
        match self.size(&multipart.key).await? {
            Some(stored) if stored == size => Ok(true),
            Some(_) => Err(Error::internal("the object store joined parts to an object of another size")),
            None => Err(Error::NotFound),
        }
    }

    /// One that is not there any more is fine.
    pub(crate) async fn abort(&self, multipart: &Multipart) -> Result<()> {
        self.abort_named(self.full(&multipart.key), multipart.name.clone()).await
    }

    async fn abort_named(&self, key: String, name: String) -> Result<()> {
        let request = self.client.abort_multipart_upload().bucket(&self.name).key(key).upload_id(name);
        match request.send().await {
            Err(cause) if cause.code() == Some("NoSuchUpload") => Ok(()),
            aborted => aborted.map(drop).map_err(|cause| failed("AbortMultipartUpload", cause)),
        }
    }

    /// Drops what was begun before then and is not done; returns how many. Stores that cannot list them, or only those
    /// of one key, drop old ones themselves.
    pub(super) async fn abort_before(&self, before: SystemTime) -> Result<u64> {
        let mut aborted = 0;
        let (mut key_marker, mut name_marker) = (None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.name).prefix(&self.prefix);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(name_marker);
            let page = match request.send().await {
                Err(cause) if is_unsupported(&cause) => return Ok(aborted),
                page => page.map_err(|cause| failed("ListMultipartUploads", cause))?,
            };
            for upload in page.uploads() {
                let (Some(key), Some(name), Some(begun)) =
                    (upload.key(), upload.upload_id(), upload.initiated())
                else {
                    continue;
                };
                if self.is_ours(key) && SystemTime::try_from(*begun).is_ok_and(|begun| begun < before) {
                    self.abort_named(key.to_owned(), name.to_owned()).await?;
                    aborted += 1;
                }
            }
            if page.is_truncated() != Some(true) || page.next_key_marker().is_none() {
                return Ok(aborted);
            }
            (key_marker, name_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// The bucket may be shared with other programs.
    fn is_ours(&self, full: &str) -> bool {
        let key = full.strip_prefix(&self.prefix);
        key.is_some_and(|key| PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
    }

    /// Waits until the memory for it is free.
    pub(super) async fn read(&self, path: &Path, range: Range<u64>) -> Result<Piece> {
        let mib = u32::try_from((range.end - range.start).div_ceil(1 << 20)).unwrap_or(u32::MAX);
        let share = self.buffers.clone().acquire_many_owned(mib.min(super::BUFFER_MIB));
        let share = share.await.map_err(Error::internal)?;
        let path = path.to_owned();
        let read = move || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
            File::open(path)?.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        };
        let bytes = tokio::task::spawn_blocking(read).await.map_err(Error::internal)??;
        Ok(Piece { bytes, share })
    }
}

pub(super) fn named(key: &ObjectKey, name: Option<&str>) -> Result<Multipart> {
    let name = name.ok_or_else(|| Error::internal("the object store gave an upload no name"))?;
    Ok(Multipart { key: key.clone(), name: name.to_owned() })
}
