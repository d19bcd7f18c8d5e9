//! Connections: so many and no more, and none that stays open for nothing. poem asks an idle connection to end once its
//! request is answered; one that sent half a request, or none, would stay for ever.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Accepts no more connections than there are permits; those beyond wait to be accepted.
pub(crate) struct Guarded {
    pub(crate) listener: TcpAcceptor,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) requests: Requests,
    /// How long a connection may stay without a request and without a byte of an answer.
    pub(crate) patience: Duration,
}

impl Acceptor for Guarded {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Connection, LocalAddr, RemoteAddr, Scheme)> {
        let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, local, remote, scheme) = self.listener.accept().await?;
        let connection = Connection {
            peer: stream.peer_addr()?,
            stream,
            requests: self.requests.clone(),
            patience: self.patience,
            written: Instant::now(),
            timer: Box::pin(tokio::time::sleep(self.patience)),
            _permit: permit,
        };
        Ok((connection, local, remote, scheme))
    }
}

/// The requests that handlers are at work on, by the address of their connection.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<HashMap<SocketAddr, usize>>>);

impl Requests {
    /// Counts the request until what this gives is dropped.
    fn begin(&self, request: &Request) -> Option<UnderWay> {
        let peer = *request.remote_addr().as_socket_addr()?;
        *self.lock().entry(peer).or_default() += 1;
        Some(UnderWay { requests: self.clone(), peer })
    }

    fn has(&self, peer: SocketAddr) -> bool {
        self.lock().contains_key(&peer)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the connections which of them has a request under way.
pub(crate) struct Counted<E> {
    pub(crate) inner: E,
    pub(crate) requests: Requests,
}

impl<E: Endpoint> Endpoint for Counted<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> poem::Result<E::Output> {
        let _under_way = self.requests.begin(&request);
        self.inner.call(request).await
    }
}

struct UnderWay {
    requests: Requests,
    peer: SocketAddr,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut counts = self.requests.lock();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// A connection that fails when nothing was asked of it, and no byte of an answer taken, for too long.
pub(crate) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    requests: Requests,
    patience: Duration,
    /// When the last byte of an answer went, or the connection began. What comes in does not count: a head that comes
    /// byte by byte is no request.
    written: Instant,
    timer: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn poll_end_of_patience<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let since = if self.requests.has(self.peer) { now } else { self.written };
            if since + self.patience <= now {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(since + self.patience);
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => self.poll_end_of_patience(context),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.written = Instant::now();
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_end_of_patience(context),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
