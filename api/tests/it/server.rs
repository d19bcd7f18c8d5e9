//! The server on a socket of its own: what a test without one cannot see.

use std::net::SocketAddr;
use std::time::Duration;

use api::Services;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::client::{INTERNAL_KEY, MAX_UPLOAD, services};

const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    address: SocketAddr,
    services: Services,
    running: JoinHandle<std::io::Result<()>>,
    _directory: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start(change: impl FnOnce(&mut Services)) -> Self {
        let (mut services, directory) = services(1 << 30).await;
        change(&mut services);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(api::serve(listener, services.clone()));
        Self { address, services, running, _directory: directory }
    }

    /// Sends the bytes of a request that asks for the connection to be closed; the head and the body of the answer.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> (String, String) {
        let answer = self.answer(request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    /// Sends these bytes; what comes back until the server closes the connection.
    async fn answer(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn post(&self, path: &str, token: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        serde_json::from_str(&self.exchange(request).await.1).unwrap()
    }

    pub(crate) async fn user(&self) -> String {
        let body = json!({"fullName": "Ann", "email": "ann@example.com", "password": "password123"});
        self.post("/api/v1/auth/register", "", &body).await;
        let pair = self.post("/api/v1/auth/login", "", &body).await;
        pair["access_token"].as_str().unwrap().to_owned()
    }
}

/// A form with a file of `size` bytes, sent in chunks by a client that does not say how long it will be.
pub(crate) async fn upload(server: &Server, token: &str, size: usize) -> (String, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/files/upload HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: multipart/form-data; boundary=XX\r\nTransfer-Encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let send = async {
        let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let start =
            b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\0";
        // A refusal closes the connection before everything is sent.
        write.write_all(&chunk(start)).await?;
        for _ in 0..size / 65_536 {
            write.write_all(&chunk(&[7; 65_536])).await?;
        }
        write.write_all(&chunk(b"\r\n--XX--\r\n")).await?;
        write.write_all(b"0\r\n\r\n").await
    };
    let mut answer = vec![];
    let (_, read) = tokio::join!(send, read.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) => (head.to_owned(), body.to_owned()),
        None => panic!("no answer: {read:?}"),
    }
}

/// The most memory that this process has held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn memory_does_not_grow_with_an_upload() {
    let server = Server::start(|services| services.config.max_upload_bytes = 1 << 40).await;
    let token = server.user().await;
    let before = peak_memory();
    let (head, _) = upload(&server, &token, 192 << 20).await;
    assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    assert!(peak_memory() - before < 64 << 20, "{} bytes more", peak_memory() - before);
}

#[tokio::test]
async fn an_upload_stops_where_it_gets_too_large() {
    let server = Server::start(|services| services.config.max_upload_bytes = MAX_UPLOAD).await;
    let token = server.user().await;
    let (head, body) = upload(&server, &token, 256 << 20).await;
    assert!(head.starts_with("HTTP/1.1 413") && body.contains("payload_too_large"), "{head}");
}

#[tokio::test]
async fn who_sends_too_much_is_heard_out_and_told() {
    let server = Server::start(|_| {}).await;
    let head =
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000000\r\n";
    for (kind, status) in [("application/json", "413"), ("text/plain", "415")] {
        let head = format!("{head}Content-Type: {kind}\r\n\r\n");
        let (head, _) = server.exchange(head + &"x".repeat(10_000_000)).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
}

#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_refused_at_once() {
    let server = Server::start(|_| {}).await;
    let head =
        "POST /api/v1/files/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000000\r\n";
    let (head, _) = server.exchange(format!("{head}Expect: 100-continue\r\n\r\n")).await;
    assert!(head.starts_with("http/1.1 401"), "{head}");
}

#[tokio::test]
async fn urls_follow_the_host_where_none_is_configured() {
    let server = Server::start(|services| services.config.public_url = None).await;
    let token = server.user().await;
    let (_, body) = upload(&server, &token, 0).await;
    let file: Value = serde_json::from_str(&body).unwrap();
    let url = file["download_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{}/api/v1/files/", server.address)), "{url}");
}

#[tokio::test]
async fn metrics_are_for_this_machine_or_for_a_token() {
    let get = |more: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    let server = Server::start(|_| {}).await;
    let (head, body) = server.exchange(get("")).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("content-type: text/plain"), "{head}");
    assert!(body.starts_with("voxmill_up 1\n"), "{body}");
    let (head, _) = server.exchange(get("X-Forwarded-For: 203.0.113.9\r\n")).await;
    assert!(head.starts_with("http/1.1 403"), "{head}");

    let token = Some("a token of the one who watches".to_owned());
    let server = Server::start(|services| services.config.metrics_token = token).await;
    for (sent, status) in [
        ("", "401"),
        ("Authorization: Bearer another\r\n", "401"),
        ("X-Forwarded-For: 203.0.113.9\r\nAuthorization: Bearer a token of the one who watches\r\n", "200"),
    ] {
        let (head, _) = server.exchange(get(sent)).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    }
}

#[tokio::test]
async fn internal_routes_are_for_this_machine_or_for_a_key() {
    let server = Server::start(|_| {}).await;
    let ask = async |more: &str| {
        let head = "POST /api/internal/validate-session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        server.exchange(format!("{head}Content-Length: 0\r\n{more}\r\n")).await
    };
    let key = format!("X-Forwarded-For: 203.0.113.9\r\nX-Internal-Key: {INTERNAL_KEY}\r\n");
    for (sent, status, answer) in [
        ("", "401", r#"{"valid":false}"#),
        ("X-Forwarded-For: 203.0.113.9\r\n", "404", r#"{"detail":"Not found."}"#),
        (&key, "401", r#"{"valid":false}"#),
    ] {
        let (head, body) = ask(sent).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert_eq!(body, answer);
    }
}

#[tokio::test]
async fn a_server_that_knows_no_url_of_its_own_goes_by_the_host() {
    let server = Server::start(|services| services.config.public_url = None).await;
    let account = json!({"email": "ann@example.com", "password": "password123", "display_name": "Ann"});
    let send = async |line: &str, more: &str, body: &Value| {
        let body = body.to_string();
        let head = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}", server.address);
        let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        server.exchange(head + &rest).await.0
    };
    let head = send("POST /api/auth/register", "", &account).await;
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let (session, attributes) = cookie.split_once(';').unwrap();
    assert_eq!(attributes, " path=/; max-age=1209600; httponly; samesite=lax");
    for (origin, status) in [
        (format!("http://{}", server.address), "200"),
        (format!("https://{}", server.address), "200"),
        ("http://evil.example".to_owned(), "403"),
    ] {
        let more = format!("Cookie: {session}\r\nOrigin: {origin}\r\n");
        let head = send("PATCH /api/users/profile", &more, &json!({})).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{origin}: {head}");
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_server_goes_on() {
    let server = Server::start(|services| services.metrics = std::sync::Arc::new(|| panic!("secret"))).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, body) = server.exchange(get("/metrics")).await;
    assert!(head.starts_with("http/1.1 500") && head.contains("x-request-id"), "{head}");
    assert!(body.contains("An unexpected error occurred") && !body.contains("secret"), "{body}");
    assert!(server.exchange(get("/health")).await.0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn stopping_ends_event_streams_and_then_the_server() {
    let server = Server::start(|_| {}).await;
    let token = server.user().await;
    let (_, body) = upload(&server, &token, 0).await;
    let file: Value = serde_json::from_str(&body).unwrap();
    let job = json!({"video_file_id": file["id"]});
    let job = server.post("/api/v1/process/extract-audio", &token, &job).await;
    let path = format!("/api/v1/process/jobs/{}/events", job["job_id"].as_str().unwrap());
    let mut stream = BufReader::new(TcpStream::connect(server.address).await.unwrap());
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).await.unwrap(), 0);
    }
    server.services.shutdown.cancel();
    let mut rest = vec![];
    tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await.expect("the stream ends").unwrap();
    tokio::time::timeout(SOON, server.running).await.expect("the server ends").unwrap().unwrap();
}

const PATIENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn who_sends_nothing_more_is_not_waited_for() {
    let server = Server::start(|services| services.config.patience = PATIENCE).await;
    let answer = async |sent: &str| tokio::time::timeout(SOON, server.answer(sent)).await.expect("an end");
    assert_eq!(answer("").await, "");
    assert_eq!(answer("GET /health HTTP/1.1\r\nHost: x\r\n").await, "");
    let head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let refused = answer(&format!("{head}Content-Length: 100\r\n\r\n{{")).await;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    let kept = answer("GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "{kept}");
}

#[tokio::test]
async fn who_sends_slowly_is_waited_for() {
    let server = Server::start(|services| services.config.patience = PATIENCE).await;
    let body = json!({"fullName": "Ann", "email": "ann@example.com", "password": "password123"}).to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /api/v1/auth/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut tick = tokio::time::interval(PATIENCE / 6);
    for part in body.as_bytes().chunks(body.len().div_ceil(12)) {
        tick.tick().await;
        stream.write_all(part).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Server::start(|services| {
        services.config.max_connections = 1;
        services.config.patience = PATIENCE;
    })
    .await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let health = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answered = tokio::time::timeout(SOON, server.exchange(health)).await.expect("a turn");
    assert!(answered.0.starts_with("http/1.1 200"));
}
