//! A receiver of webhooks: a server on this machine that answers as it is told.

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Lets the server that is tested call this machine.
pub const ALLOWED: (&str, &str) = ("VOXMILL_WEBHOOK_ALLOW", "127.0.0.1");

/// Ends when it is dropped.
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// A webhook as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub came_at: DateTime<Utc>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// Each for one request; after the last, all is well.
    answers: VecDeque<Option<&'static str>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let of_task = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, of_task.clone()));
            }
        });
        Self { url, state, task }
    }

    /// The next request is answered by this: a status line, and headers if need be.
    pub fn answer(&self, head: &'static str) {
        lock(&self.state).answers.push_back(Some(head));
    }

    /// The next request gets no answer at all.
    pub fn stay_silent(&self) {
        lock(&self.state).answers.push_back(None);
    }

    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Received {
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().unwrap()
    }

    /// By how many seconds it seems to be early or late: receivers refuse what is off by some minutes.
    pub fn seconds_off(&self) -> u64 {
        let signed_at: i64 = self.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        (self.came_at.timestamp() - signed_at).unsigned_abs()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut headers = HeaderMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    // Whoever dies while it sends them leaves some out.
    let Some(length) = headers.get("content-length") else { return Ok(()) };
    let length = length.to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let answer = {
        let mut state = lock(&state);
        state.received.push(Received { came_at: Utc::now(), headers, body });
        state.answers.pop_front().unwrap_or(Some("HTTP/1.1 204 No Content"))
    };
    match answer {
        Some(head) => {
            stream
                .write_all(format!("{head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
                .await
        }
        // Until the other side has enough.
        None => stream.read(&mut [0]).await.map(|_| ()),
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
