//! A client of the HTTP API, as any user would write one.

use crate::complain;
use crate::file_names::part_of;
use anyhow::{Context as _, anyhow, bail};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::header::{CONTENT_LENGTH, RETRY_AFTER};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

const POLL: Duration = Duration::from_millis(300);
const LONGEST_POLL: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);
/// No byte for this long ends a request.
const SILENCE: Duration = Duration::from_secs(120);

pub(crate) struct Client {
    http: reqwest::Client,
    /// Without a limit on the wait for an answer, which would begin with the first byte that goes up.
    uploads: reqwest::Client,
    silence: Duration,
    server: String,
    token: String,
    bars: Bars,
}

/// Whether progress is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bars {
    Shown,
    Hidden,
}

/// An answer that is no success.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Client {
    /// `token` is an access token or an API key.
    pub(crate) fn new(server: &str, token: String) -> anyhow::Result<Self> {
        Self::with_silence(server, token, SILENCE)
    }

    fn with_silence(server: &str, token: String, silence: Duration) -> anyhow::Result<Self> {
        let builder = || reqwest::Client::builder().connect_timeout(CONNECT);
        let http = builder().read_timeout(silence).build()?;
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { http, uploads: builder().build()?, silence, server, token, bars: Bars::Shown })
    }

    /// For many requests side by side.
    pub(crate) fn without_bars(self) -> Self {
        Self { bars: Bars::Hidden, ..self }
    }

    /// Registers a new user and logs in as it.
    pub(crate) async fn registered(server: &str) -> anyhow::Result<Self> {
        let mut client = Self::new(server, String::new())?;
        let email = format!("{}@voxmill.invalid", uuid::Uuid::new_v4().simple());
        let password = hex::encode(rand::random::<[u8; 16]>());
        let account = json!({ "email": email, "password": password, "fullName": "Voxmill Demo" });
        client.post("/api/v1/auth/register", &account).await?;
        let tokens =
            client.post("/api/v1/auth/login", &json!({ "email": email, "password": password })).await?;
        client.token = text(&tokens, "access_token")?.to_owned();
        Ok(client)
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(patiently(async || Ok(self.request(Method::GET, path).send().await?)).await?.json().await?)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let send = async || Ok(self.request(Method::POST, path).json(body).send().await?);
        Ok(patiently(send).await?.json().await?)
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        patiently(async || Ok(self.request(Method::DELETE, path).send().await?)).await.map(drop)
    }

    /// As [`Client::post`], and once for each key, however often it is sent.
    pub(crate) async fn post_once(&self, path: &str, body: &Value, key: &str) -> anyhow::Result<Value> {
        let send = async || {
            Ok(self.request(Method::POST, path).header("Idempotency-Key", key).json(body).send().await?)
        };
        Ok(patiently(send).await?.json().await?)
    }

    /// The files made at or after this time.
    pub(crate) async fn files_since(&self, time: DateTime<Utc>) -> anyhow::Result<Vec<Value>> {
        let (mut files, mut cursor) = (vec![], String::new());
        loop {
            let mut page = self.get(&format!("/api/v1/files?limit=1000{cursor}")).await?;
            for file in page["items"].as_array_mut().context("the server's answer has no items")? {
                let created_at: DateTime<Utc> = text(file, "created_at")?.parse()?;
                if created_at < time {
                    return Ok(files);
                }
                files.push(file.take());
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(files),
            }
        }
    }

    /// Streams a file up, with a bar, and returns the file object.
    pub(crate) async fn upload(&self, path: &Path) -> anyhow::Result<Value> {
        Ok(patiently(async || self.send_file(path).await).await?.json().await?)
    }

    async fn send_file(&self, path: &Path) -> anyhow::Result<Response> {
        let file = File::open(path).await.with_context(|| format!("could not open {}", path.display()))?;
        let length = file.metadata().await?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bar = self.bar(length, &format!("upload {name}"), "{bytes}/{total_bytes}");
        let counted = bar.clone();
        let stream = ReaderStream::with_capacity(file, 256 << 10)
            .inspect_ok(move |bytes| counted.inc(bytes.len() as u64));
        let part = Part::stream_with_length(Body::wrap_stream(stream), length).file_name(name);
        let request = self.uploads.post(self.url("/api/v1/files/upload")).bearer_auth(&self.token);
        self.sent(request.multipart(Form::new().part("file", part)), &bar).await
    }

    /// Sends these bytes of the file to a signed URL.
    pub(crate) async fn send_part(&self, path: &Path, span: Range<u64>, url: &str) -> anyhow::Result<()> {
        let send = async || {
            let could_not = || format!("could not read {}", path.display());
            let mut file = File::open(path).await.with_context(could_not)?;
            file.seek(SeekFrom::Start(span.start)).await.with_context(could_not)?;
            let length = span.end - span.start;
            let bar = self.bar(length, "upload", "{bytes}/{total_bytes}");
            let counted = bar.clone();
            let stream = ReaderStream::with_capacity(file.take(length), 256 << 10)
                .inspect_ok(move |bytes| counted.inc(bytes.len() as u64));
            // Without it the body would come in chunks, which object stores do not take.
            let request =
                self.uploads.put(url).header(CONTENT_LENGTH, length).body(Body::wrap_stream(stream));
            self.sent(request, &bar).await
        };
        patiently(send).await.map(drop)
    }

    /// The answer to a body that the bar shows on its way, unless nothing moves.
    async fn sent(&self, request: RequestBuilder, bar: &ProgressBar) -> anyhow::Result<Response> {
        let answer = tokio::select! {
            answer = request.send() => answer?,
            () = standstill(bar, self.silence) => {
                bail!("the server took no byte and gave no answer for {} seconds", self.silence.as_secs())
            }
        };
        bar.finish();
        Ok(answer)
    }

    /// Starts a job and returns its status object when it has ended, showing a bar until then.
    ///
    /// # Errors
    /// Also when the job failed or was cancelled.
    pub(crate) async fn run_job(&self, kind: &str, body: &Value) -> anyhow::Result<Value> {
        let job = self.post(&format!("/api/v1/process/{kind}"), body).await?;
        self.wait(kind, text(&job, "job_id")?).await
    }

    /// As [`Client::run_job`], for a job that was started. Where there is no terminal for a bar, each stage is a line.
    pub(crate) async fn wait(&self, kind: &str, job_id: &str) -> anyhow::Result<Value> {
        let bar = self.bar(1000, kind, "{percent}% {msg}");
        loop {
            let status = self.get(&format!("/api/v1/process/status/{job_id}")).await?;
            let stage = status["stage"].as_str().unwrap_or("queued");
            if bar.is_hidden() && bar.message() != stage {
                complain(&format!("{kind}: {stage}"));
            }
            bar.set_position((status["progress"].as_f64().unwrap_or(0.0) * 10.0) as u64);
            bar.set_message(stage.to_owned());
            match status["status"].as_str() {
                Some("completed") => {
                    bar.finish_with_message("completed");
                    return Ok(status);
                }
                Some("queued" | "processing") => tokio::time::sleep(POLL).await,
                _ => {
                    bar.abandon();
                    return Err(no_completion(kind, &status));
                }
            }
        }
    }

    /// As [`Client::wait`], with fewer requests the longer it takes, and nothing shown.
    pub(crate) async fn completed(&self, kind: &str, job_id: &str) -> anyhow::Result<Value> {
        let mut pause = POLL;
        loop {
            let status = self.get(&format!("/api/v1/process/status/{job_id}")).await?;
            match status["status"].as_str() {
                Some("completed") => return Ok(status),
                Some("queued" | "processing") => tokio::time::sleep(pause).await,
                _ => return Err(no_completion(kind, &status)),
            }
            pause = std::cmp::min(pause.mul_f32(1.5), LONGEST_POLL);
        }
    }

    /// Writes what a URL of an answer gives into a file, in place of what was in it, once all of it is there.
    pub(crate) async fn download(&self, url: &str, path: &Path) -> anyhow::Result<()> {
        let url = if url.starts_with('/') { self.url(url) } else { url.to_owned() };
        let send = async || Ok(self.http.get(&url).bearer_auth(&self.token).send().await?);
        let mut response = patiently(send).await?;
        let part = part_of(path);
        let could_not = || format!("could not write {}", path.display());
        let mut file = File::create(&part).await.with_context(could_not)?;
        while let Some(bytes) = response.chunk().await? {
            file.write_all(&bytes).await.with_context(could_not)?;
        }
        file.flush().await.with_context(could_not)?;
        tokio::fs::rename(&part, path).await.with_context(could_not)
    }

    /// Writes the files of a completed job into a directory, each where `place` says for its id and name; their paths.
    pub(crate) async fn fetch_results(
        &self,
        status: &Value,
        directory: &Path,
        place: impl Fn(&str, &OsStr) -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Vec<PathBuf>> {
        tokio::fs::create_dir_all(directory).await?;
        let mut paths = vec![];
        for file in status["result"]["files"].as_array().into_iter().flatten() {
            // The name is the server's word: only its last part may name a file here.
            let name = Path::new(text(file, "filename")?).file_name().context("a result has no name")?;
            let path = place(text(file, "file_id")?, name)?;
            let downloaded = self.download(text(file, "download_url")?, &path).await;
            if downloaded.is_err() {
                // What is there is an empty file that kept the place, if anything.
                let _ = std::fs::remove_file(&path);
                let _ = std::fs::remove_file(part_of(&path));
            }
            downloaded?;
            paths.push(path);
        }
        Ok(paths)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn bar(&self, length: u64, what: &str, numbers: &str) -> ProgressBar {
        let template = format!("{{prefix:<22}} {{bar:30}} {numbers}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = match self.bars {
            Bars::Shown => ProgressBar::new(length),
            Bars::Hidden => ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden()),
        };
        bar.with_style(style).with_prefix(what.to_owned())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.status, self.text)
    }
}

impl std::error::Error for Refusal {}

/// Whether no other request would fare better: the server is not reached, fails, or does not know us.
pub(crate) fn is_outage(error: &anyhow::Error) -> bool {
    let lost = error.chain().any(|cause| cause.is::<reqwest::Error>());
    let refusal = error.chain().find_map(|cause| cause.downcast_ref::<Refusal>());
    lost || refusal.is_some_and(|Refusal { status, .. }| {
        status.is_server_error() || [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(status)
    })
}

/// Whether the server says that there is no such thing.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Refusal>())
        .is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

/// A field that every such answer has.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer[field].as_str().with_context(|| format!("the server's answer has no {field}"))
}

/// The first file of a completed job's result.
pub(crate) fn first_file(status: &Value) -> &Value {
    &status["result"]["files"][0]
}

/// The answer to a request that is admitted: where the server says that there were too many, this waits as long as it
/// says, and asks again.
async fn patiently(send: impl AsyncFn() -> anyhow::Result<Response>) -> anyhow::Result<Response> {
    loop {
        let response = send().await?;
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match wait {
            Some(seconds) if response.status() == StatusCode::TOO_MANY_REQUESTS => {
                complain(&format!("the server's rate limit is reached; going on in {seconds} s"));
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            Some(_) | None => return checked(response).await,
        }
    }
}

async fn checked(response: Response) -> anyhow::Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body: Value = response.json().await.unwrap_or_default();
    let message = body["message"].as_str().or(body["detail"].as_str()).unwrap_or("no reason given");
    let text = match body["details"]["field"].as_str() {
        Some(field) => format!("{message} ({field}: {})", body["details"]["issue"].as_str().unwrap_or("")),
        None => message.to_owned(),
    };
    Err(Refusal { status, text }.into())
}

/// Why a job that has ended has no result.
fn no_completion(kind: &str, status: &Value) -> anyhow::Error {
    let (job_id, ended) = (status["job_id"].as_str().unwrap_or_default(), status["status"].as_str());
    let error = status["error"]["message"].as_str().unwrap_or_default();
    anyhow!("the {kind} job {job_id} is {}. {error}", ended.unwrap_or("of no known status"))
}

/// Returns when the bar has not moved for so long.
async fn standstill(bar: &ProgressBar, silence: Duration) {
    let mut before = None;
    while before != Some(bar.position()) {
        before = Some(bar.position());
        tokio::time::sleep(silence).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Client;
    use serde_json::Value;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const SILENCE: Duration = Duration::from_millis(300);
    /// Far more than the buffers of a connection take.
    const SIZE: u64 = 64 << 20;

    /// Uploads a large file to a server that does this with its one connection.
    async fn upload(serve: impl AsyncFnOnce(&mut TcpStream)) -> anyhow::Result<Value> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::with_silence(&url, String::new(), SILENCE).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SIZE).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            serve(&mut stream).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = client.upload(file.path()) => outcome,
            () = server => unreachable!(),
        }
    }

    #[tokio::test]
    async fn an_upload_may_take_longer_than_a_silence() {
        let slow = async |stream: &mut TcpStream| {
            let mut tick = tokio::time::interval(SILENCE / 6);
            for _ in 0..12 {
                tick.tick().await;
                tokio::io::copy(&mut (&mut *stream).take(SIZE / 12), &mut tokio::io::sink()).await.unwrap();
            }
            stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        };
        upload(slow).await.unwrap();
    }

    #[tokio::test]
    async fn an_upload_to_a_silent_server_ends() {
        let error = upload(async |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("took no byte"), "{error:#}");
    }

    #[tokio::test]
    async fn a_refused_request_is_sent_again_when_the_server_says() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::new(&url, String::new()).unwrap();
        let server = async {
            for answer in ["429 Too Many Requests\r\nRetry-After: 0", "200 OK"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer =
                    format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
                let mut head = [0; 1024];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(client.get("/"), server);
        assert_eq!(answer.unwrap(), serde_json::json!({}));
    }
}
