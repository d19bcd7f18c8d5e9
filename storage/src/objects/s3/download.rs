//! Bytes out of the store. A download that breaks off goes on from where it stood; one that cannot is an error, never
//! an early end.

use super::{AT_ONCE, Bucket, PART_SIZE, failed};
use crate::{
    error::{Error, Result},
    objects::{ObjectKey, ObjectReader},
};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use std::{
    io::{self, SeekFrom},
    ops::Range,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt, BufWriter},
    sync::mpsc,
};
use tokio_util::io::StreamReader;

/// Attempts in a row that bring nothing, after which a download has failed.
const MOST_FAILURES: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Chunks read before somebody asks for them.
const AHEAD: usize = 4;
const BUFFER: usize = 1 << 18;

/// A range of an object, on its way.
struct Download {
    bucket: Bucket,
    key: ObjectKey,
    /// What comes next.
    position: u64,
    end: u64,
    /// Of the whole object.
    size: u64,
    /// So that all of it is of one object.
    tag: Option<String>,
    body: ByteStream,
    failures: u32,
}

impl Bucket {
    pub(super) async fn open(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<ObjectReader> {
        let download = self.download(key, range).await?;
        let left = download.end.saturating_sub(download.position);
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(pump(download, sender));
        Ok(Box::new(StreamReader::new(Chunks { receiver, left })))
    }

    /// Large objects come in several ranges at once.
    pub(super) async fn fetch(&self, key: &ObjectKey, to: &Path) -> Result<()> {
        let first = self.download(key, Some(0..PART_SIZE)).await?;
        let (size, tag) = (first.size, first.tag.clone());
        File::create_new(to).await?;
        let written = async {
            first.write_to(to).await?;
            let rest = async |number: u64| {
                let start = number * PART_SIZE;
                let mut download = self.download(key, Some(start..start + PART_SIZE)).await?;
                if download.tag != tag {
                    return Err(Error::internal("the object changed while it was fetched"));
                }
                download.size = size;
                download.write_to(to).await
            };
            let rest = stream::iter(1..size.div_ceil(PART_SIZE)).map(rest).buffer_unordered(AT_ONCE);
            rest.try_collect::<()>().await?;
            if tokio::fs::metadata(to).await?.len() == size {
                return Ok(());
            }
            Err(Error::internal("the object came in another size than the store said"))
        };
        let outcome = written.await;
        if outcome.is_err() {
            let _ = tokio::fs::remove_file(to).await;
        }
        outcome
    }

    async fn download(&self, key: &ObjectKey, range: Option<Range<u64>>) -> Result<Download> {
        let (start, end) = range.as_ref().map_or((0, u64::MAX), |range| (range.start, range.end));
        let mut download = Download {
            bucket: self.clone(),
            key: key.clone(),
            position: start,
            end,
            size: 0,
            tag: None,
            body: ByteStream::new(SdkBody::empty()),
            failures: 0,
        };
        download.ask(range.is_some()).await?;
        Ok(download)
    }
}

impl Download {
    /// Asks for what is still to come. Beyond the end of the object that is nothing.
    async fn ask(&mut self, in_part: bool) -> Result<()> {
        let request = self.bucket.client.get_object().bucket(&self.bucket.name);
        let request = request.key(self.bucket.full(&self.key)).set_if_match(self.tag.clone());
        // A range of nothing cannot be asked for; one byte of it can, and is not read.
        let last = self.end.max(self.position.saturating_add(1)) - 1;
        let range = in_part.then(|| format!("bytes={}-{last}", self.position));
        let answer = match request.set_range(range).send().await {
            Err(cause) if cause.raw_response().is_some_and(|answer| answer.status().as_u16() == 416) => {
                self.end = self.position;
                return Ok(());
            }
            answer => answer.map_err(|cause| failed("GetObject", cause))?,
        };
        let length = answer.content_length().map(i64::unsigned_abs);
        let length = length.ok_or_else(|| Error::internal("the object store did not say how much comes"))?;
        let (start, size) = match answer.content_range() {
            Some(range) => {
                bounds(range).ok_or_else(|| Error::internal("the object store gave no proper range"))?
            }
            None => (0, length),
        };
        if start != self.position {
            return Err(Error::internal("the object store does not answer with the range asked for"));
        }
        self.end = self.end.min(size);
        self.size = size;
        self.tag = answer.e_tag;
        self.body = answer.body;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.position < self.end {
            let chunk = tokio::time::timeout(self.bucket.patience, self.body.next()).await;
            if let Ok(Some(Ok(mut chunk))) = chunk {
                chunk.truncate(usize::try_from(self.end - self.position).unwrap_or(usize::MAX));
                self.position += chunk.len() as u64;
                self.failures = 0;
                return Ok(Some(chunk));
            }
            self.go_on().await?;
        }
        // The whole has a checksum, and its verdict comes after the last byte.
        match self.body_is_whole().await {
            true => Ok(None),
            false => Err(Error::internal("the object does not have the checksum that the store has for it")),
        }
    }

    /// After a break.
    async fn go_on(&mut self) -> Result<()> {
        self.failures += 1;
        if self.failures > MOST_FAILURES {
            return Err(Error::internal("the download from the object store broke off again and again"));
        }
        tracing::debug!(position = self.position, "a download from the object store broke off, and goes on");
        tokio::time::sleep(FIRST_BACKOFF * 2_u32.pow(self.failures - 1)).await;
        let end = self.end;
        self.ask(true).await?;
        if self.end == end {
            return Ok(());
        }
        Err(Error::internal("the object changed while it was read"))
    }

    async fn body_is_whole(&mut self) -> bool {
        if self.position < self.size {
            return true;
        }
        match tokio::time::timeout(self.bucket.patience, self.body.next()).await {
            Ok(None | Some(Ok(_))) => true,
            Ok(Some(Err(_))) | Err(_) => false,
        }
    }

    /// Writes the range to its place in a file.
    async fn write_to(mut self, path: &Path) -> Result<()> {
        let mut file = OpenOptions::new().write(true).open(path).await?;
        file.seek(SeekFrom::Start(self.position)).await?;
        let mut file = BufWriter::with_capacity(BUFFER, file);
        while let Some(chunk) = self.next().await? {
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        Ok(())
    }
}

/// The first byte of `bytes 5-9/10`, and the size of the whole.
fn bounds(content_range: &str) -> Option<(u64, u64)> {
    let (range, size) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// Ends with the download, or with whoever reads.
async fn pump(mut download: Download, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let chunk = match download.next().await {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => return,
            Err(error) => Err(io::Error::other(error)),
        };
        let is_last = chunk.is_err();
        if sender.send(chunk).await.is_err() || is_last {
            return;
        }
    }
}

/// What a download brings. An end before the end is an error, whatever became of who sends.
struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = self.receiver.poll_recv(context);
        match &chunk {
            Poll::Ready(Some(Ok(bytes))) => self.left = self.left.saturating_sub(bytes.len() as u64),
            Poll::Ready(None) if self.left > 0 => {
                self.left = 0;
                let error = io::Error::new(io::ErrorKind::BrokenPipe, "the download ended early");
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(Some(Err(_))) => self.left = 0,
            Poll::Ready(None) | Poll::Pending => {}
        }
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn a_range_says_where_it_starts_and_how_much_there_is() {
        assert_eq!(bounds("bytes 5-9/10"), Some((5, 10)));
        for odd in ["", "bytes */10", "bytes 5-9/*", "5-9/10", "bytes 5/10"] {
            assert_eq!(bounds(odd), None, "{odd}");
        }
    }
}
