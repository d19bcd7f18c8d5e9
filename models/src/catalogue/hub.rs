//! Files from the model hub, over HTTP, resumed where an earlier attempt stopped.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use reqwest::header::{CONTENT_LENGTH, RANGE};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{FileSpec, Progress, Sources, Step, aside};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repository {
    hub: String,
    revision: String,
    pub(super) files: Vec<HubFile>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct HubFile {
    /// In the repository.
    path: String,
    #[serde(flatten)]
    pub(super) spec: FileSpec,
}

/// A connection that breaks is taken up again this often.
const ATTEMPTS: usize = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a byte for so long a connection is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn fetch(
    repository: &Repository,
    sources: &Sources,
    directory: &Path,
    on_progress: &mut (impl FnMut(Progress) + Send),
) -> anyhow::Result<()> {
    let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT).build()?;
    let total = repository.files.iter().map(|file| file.spec.size).sum();
    let mut before = 0;
    for file in &repository.files {
        let address = format!(
            "{}/{}/resolve/{}/{}",
            sources.hub_endpoint, repository.hub, repository.revision, file.path
        );
        let partial = directory.join(format!("{}.partial", file.spec.name));
        let download =
            Download { client: &client, address, token: sources.hub_token.as_deref(), partial: &partial };
        download
            .run(file.spec.size, &mut |done| {
                on_progress(Progress { step: Step::Download, bytes_done: before + done, bytes_total: total });
            })
            .await?;
        let (spec, partial, directory) = (file.spec.clone(), partial.clone(), directory.to_owned());
        aside(move || Ok::<_, std::io::Error>(spec.land(&partial, &directory))).await??;
        before += file.spec.size;
    }
    Ok(())
}

struct Download<'a> {
    client: &'a Client,
    address: String,
    token: Option<&'a str>,
    partial: &'a Path,
}

impl Download<'_> {
    async fn run(&self, size: u64, on_bytes: &mut (impl FnMut(u64) + Send)) -> anyhow::Result<()> {
        for attempt in 1.. {
            match self.attempt(size, on_bytes).await {
                Ok(()) => break,
                // An answer that says no will say no again.
                Err(error) if ATTEMPTS <= attempt || !is_broken_connection(&error) => return Err(error),
                Err(error) => tracing::info!(address = self.address, "resuming a download: {error:#}"),
            }
        }
        Ok(())
    }

    async fn attempt(&self, size: u64, on_bytes: &mut (impl FnMut(u64) + Send)) -> anyhow::Result<()> {
        let present = tokio::fs::metadata(self.partial).await.map_or(0, |metadata| metadata.len());
        if present == size {
            return Ok(());
        }
        let mut done = if present < size { present } else { 0 };
        let mut request = self.client.get(&self.address).header(RANGE, format!("bytes={done}-"));
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {}
            // A server without ranges begins anew.
            StatusCode::OK => done = 0,
            status => anyhow::bail!("{} answered {status}", self.address),
        }
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let whole = length.is_none_or(|length: u64| done + length == size);
        ensure!(whole, "{} has another size than the catalogue says", self.address);
        let mut file = File::options().create(true).append(true).open(self.partial).await?;
        file.set_len(done).await?;
        let mut body = response.bytes_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            file.write_all(&bytes).await?;
            done += bytes.len() as u64;
            ensure!(done <= size, "{} is longer than the catalogue says", self.address);
            on_bytes(done);
        }
        file.flush().await?;
        (done == size).then_some(()).context(Truncated)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the download ended early")]
struct Truncated;

fn is_broken_connection(error: &anyhow::Error) -> bool {
    let broken = |error: &reqwest::Error| !error.is_connect() && !error.is_builder();
    error.is::<Truncated>() || error.downcast_ref::<reqwest::Error>().is_some_and(broken)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const CONTENT: &[u8] = b"the weights of a very small model";
    const SHA256: &str = "8848f57c7a09430cd55ebd8cf562c1e5109a16efff8585bf56ced24aaa0d6e32";

    /// Answers each connection once, and breaks it off after at most `most` bytes of the file.
    async fn serve(listener: TcpListener, most: usize) {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut start = 0;
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 2 {
                if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                    start = range.trim().trim_end_matches('-').parse().unwrap();
                }
                line.clear();
            }
            let rest = &CONTENT[start..];
            let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n\r\n", rest.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&rest[..rest.len().min(most)]).await.unwrap();
            stream.flush().await.unwrap();
        }
    }

    async fn fetch_from_server(
        most: usize,
        directory: &Path,
        sha256: &str,
    ) -> (anyhow::Result<()>, Vec<u64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub_endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, most));
        let spec = FileSpec { name: "w.bin".into(), size: CONTENT.len() as u64, sha256: sha256.into() };
        let files = vec![HubFile { path: "w.bin".into(), spec }];
        let repository = Repository { hub: "somebody/something".into(), revision: "main".into(), files };
        let sources = Sources { hub_endpoint, hub_token: None };
        let mut steps = Vec::new();
        let mut on_progress = |progress: Progress| steps.push(progress.bytes_done);
        let result = fetch(&repository, &sources, directory, &mut on_progress).await;
        (result, steps)
    }

    #[tokio::test]
    async fn a_broken_download_is_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let (result, steps) = fetch_from_server(12, directory.path(), SHA256).await;
        result.unwrap();
        assert_eq!(steps, [12, 24, 33]);
        assert_eq!(std::fs::read(directory.path().join("w.bin")).unwrap(), CONTENT);
    }

    #[tokio::test]
    async fn what_an_earlier_attempt_left_is_kept_and_wrong_content_never_lands() {
        let directory = tempfile::tempdir().unwrap();
        let partial = directory.path().join("w.bin.partial");
        std::fs::write(&partial, &CONTENT[..30]).unwrap();
        let (result, steps) = fetch_from_server(100, directory.path(), SHA256).await;
        result.unwrap();
        assert_eq!(steps, [33]);

        std::fs::remove_file(directory.path().join("w.bin")).unwrap();
        std::fs::write(&partial, b"something else altogether").unwrap();
        let (result, _) = fetch_from_server(100, directory.path(), SHA256).await;
        assert!(result.unwrap_err().to_string().contains("SHA-256"));
        assert!(!partial.exists() && !directory.path().join("w.bin").exists());
    }
}
