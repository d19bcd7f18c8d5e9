//! A server of tests, which gives the answers that it was told to give, one a connection.

use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Script {
    pub(crate) url: String,
    requests: JoinHandle<Vec<String>>,
}

impl Script {
    /// An empty answer is a connection that is closed without one.
    pub(crate) async fn start(answers: impl FnOnce(&str) -> Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers(&url);
        let requests = tokio::spawn(async move {
            let mut requests = vec![];
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.push(request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        Self { url, requests }
    }

    /// The method and path of each request, once all answers are given.
    pub(crate) async fn asked(self) -> Vec<String> {
        let line = |head: String| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        self.heads().await.into_iter().map(line).collect()
    }

    /// What came before the body of each request, once all answers are given.
    pub(crate) async fn heads(self) -> Vec<String> {
        timeout(SOON, self.requests).await.unwrap().unwrap()
    }
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "a request broke off");
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return head.to_owned();
        }
    }
}
