//! Bytes of files, up and down. The URLs that parts go to and results come from let in whoever has them, so no error
//! names one.

use super::patience::{Repeats, Standstill, checked, patiently};
use super::{Client, text};
use crate::file_names::part_of;
use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use indicatif::ProgressBar;
use reqwest::header::CONTENT_LENGTH;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

/// Bytes of a file that are read at once.
const BUFFER: usize = 256 << 10;

impl Client {
    /// Streams a file up, with a bar, and returns the file object.
    pub(crate) async fn upload(&self, path: &Path) -> anyhow::Result<Value> {
        patiently(self.patience(Repeats::Another), async || self.send_file(path).await).await
    }

    async fn send_file(&self, path: &Path) -> anyhow::Result<Value> {
        let file = File::open(path).await.with_context(|| format!("could not open {}", path.display()))?;
        let length = file.metadata().await?.len();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bar = self.bar(length, &format!("upload {name}"), "{bytes}/{total_bytes}");
        let part = Part::stream_with_length(counted(file, &bar), length).file_name(name);
        let request = self.uploads.post(self.url("/api/v1/files/upload")).bearer_auth(&self.token);
        let what = format!("could not send {}", path.display());
        let request = request.multipart(Form::new().part("file", part));
        let answer = self.sent(request, &bar).await.context(what.clone())?;
        answer.json().await.map_err(reqwest::Error::without_url).context(what)
    }

    /// Sends these bytes of the file to a signed URL.
    pub(crate) async fn send_part(&self, path: &Path, span: Range<u64>, url: &str) -> anyhow::Result<()> {
        let send = async || {
            let could_not = || format!("could not read {}", path.display());
            let mut file = File::open(path).await.with_context(could_not)?;
            file.seek(SeekFrom::Start(span.start)).await.with_context(could_not)?;
            let length = span.end - span.start;
            let bar = self.bar(length, "upload", "{bytes}/{total_bytes}");
            // Without it the body would come in chunks, which object stores do not take.
            let request = self.uploads.put(url).header(CONTENT_LENGTH, length);
            self.sent(request.body(counted(file.take(length), &bar)), &bar).await.map(drop)
        };
        let sent = patiently(self.patience(Repeats::Harmless), send).await;
        sent.with_context(|| format!("could not send bytes {} to {} of it", span.start, span.end))
    }

    /// The answer to a body that the bar shows on its way, unless nothing moves.
    async fn sent(&self, request: RequestBuilder, bar: &ProgressBar) -> anyhow::Result<reqwest::Response> {
        let answer = tokio::select! {
            answer = request.send() => checked(answer.map_err(reqwest::Error::without_url)?).await?,
            () = standstill(bar, self.silence) => return Err(Standstill { silence: self.silence }.into()),
        };
        bar.finish();
        Ok(answer)
    }

    /// Writes what a URL of an answer gives into a file, in place of what was in it, once all of it is there. Where it
    /// does not come, what was there stays.
    pub(crate) async fn download(&self, url: &str, path: &Path) -> anyhow::Result<()> {
        let url = if url.starts_with('/') { self.url(url) } else { url.to_owned() };
        let part = part_of(path);
        let fetched =
            patiently(self.patience(Repeats::Harmless), async || self.fetch(&url, &part).await).await;
        let placed = match fetched {
            Ok(()) => tokio::fs::rename(&part, path).await.context("could not give it its name"),
            Err(error) => Err(error),
        };
        if placed.is_err() {
            let _ = tokio::fs::remove_file(&part).await;
        }
        placed.with_context(|| format!("could not fetch {}", path.display()))
    }

    async fn fetch(&self, url: &str, part: &Path) -> anyhow::Result<()> {
        // A signed URL needs no token, and may lead to a store that is none of the server's.
        let request = self.http.get(url);
        let ours = url.strip_prefix(&self.server).is_some_and(|path| path.starts_with('/'));
        let answer = if ours { self.authorized(request) } else { request }.send().await;
        let mut answer = checked(answer.map_err(reqwest::Error::without_url)?).await?;
        let could_not = || format!("could not write {}", part.display());
        let mut file = File::create(part).await.with_context(could_not)?;
        while let Some(bytes) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            file.write_all(&bytes).await.with_context(could_not)?;
        }
        // It tells of a write that failed.
        file.flush().await.with_context(could_not)?;
        // What is noted as fetched is on the disk.
        file.sync_all().await.with_context(could_not)
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
            if downloaded.is_err() && std::fs::metadata(&path).is_ok_and(|about| about.len() == 0) {
                // It kept the place, and no more. A whole one is an earlier run's.
                let _ = std::fs::remove_file(&path);
            }
            downloaded?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// A body that moves the bar as it goes.
fn counted(bytes: impl AsyncRead + Send + 'static, bar: &ProgressBar) -> Body {
    let bar = bar.clone();
    let stream = ReaderStream::with_capacity(bytes, BUFFER);
    Body::wrap_stream(stream.inspect_ok(move |bytes| bar.inc(bytes.len() as u64)))
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
    use crate::client::Client;
    use crate::client::script::{Script, answer};
    use serde_json::{Value, json};
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
        assert!(format!("{error:#}").contains("took no byte"), "{error:#}");
    }

    #[tokio::test]
    async fn no_error_names_a_url_that_lets_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        std::fs::write(&path, "a").unwrap();
        let script = Script::start(|_| vec![String::new(), String::new()]).await;
        let client = Client::new(&script.url, String::new()).unwrap().with_patience(Duration::ZERO);
        let url = format!("{}/content?expires=1&signature=abc", script.url);
        let up = client.send_part(&path, 0..1, &url).await.unwrap_err();
        let down = client.download(&url, &folder.path().join("b.wav")).await.unwrap_err();
        script.asked().await;
        let gone = client.download(&url, &folder.path().join("b.wav")).await.unwrap_err();
        for error in [up, down, gone] {
            assert!(!format!("{error:#} {error:?}").contains("signature"), "{error:#}");
        }
    }

    #[tokio::test]
    async fn the_token_is_for_the_server_alone() {
        let folder = tempfile::tempdir().unwrap();
        let once = || Script::start(|_| vec![answer("200 OK", "a")]);
        let (server, store) = (once().await, once().await);
        let client = Client::new(&server.url, "a-token".to_owned()).unwrap();
        for url in ["/content", &format!("{}/object?signature=abc", store.url)] {
            client.download(url, &folder.path().join("a.wav")).await.unwrap();
        }
        assert!(server.heads().await[0].contains("Bearer a-token"));
        assert!(!store.heads().await[0].contains("a-token"));
    }

    #[tokio::test]
    async fn a_download_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let script = Script::start(|_| {
            vec![answer("404 Not Found", "{}"), answer("404 Not Found", "{}"), answer("200 OK", "new")]
        });
        let script = script.await;
        let client = Client::new(&script.url, String::new()).unwrap();
        std::fs::write(folder.path().join("whole.txt"), "old").unwrap();
        std::fs::write(folder.path().join("kept.txt"), "").unwrap();
        let fetch = async |name: &str| {
            let file = json!({ "file_id": "1", "filename": name, "download_url": "/content" });
            let status = json!({ "result": { "files": [file] } });
            let place = |_: &str, name: &std::ffi::OsStr| Ok(folder.path().join(name));
            client.fetch_results(&status, folder.path(), place).await
        };
        fetch("whole.txt").await.unwrap_err();
        assert_eq!(std::fs::read_to_string(folder.path().join("whole.txt")).unwrap(), "old");
        fetch("kept.txt").await.unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part, and no empty file");
        fetch("whole.txt").await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("whole.txt")).unwrap(), "new");
    }
}
