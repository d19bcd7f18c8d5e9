//! Two storms on one server, as users bring them: 200 logins at once, and 500 status polls a second for a minute. Prints what
//! came back, and how late, as JSON. A poll is late from the moment in which it was due, whatever was still on its way.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on stops, and its outcome is what it prints"
)]

use futures_util::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tests::server::Server;
use tests::user::User;

const LOGINS: usize = 200;
const USERS: usize = 50;
const POLLS_PER_SECOND: u32 = 500;
const POLLING: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let server = Server::start();
    let users = join_all((0..USERS).map(|_| server.user())).await;
    let logins = join_all((0..LOGINS).map(|number| log_in(&users[number % USERS]))).await;

    let pollers = join_all(users.iter().map(Poller::of)).await;
    let (start, cpu) = (Instant::now(), cpu_seconds(&server));
    let total = POLLS_PER_SECOND * u32::try_from(POLLING.as_secs()).unwrap();
    let mut polls = Vec::new();
    for number in 0..total {
        let due = start + Duration::from_secs(1) / POLLS_PER_SECOND * number;
        tokio::time::sleep_until(due.into()).await;
        polls.push(tokio::spawn(pollers[number as usize % USERS].clone().poll(due)));
    }
    let polls = join_all(polls).await.into_iter().map(Result::unwrap).collect();
    let cpu = cpu_seconds(&server) - cpu;
    println!(
        "{}",
        json!({ "logins": summary(logins), "polls": summary(polls), "cpu_seconds_of_polls": cpu })
    );
}

/// Of all threads of the server, in user and kernel.
fn cpu_seconds(server: &Server) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process_id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_PER_SECOND
}

/// The status of an answer, and how long it took.
type Outcome = (Result<StatusCode, String>, Duration);

async fn log_in(user: &User) -> Outcome {
    let body = json!({ "email": user.email, "password": user.password });
    let begin = Instant::now();
    let answer = user.request(Method::POST, "/api/v1/auth/login").json(&body).send().await;
    (answer.map(|answer| answer.status()).map_err(|error| error.without_url().to_string()), begin.elapsed())
}

/// Asks for the status of a job.
#[derive(Clone)]
struct Poller {
    http: Client,
    token: String,
    url: String,
}

impl Poller {
    async fn of(user: &User) -> Self {
        let body = json!({ "text_content": "Hello.", "voice_profile_id": builtin_voice(user).await });
        // One that runs takes the processor from what is measured.
        let job = user.start("clone-voice", &body).await;
        user.post(&format!("/api/v1/process/jobs/{job}/cancel"), &json!({})).await;
        user.ended(&job).await;
        let url = format!("{}/api/v1/process/status/{job}", user.url);
        Self { http: Client::new(), token: user.token.clone(), url }
    }

    async fn poll(self, due: Instant) -> Outcome {
        let answer = match self.http.get(&self.url).bearer_auth(&self.token).send().await {
            Ok(answer) => {
                let status = answer.status();
                answer.bytes().await.map(|_| status)
            }
            Err(error) => Err(error),
        };
        (answer.map_err(|error| error.without_url().to_string()), due.elapsed())
    }
}

async fn builtin_voice(user: &User) -> Value {
    let voices = user.get("/api/v1/voices/profiles").await.expect(StatusCode::OK);
    voices["profiles"][0]["id"].clone()
}

fn summary(outcomes: Vec<Outcome>) -> Value {
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    let mut latencies = Vec::new();
    for (status, latency) in outcomes {
        let status = status.map_or_else(|error| error, |status| status.as_str().to_owned());
        *statuses.entry(status).or_default() += 1;
        latencies.push(latency.as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    let quantile = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
    json!({
        "statuses": statuses,
        "milliseconds": { "p50": quantile(0.5), "p99": quantile(0.99), "max": quantile(1.0) },
    })
}
