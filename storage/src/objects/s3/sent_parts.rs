//! Objects that clients send in parts, in any order. The bytes come through us, or straight from them.

use super::{AT_ONCE, Bucket, Former, Multipart, failed, for_a_while, multipart::named};
use crate::{
    error::{Error, Result},
    objects::ObjectKey,
};
use aws_sdk_s3::{
    config::{Builder, RequestChecksumCalculation},
    error::ProvideErrorMetadata,
    types::CompletedPart,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::path::Path;

/// A part that is in the store.
pub(crate) struct StoredPart {
    pub(crate) number: u32,
    pub(crate) size_bytes: u64,
    tag: String,
}

impl Bucket {
    /// For a client to fill.
    pub(crate) async fn begin(&self, key: &ObjectKey) -> Result<Multipart> {
        let request = self.client.create_multipart_upload().bucket(&self.name).key(self.full(key));
        let begun = request.customize().config_override(no_checksum()).send().await;
        let begun = begun.map_err(|cause| failed("CreateMultipartUpload", cause))?;
        named(key, begun.upload_id())
    }

    /// A part of a client's, from a file. [`Error::NotFound`] where the upload is not there any more.
    pub(crate) async fn put_part(&self, to: &Multipart, number: u32, from: (&Path, u64)) -> Result<()> {
        let (path, size) = from;
        let piece = self.read(path, 0..size).await?;
        let request = self.client.upload_part().bucket(&self.name).key(self.full(&to.key));
        let request = request.upload_id(&to.name).part_number(number.cast_signed()).body(piece.bytes.into());
        match request.customize().config_override(no_checksum()).send().await {
            Err(cause) if cause.code() == Some("NoSuchUpload") => Err(Error::NotFound),
            sent => sent.map(drop).map_err(|cause| failed("UploadPart", cause)),
        }
    }

    /// Where a client puts a part of exactly this size itself; none where it cannot reach the store.
    pub(crate) async fn part_url(&self, of: &Multipart, number: u32, size: u64) -> Result<Option<String>> {
        let Some(client) = &self.public else { return Ok(None) };
        let request = client.upload_part().bucket(&self.name).key(self.full(&of.key));
        let request = request.upload_id(&of.name).part_number(number.cast_signed());
        let signed = request.content_length(size.cast_signed()).presigned(for_a_while()?).await;
        Ok(Some(signed.map_err(|cause| failed("UploadPart", cause))?.uri().to_owned()))
    }

    /// The parts that are there, in order; none where the upload is not there any more.
    pub(crate) async fn parts(&self, of: &Multipart) -> Result<Option<Vec<StoredPart>>> {
        let request = self.client.list_parts().bucket(&self.name).key(self.full(&of.key)).upload_id(&of.name);
        let mut pages = request.into_paginator().send();
        let mut found = vec![];
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(cause) if cause.code() == Some("NoSuchUpload") => return Ok(None),
                page => page.map_err(|cause| failed("ListParts", cause))?,
            };
            found.extend(page.parts().iter().filter_map(|part| {
                Some(StoredPart {
                    number: part.part_number()?.unsigned_abs(),
                    size_bytes: part.size()?.unsigned_abs(),
                    tag: part.e_tag()?.to_owned(),
                })
            }));
        }
        found.sort_unstable_by_key(|part| part.number);
        Ok(Some(found))
    }

    /// Makes the object of these parts, which must be all. Once more is fine, as after an answer that was lost.
    pub(crate) async fn join(&self, multipart: &Multipart, parts: Vec<StoredPart>) -> Result<()> {
        let size = parts.iter().map(|part| part.size_bytes).sum();
        let completed = |part: StoredPart| {
            CompletedPart::builder().part_number(part.number.cast_signed()).e_tag(part.tag).build()
        };
        self.complete(multipart, parts.into_iter().map(completed).collect(), size, Former::Replaced)
            .await
            .map(drop)
    }

    /// An upload in parts like `of`, whose object has been made, with the same parts; the object is left. The bytes do
    /// not leave the store.
    pub(crate) async fn begin_from(&self, of: &ObjectKey, part_size: u64) -> Result<Multipart> {
        let size = self.size(of).await?.ok_or(Error::NotFound)?;
        let multipart = self.begin(of).await?;
        let source = format!("{}/{}", self.name, self.full(of));
        let copy = async |number: u64| {
            let start = (number - 1) * part_size;
            let last = size.min(start + part_size) - 1;
            let request = self.client.upload_part_copy().bucket(&self.name).key(self.full(of));
            let request = request.upload_id(&multipart.name).copy_source(&source);
            let request = request.part_number(i32::try_from(number).map_err(Error::internal)?);
            let copied = request.copy_source_range(format!("bytes={start}-{last}")).send().await;
            copied.map(drop).map_err(|cause| failed("UploadPartCopy", cause))
        };
        let parts = stream::iter(1..=size.div_ceil(part_size)).map(copy).buffer_unordered(AT_ONCE);
        if let Err(error) = parts.try_collect::<()>().await {
            self.abort(&multipart).await?;
            return Err(error);
        }
        Ok(multipart)
    }
}

/// Clients send parts without a checksum, and a store that was told of one takes none without; one that was told of none
/// takes none with. What passes through us is hashed for its signature all the same, and the store checks that.
fn no_checksum() -> Builder {
    Builder::new().request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
}
