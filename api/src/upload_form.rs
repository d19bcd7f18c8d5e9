//! The multipart form of an upload, read as it comes. poem's own types put each field in a temporary file or in memory
//! first; and its parser takes all that a connection offers, so it is fed no faster than it is emptied.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::web::{Field, Multipart};
use poem::{Body, FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio_util::io::ReaderStream;

use crate::body::content_length;
use crate::error::{ApiError, Result};

/// Most bytes that the parser may hold: the heads of fields and the small ones themselves.
const MOST_HELD: u64 = 1 << 20;
/// Bytes handed on at a time.
const CHUNK: usize = 64 << 10;

/// `file`, and `project_name` before or after it; other fields are ignored.
pub(crate) struct UploadForm {
    multipart: Multipart,
    gauge: Arc<AtomicU64>,
    /// Of the whole request, when the client says.
    pub(crate) length: Option<u64>,
}

/// One field of the form.
pub(crate) struct FormField {
    field: Field,
    gauge: Arc<AtomicU64>,
}

impl UploadForm {
    pub(crate) async fn next_field(&mut self) -> Result<Option<FormField>> {
        let field = self.multipart.next_field().await.map_err(|_| malformed())?;
        // The head of the field has left the parser; how long it was does not matter any more.
        self.gauge.store(0, Ordering::Relaxed);
        Ok(field.map(|field| FormField { field, gauge: self.gauge.clone() }))
    }
}

impl FormField {
    pub(crate) fn name(&self) -> Option<&str> {
        self.field.name()
    }

    pub(crate) fn filename(&self) -> Option<&str> {
        self.field.file_name()
    }

    /// The bytes as they come.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes>> + Unpin {
        let gauge = self.gauge;
        let chunks = ReaderStream::with_capacity(self.field.into_async_read(), CHUNK);
        Box::pin(chunks.map(move |chunk| {
            let chunk = chunk.map_err(|_| malformed())?;
            let taken = chunk.len() as u64;
            let _ = gauge
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(taken)));
            Ok(chunk)
        }))
    }

    /// The whole field as text of at most `longest` characters.
    pub(crate) async fn into_text(self, longest: usize) -> Result<String> {
        let name = self.name().unwrap_or_default().to_owned();
        let too_long = || ApiError::invalid(&name, format!("must be at most {longest} characters"));
        let mut chunks = self.into_stream();
        let mut bytes = vec![];
        while let Some(chunk) = chunks.next().await {
            bytes.extend_from_slice(&chunk?);
            // No character of UTF-8 takes more than four bytes.
            if bytes.len() > longest * 4 {
                return Err(too_long());
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| ApiError::invalid(&name, "must be UTF-8"))?;
        if text.contains('\0') {
            return Err(ApiError::invalid(&name, "must not hold NUL"));
        }
        if text.chars().count() > longest { Err(too_long()) } else { Ok(text) }
    }

    /// Reads past the field; refuses more than `limit` bytes.
    pub(crate) async fn skip(self, limit: u64) -> Result<()> {
        let mut chunks = self.into_stream();
        let mut skipped = 0;
        while let Some(chunk) = chunks.next().await {
            skipped += chunk?.len() as u64;
            if skipped > limit {
                return Err(ApiError::too_large(limit));
            }
        }
        Ok(())
    }
}

impl<'a> ApiExtractor<'a> for UploadForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let file = MetaSchema {
            description: Some("Audio, video, or UTF-8 text (SRT, VTT, plain); told by its content"),
            ..MetaSchema::new_with_format("string", "binary")
        };
        let project = MetaSchema {
            description: Some("Found or made"),
            max_length: Some(crate::intake::LONGEST_NAME),
            ..MetaSchema::new("string")
        };
        let form = MetaSchema {
            required: vec!["file"],
            properties: vec![("file", inline(file)), ("project_name", inline(project))],
            ..MetaSchema::new("object")
        };
        let media = MetaMediaType { content_type: "multipart/form-data", schema: inline(form) };
        Some(MetaRequest { description: None, content: vec![media], required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let content_type = request.content_type().unwrap_or_default().trim().to_ascii_lowercase();
        if !content_type.starts_with("multipart/form-data") {
            return Err(ApiError::unsupported("The file must be sent as multipart/form-data").into());
        }
        let gauge = Arc::new(AtomicU64::new(0));
        let bytes = ReaderStream::with_capacity(body.take()?.into_async_read(), CHUNK);
        let throttled = Throttled { bytes: Box::pin(bytes), gauge: gauge.clone(), paused: false };
        let mut body = RequestBody::new(Body::from_bytes_stream(throttled));
        let multipart = <Multipart as FromRequest>::from_request(request, &mut body).await?;
        Ok(Self { multipart, gauge, length: content_length(request) })
    }
}

/// Rests after every chunk, which is when the parser stops to take, and fails when the parser holds too much.
struct Throttled {
    bytes: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    gauge: Arc<AtomicU64>,
    paused: bool,
}

impl Stream for Throttled {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.paused = !self.paused;
        if !self.paused {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.bytes.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(chunk))) => {
                let held = self.gauge.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                if held > MOST_HELD {
                    return Poll::Ready(Some(Err(std::io::Error::other(
                        "a field of the form has too long a head",
                    ))));
                }
            }
            Poll::Pending => self.paused = false,
            Poll::Ready(_) => {}
        }
        next
    }
}

fn malformed() -> ApiError {
    ApiError::invalid("body", "is not well-formed multipart/form-data, or broke off")
}

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}
