//! What happens to every request, whatever it asks: it gets an id and a log line, its failure becomes an answer in the
//! dialect of its path, and the answer gets the headers that protect its reader.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use pipeline::trace;
use poem::http::{HeaderName, HeaderValue, Method, header};
use poem::{Body, Endpoint, Request, Response};
use poem_openapi::OperationId;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::app::App;
use crate::error::ApiError;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Says which span of the client's the request belongs to.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest id that a client may choose for its request.
const LONGEST_ID: usize = 128;

/// How much of a body that nobody wants is taken before the answer, and how long it is taken before and after it.
const MOST_UNWANTED: usize = 16 << 20;
const LONGEST_UNWANTED: Duration = Duration::from_secs(10);

/// The id of one request, its own or ours.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    pub(crate) fn of(request: &Request) -> Option<String> {
        request.data::<Self>().map(|id| id.0.clone())
    }

    fn accept_or_make(request: &Request) -> Self {
        let sane = |id: &&str| {
            (1..=LONGEST_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:~+/=@".contains(&byte))
        };
        let chosen = request.header(REQUEST_ID).filter(sane).map(str::to_owned);
        Self(chosen.unwrap_or_else(|| Uuid::new_v4().to_string()))
    }
}

/// The outermost layer: names the request, in its span and in its answer, and logs how it went.
pub(crate) async fn trace<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    let id = RequestId::accept_or_make(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!(
        "request",
        request.id = %id.0,
        http.method = %method,
        http.path = %path,
        http.operation = Empty,
        http.status = Empty,
        trace_id = Empty,
        otel.status_code = Empty,
    );
    let came_from = request.header(TRACE_PARENT).and_then(|text| text.parse().ok());
    if let Some(here) = trace::join(&span, came_from) {
        request.set_data(here);
    }
    request.set_data(id.clone());
    async move {
        let start = Instant::now();
        let mut response = inner.get_response(request).await;
        let elapsed = start.elapsed();
        let status = response.status().as_u16();
        let operation = response.data::<OperationId>().map_or("none", |operation| operation.0);
        metrics::counter!("voxmill_http_requests_total", "operation" => operation, "status" => status.to_string())
            .increment(1);
        metrics::histogram!("voxmill_http_request_seconds", "operation" => operation).record(elapsed.as_secs_f64());
        let duration_ms = elapsed.as_millis() as u64;
        tracing::info!(http.status = status, duration_ms, "{method} {path} was answered with {status}");
        let span = Span::current();
        span.record("http.operation", operation).record("http.status", status);
        if response.status().is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        let value = HeaderValue::from_str(&id.0).expect("the id was checked. This is a bug.");
        response.headers_mut().insert(REQUEST_ID, value);
        Ok(response)
    }
    .instrument(span)
    .await
}

/// Turns every failure, a panic too, into the answer that the contract has for it.
pub(crate) async fn answer<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let path = request.uri().path().to_owned();
    match AssertUnwindSafe(inner.call(request)).catch_unwind().await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => {
            let operation = error.data::<OperationId>().copied();
            let mut response = match error.is_from_response() {
                true => error.into_response(),
                false => ApiError::from(error).render(&path),
            };
            if let Some(operation) = operation {
                response.set_data(operation);
            }
            Ok(response)
        }
        // The panic hook has logged where.
        Err(_) => Ok(ApiError::unexpected().render(&path)),
    }
}

/// The body of a request as it comes.
type Chunks = Arc<Mutex<BoxStream<'static, io::Result<Bytes>>>>;

/// Ends a body that stops to come, so that nobody holds a request open, with or without credentials. What the handler left
/// of it is taken and thrown away, within bounds: a client that is cut off while it sends does not read why. One that reads
/// while it sends gets the answer on the way, unless it has asked for the connection to close after it.
pub(crate) async fn hurry<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    let patience = App::of(&request)?.services.config.patience;
    // Such a client sends nothing before it is asked to, which whoever reads the body does.
    let waits_to_be_asked = request.headers().contains_key(header::EXPECT);
    let chunks = Box::pin(request.take_body().into_bytes_stream());
    let chunks = stream::try_unfold(chunks, move |mut chunks| async move {
        match timeout(patience, chunks.try_next()).await {
            Ok(chunk) => Ok(chunk?.map(|chunk| (chunk, chunks))),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        }
    });
    let chunks: Chunks = Arc::new(Mutex::new(chunks.fuse().boxed()));
    let body = chunks.clone();
    request.set_body(Body::from_bytes_stream(stream::poll_fn(move |context| next(&body, context))));
    let answer = inner.call(request).await;
    if !waits_to_be_asked {
        let _ = timeout(LONGEST_UNWANTED, throw_away(&chunks, MOST_UNWANTED)).await;
        tokio::spawn(async move { timeout(LONGEST_UNWANTED, throw_away(&chunks, usize::MAX)).await });
    }
    answer
}

async fn throw_away(chunks: &Chunks, most: usize) {
    let mut thrown = 0;
    while thrown < most
        && let Some(Ok(chunk)) = poll_fn(|context| next(chunks, context)).await
    {
        thrown += chunk.len();
    }
}

fn next(chunks: &Chunks, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context)
}

/// Marks a GET whose answer goes without its body, for handlers that would fetch one in vain, or have the client fetch it
/// with another method than it said.
#[derive(Clone, Copy)]
pub(crate) struct HeadOnly;

/// Answers HEAD as GET, without the body, and every method that nobody here knows as TRACE, which no route has: refused,
/// with the methods that there are.
pub(crate) async fn odd_methods<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    mut request: Request,
) -> poem::Result<Response> {
    const KNOWN: [Method; 6] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if KNOWN.contains(request.method()) {
        return inner.call(request).await;
    }
    if request.method() != Method::HEAD {
        request.set_method(Method::TRACE);
        return inner.call(request).await;
    }
    request.set_method(Method::GET);
    request.set_data(HeadOnly);
    let mut response = inner.call(request).await?;
    response.set_body(());
    Ok(response)
}

/// Headers that keep browsers from guessing, framing and caching, unless the handler has set its own.
pub(crate) async fn protect<E: Endpoint<Output = Response>>(
    inner: Arc<E>,
    request: Request,
) -> poem::Result<Response> {
    let mut response = inner.get_response(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(response)
}
