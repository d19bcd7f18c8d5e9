//! A client that follows one job by Server-Sent Events while processes die.

use super::SOON;
use crate::user::User;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(super) struct Witness {
    job: String,
    listening: JoinHandle<Vec<Told>>,
}

#[derive(Debug)]
struct Told {
    version: i64,
    status: Value,
}

impl Witness {
    /// From now on, until the job ends or the process that tells of it.
    pub(super) fn follow(user: User, job: String) -> Self {
        let listening = tokio::spawn(listen(user, job.clone(), 0));
        Self { job, listening }
    }

    /// Where the connection broke, it asks for the rest once the job has ended.
    ///
    /// # Panics
    /// Where what it was told could not be so.
    pub(super) async fn testify(self, user: &User) {
        let mut told = timeout(SOON, self.listening).await.expect("a stream without end").unwrap();
        let seen = told.last().map_or(0, |last| last.version);
        told.extend(timeout(SOON, listen(user.clone(), self.job, seen)).await.expect("a stream without end"));
        for pair in told.windows(2) {
            let [before, after] = pair else { continue };
            assert!(!before.is_end(), "I9: told of more after the end: {told:#?}");
            assert!(after.version > before.version, "I9: told of the past: {told:#?}");
            let attempts = [before, after].map(|told| told.status["attempts"].as_u64().unwrap());
            assert!(attempts[0] <= attempts[1], "I9: an attempt is taken back: {told:#?}");
            let progress = [before, after].map(|told| told.status["progress"].as_f64().unwrap());
            assert!(
                attempts[0] < attempts[1] || progress[0] <= progress[1],
                "I9: progress goes back: {told:#?}"
            );
        }
        assert!(told.last().is_some_and(Told::is_end), "I9: not told of the end: {told:#?}");
    }
}

impl Told {
    fn is_end(&self) -> bool {
        !matches!(self.status["status"].as_str(), Some("queued" | "processing"))
    }
}

/// What is told of after a version.
async fn listen(user: User, job: String, seen: i64) -> Vec<Told> {
    let mut told = vec![];
    let mut text = String::new();
    let request = user.request(Method::GET, &format!("/api/v1/process/jobs/{job}/events"));
    let Ok(answer) = request.header("Last-Event-ID", seen).send().await else { return told };
    let mut pieces = answer.bytes_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        text += &String::from_utf8_lossy(&piece);
        while let Some((event, rest)) = text.split_once("\n\n") {
            told.extend(read(event));
            text = rest.to_owned();
        }
    }
    told
}

/// None is a comment.
fn read(event: &str) -> Option<Told> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let (version, status) = (field("id")?.parse().unwrap(), serde_json::from_str(field("data")?).unwrap());
    Some(Told { version, status })
}
