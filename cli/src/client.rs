//! A client of the HTTP API, as any user would write one.

mod patience;
#[cfg(test)]
pub(crate) mod script;
mod transfer;

pub(crate) use patience::{is_not_found, is_outage, is_unknown_to_server};

use crate::complain;
use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use patience::{Patience, Repeats, checked, patiently};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(300);
const LONGEST_POLL: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(10);
/// No byte for this long ends a request.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a server that is not there, or not well, is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    http: reqwest::Client,
    /// Without a limit on the wait for an answer, which would begin with the first byte that goes up.
    uploads: reqwest::Client,
    silence: Duration,
    patience: Duration,
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

impl Client {
    /// `token` is an access token or an API key.
    pub(crate) fn new(server: &str, token: String) -> anyhow::Result<Self> {
        Self::with_silence(server, token, SILENCE)
    }

    fn with_silence(server: &str, token: String, silence: Duration) -> anyhow::Result<Self> {
        let builder = || reqwest::Client::builder().connect_timeout(CONNECT);
        let http = builder().read_timeout(silence).build()?;
        let (uploads, patience) = (builder().build()?, PATIENCE);
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { http, uploads, silence, patience, server, token, bars: Bars::Shown })
    }

    /// For many requests side by side.
    pub(crate) fn without_bars(self) -> Self {
        Self { bars: Bars::Hidden, ..self }
    }

    /// One that waits so long for a server that is not there, or not well.
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
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
        let patience = self.patience(Repeats::Harmless);
        patiently(patience, async || self.json(self.request(Method::GET, path)).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let patience = self.patience(Repeats::Another);
        patiently(patience, async || self.json(self.request(Method::POST, path).json(body)).await).await
    }

    /// As [`Client::post`], for what may be done twice without harm.
    pub(crate) async fn post_again(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let patience = self.patience(Repeats::Harmless);
        patiently(patience, async || self.json(self.request(Method::POST, path).json(body)).await).await
    }

    /// As [`Client::post`], and once for each key, however often it is sent.
    pub(crate) async fn post_once(&self, path: &str, body: &Value, key: &str) -> anyhow::Result<Value> {
        let request = || self.request(Method::POST, path).header("Idempotency-Key", key).json(body);
        patiently(self.patience(Repeats::Harmless), async || self.json(request()).await).await
    }

    /// As [`Client::post`], for what takes up to `limit` and goes on when nobody waits for it: whoever lost the answer, to
    /// a proxy that had waited long enough say, asks again.
    pub(crate) async fn post_long(&self, path: &str, body: &Value, limit: Duration) -> anyhow::Result<Value> {
        let request = || self.authorized(self.uploads.post(self.url(path))).timeout(limit).json(body);
        let patience = Patience { limit, repeats: Repeats::Harmless };
        patiently(patience, async || self.json(request()).await).await
    }

    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let patience = self.patience(Repeats::Harmless);
        patiently(patience, async || self.answer(self.request(Method::DELETE, path)).await.map(drop)).await
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

    async fn json(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = self.answer(request).await?.json().await;
        answer.map_err(reqwest::Error::without_url).with_context(|| self.no_answer())
    }

    async fn answer(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await;
        checked(answer.map_err(reqwest::Error::without_url).with_context(|| self.no_answer())?).await
    }

    fn no_answer(&self) -> String {
        format!("{} does not answer", self.server)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.authorized(self.http.request(method, self.url(path)))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    fn patience(&self, repeats: Repeats) -> Patience {
        Patience { limit: self.patience, repeats }
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

/// A field that every such answer has.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer[field].as_str().with_context(|| format!("the server's answer has no {field}"))
}

/// The first file of a completed job's result.
pub(crate) fn first_file(status: &Value) -> &Value {
    &status["result"]["files"][0]
}

/// Why a job that has ended has no result.
fn no_completion(kind: &str, status: &Value) -> anyhow::Error {
    let (job_id, ended) = (status["job_id"].as_str().unwrap_or_default(), status["status"].as_str());
    let error = status["error"]["message"].as_str().unwrap_or_default();
    anyhow!("the {kind} job {job_id} is {}. {error}", ended.unwrap_or("of no known status"))
}

#[cfg(test)]
mod tests {
    use super::script::{Script, answer};
    use super::{Client, is_outage};
    use serde_json::json;
    use std::time::Duration;

    #[tokio::test]
    async fn a_refused_request_is_sent_again_when_the_server_says() {
        let script = Script::start(|_| {
            vec![answer("429 Too Many Requests\r\nRetry-After: 0", "{}"), answer("200 OK", "{}")]
        });
        let script = script.await;
        let client = Client::new(&script.url, String::new()).unwrap();
        assert_eq!(client.get("/").await.unwrap(), json!({}));
    }

    #[tokio::test]
    async fn a_failure_that_passes_is_waited_out_where_nothing_is_done_twice() {
        let script = Script::start(|_| {
            let unwell = || answer("503 Service Unavailable", "{}");
            vec![unwell(), String::new(), answer("200 OK", "{\"a\": 1}"), unwell(), unwell()]
        });
        let script = script.await;
        let client = Client::new(&script.url, String::new()).unwrap();
        assert_eq!(client.post_once("/jobs", &json!({}), "key").await.unwrap(), json!({"a": 1}));
        let refused = client.post("/jobs", &json!({})).await.unwrap_err();
        assert!(is_outage(&refused) && refused.to_string().starts_with("503"), "{refused:#}");
        let client = client.with_patience(Duration::ZERO);
        assert!(is_outage(&client.get("/job").await.unwrap_err()));
        let asked = script.asked().await;
        assert_eq!(asked, ["POST /jobs", "POST /jobs", "POST /jobs", "POST /jobs", "GET /job"]);
    }
}
