//! A file sent in parts under an id that is on record before the first of them: whoever goes on after a kill sends what is
//! missing, and however often the end is asked for, one file is made.

use crate::client::{Client, is_not_found, is_outage, is_unknown_to_server, text};
use anyhow::Context as _;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const PATH: &str = "/api/v1/files/uploads";
/// How long the URLs of parts are taken for good, well within the time that the server gives them.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// How long the server may take to make a file of parts: so long for its look into it, and a second for so many bytes.
const LOOK: Duration = Duration::from_secs(120);
const BYTES_A_SECOND: u64 = 20_000_000;

/// Announces the file; the id under which its parts go.
pub(crate) async fn begin(client: &Client, path: &Path, sha256: &str) -> anyhow::Result<String> {
    let about =
        tokio::fs::metadata(path).await.with_context(|| format!("could not read {}", path.display()))?;
    let filename = path.file_name().unwrap_or_default().to_string_lossy();
    let announced = json!({ "filename": filename, "size_bytes": about.len(), "sha256": sha256 });
    // An upload of which no part comes ends by itself.
    let upload = client.post_again(PATH, &announced).await?;
    Ok(text(&upload, "upload_id")?.to_owned())
}

/// Sends the parts that are not there, and has a file made of them: its id. None where there is no such upload: its time
/// is over, or it is a file by now.
pub(crate) async fn finish(client: &Client, path: &Path, upload: &str) -> anyhow::Result<Option<String>> {
    match send_all(client, path, upload).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn send_all(client: &Client, path: &Path, upload: &str) -> anyhow::Result<String> {
    let mut known = Known::of(client, upload).await?;
    let size_bytes = known.parts.iter().map(|part| part.size_bytes).sum::<u64>();
    let missing: Vec<usize> = (0..known.parts.len()).filter(|index| !known.parts[*index].received).collect();
    for index in missing {
        if known.asked.elapsed() > FRESH {
            known = Known::of(client, upload).await?;
        }
        match known.send(client, path, index).await {
            // Its time was over before we thought so, or came on the way.
            Err(error) if is_unknown_to_server(&error) => {
                known = Known::of(client, upload).await?;
                known.send(client, path, index).await?;
            }
            outcome => outcome?,
        }
    }
    let limit = LOOK + Duration::from_secs(size_bytes / BYTES_A_SECOND);
    let made = client.post_long(&format!("{PATH}/{upload}/complete"), &json!({}), limit).await;
    if made.as_ref().is_err_and(|error| !is_outage(error) && !is_not_found(error)) {
        // It is no file that the server takes. Where this fails, the upload goes when its time is over.
        let _ = client.delete(&format!("{PATH}/{upload}")).await;
    }
    Ok(text(&made?, "file_id")?.to_owned())
}

/// What the server said of an upload.
struct Known {
    parts: Vec<Part>,
    asked: Instant,
}

struct Part {
    start: u64,
    size_bytes: u64,
    received: bool,
    url: String,
}

impl Known {
    async fn of(client: &Client, upload: &str) -> anyhow::Result<Self> {
        let asked = Instant::now();
        let answer = client.get(&format!("{PATH}/{upload}")).await?;
        let mut start = 0;
        let mut parts = vec![];
        for part in answer["parts"].as_array().into_iter().flatten() {
            let size_bytes = part["size_bytes"].as_u64().context("the server's answer has no size_bytes")?;
            let (received, url) = (part["received"] == true, text(part, "url")?.to_owned());
            parts.push(Part { start, size_bytes, received, url });
            start += size_bytes;
        }
        Ok(Self { parts, asked })
    }

    async fn send(&self, client: &Client, path: &Path, index: usize) -> anyhow::Result<()> {
        let part = self.parts.get(index).context("the server's answer lacks a part")?;
        client.send_part(path, part.start..part.start + part.size_bytes, &part.url).await
    }
}

#[cfg(test)]
mod tests {
    use super::finish;
    use crate::client::script::{Script, answer};
    use crate::client::{Client, is_outage};
    use serde_json::json;
    use std::time::Duration;

    /// What the server says of an upload of two parts; the URLs of each answer are others.
    fn known(server: &str, time: &str, first_received: bool) -> String {
        let part = |number: usize, received: bool| {
            let url = format!("{server}/{time}/{number}");
            json!({ "number": number, "size_bytes": 2, "received": received, "url": url })
        };
        let parts = [part(1, first_received), part(2, false)];
        answer("200 OK", &json!({ "part_size": 2, "parts": parts }).to_string())
    }

    async fn finished(script: &Script) -> anyhow::Result<Option<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcd").unwrap();
        let client = Client::new(&script.url, String::new()).unwrap().with_patience(Duration::ZERO);
        finish(&client, file.path(), "7").await
    }

    #[tokio::test]
    async fn a_url_whose_time_is_over_is_asked_for_anew() {
        let script = Script::start(|server| {
            vec![
                known(server, "early", false),
                answer("200 OK", "{}"),
                answer("403 Forbidden", ""),
                known(server, "late", true),
                answer("200 OK", "{}"),
                answer("201 Created", "{\"file_id\": \"f\"}"),
            ]
        });
        let script = script.await;
        assert_eq!(finished(&script).await.unwrap().as_deref(), Some("f"));
        let upload = "/api/v1/files/uploads/7";
        let asked = [
            format!("GET {upload}"),
            "PUT /early/1".to_owned(),
            "PUT /early/2".to_owned(),
            format!("GET {upload}"),
            "PUT /late/2".to_owned(),
            format!("POST {upload}/complete"),
        ];
        assert_eq!(script.asked().await, asked);
    }

    #[tokio::test]
    async fn a_url_that_is_refused_as_soon_as_it_is_given_is_an_outage() {
        let script = Script::start(|server| {
            let refused = || answer("403 Forbidden", "");
            vec![known(server, "early", false), refused(), known(server, "late", false), refused()]
        });
        let script = script.await;
        assert!(is_outage(&finished(&script).await.unwrap_err()));
        assert_eq!(script.asked().await.len(), 4);
    }

    #[tokio::test]
    async fn the_end_is_asked_for_again_where_the_answer_is_lost() {
        let script = Script::start(|server| {
            let received = known(server, "now", true).replace("false", "true ");
            vec![received, answer("504 Gateway Timeout", ""), answer("404 Not Found", "{}")]
        });
        let script = script.await;
        assert_eq!(finished(&script).await.unwrap(), None, "it is a file by now");
        assert_eq!(script.asked().await.len(), 3);
    }
}
