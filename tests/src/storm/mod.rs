//! A storm: jobs are submitted and run while processes are killed; then everything is looked at.
//!
//! What must hold after it is in [`check`]. The same seed kills after the same pauses.

mod check;
mod database;

pub use check::{Findings, check};
pub use database::Rows;

use crate::fleet::{BackEnds, Fleet};
use crate::receiver::{self, Receiver};
use crate::server::{Server, eventually};
use crate::user::User;
use fastrand::Rng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// What a storm does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub jobs: usize,
    pub workers: usize,
    /// SIGKILLs of workers, or of the one process where there is one.
    pub kills: usize,
    /// SIGKILLs of the process that takes jobs, while they are submitted.
    pub api_kills: usize,
    /// Between two kills of workers, at most.
    pub pause: Duration,
    /// From the first submission to the end of the last job.
    pub limit: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    pub kills: usize,
    /// Of jobs that ran in what was killed.
    pub hits: usize,
    /// From a kill until somebody else ran the job, in seconds.
    pub recoveries: Vec<f64>,
    pub seconds: f64,
    /// What [`check`] counted.
    pub findings: Findings,
}

/// The sound of every job: half a second of a tone, as WAV.
fn tone() -> Vec<u8> {
    let samples: Vec<u8> = (0..8_000_i32)
        .flat_map(|index| (((f64::from(index) * 0.17).sin() * 8_000.0) as i16).to_le_bytes())
        .collect();
    let size = u32::try_from(samples.len()).unwrap();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((size + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    for short in [1_u16, 1] {
        wav.extend(short.to_le_bytes());
    }
    for long in [16_000_u32, 32_000] {
        wav.extend(long.to_le_bytes());
    }
    for short in [2_u16, 16] {
        wav.extend(short.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(size.to_le_bytes());
    wav.extend(samples);
    wav
}

/// The processes that a storm is over.
pub enum Ship {
    /// One, on SQLite and the disk.
    Alone(Server),
    /// Many, on the back ends of a fleet.
    Fleet { fleet: Fleet, api: Server, workers: Vec<Server> },
}

impl Ship {
    pub fn alone() -> Self {
        Self::Alone(Server::start_part(
            "serve",
            &[(receiver::ALLOWED.0.to_owned(), receiver::ALLOWED.1.to_owned())],
        ))
    }

    pub fn fleet(back_ends: &BackEnds, workers: usize) -> Self {
        let fleet = Fleet::new(back_ends.settings()).with(receiver::ALLOWED.0, receiver::ALLOWED.1);
        let api = fleet.api();
        let workers = (0..workers).map(|_| fleet.worker()).collect();
        Self::Fleet { fleet, api, workers }
    }

    /// Where HTTP is answered.
    pub fn url(&self) -> &str {
        match self {
            Self::Alone(server) | Self::Fleet { api: server, .. } => &server.url,
        }
    }

    pub fn rows(&self) -> Rows {
        match self {
            Self::Alone(server) => Rows::sqlite(server.data_directory().join("voxmill.db")),
            Self::Fleet { fleet, .. } => Rows::postgres(fleet.setting("VOXMILL_DATABASE_URL")),
        }
    }

    /// Kills one that runs jobs and starts it again; the jobs that it ran, with their epochs.
    fn kill_one(&mut self, random: &mut Rng, rows: &Rows) -> Vec<(String, i64)> {
        let victim = match self {
            Self::Alone(server) => server,
            Self::Fleet { workers, .. } => {
                let index = random.usize(..workers.len());
                &mut workers[index]
            }
        };
        let id = victim.process_id();
        victim.kill();
        let hit = rows.running_in(id);
        victim.restart();
        hit
    }

    fn kill_api(&mut self) {
        if let Self::Fleet { api, .. } = self {
            api.kill();
            api.restart();
        }
    }
}

/// Runs the storm to its end, and checks what is left.
///
/// # Panics
/// Where something that must hold does not.
pub async fn run(mut ship: Ship, back_ends: Option<&BackEnds>, plan: Plan) -> Report {
    let receiver = Receiver::start().await;
    let begun = Instant::now();
    let mut user = User::register(ship.url()).await;
    let file = user.upload_bytes("tone.wav", tone()).await.expect(StatusCode::CREATED);
    let body = json!({ "video_file_id": file["file_id"], "callback_url": receiver.url });
    let mut random = Rng::with_seed(plan.seed);
    let mut report = Report::default();
    let mut accepted: Vec<String> = vec![];
    let mut orphans: Vec<Orphan> = vec![];
    let rows = ship.rows();
    let mut next_kill = Instant::now() + pause(&mut random, plan);
    let api_every = plan.jobs / (plan.api_kills + 1) + 1;
    loop {
        if accepted.len() < plan.jobs {
            if plan.api_kills > 0 && accepted.len() % api_every == api_every - 1 {
                ship.kill_api();
                user = user.at(ship.url());
            }
            accepted.push(submit(&user, accepted.len(), &body).await);
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if report.kills < plan.kills && Instant::now() >= next_kill {
            let killed = Instant::now();
            let hit = ship.kill_one(&mut random, &rows);
            user = user.at(ship.url());
            report.kills += 1;
            report.hits += usize::from(!hit.is_empty());
            orphans.extend(hit.into_iter().map(|(job, epoch)| Orphan { job, epoch, killed }));
            next_kill = Instant::now() + pause(&mut random, plan);
        }
        recover(&rows, &mut orphans, &mut report.recoveries);
        let over = accepted.len() == plan.jobs && report.kills == plan.kills && orphans.is_empty();
        if over && rows.unfinished() == 0 {
            break;
        }
        assert!(begun.elapsed() < plan.limit, "seed {}: {} jobs left", plan.seed, rows.unfinished());
    }
    report.seconds = begun.elapsed().as_secs_f64();
    // What was acknowledged late is told late.
    eventually("a webhook for each job", Duration::from_secs(120), async || {
        let told: BTreeSet<String> = receiver.received().iter().map(|hook| hook.id().to_owned()).collect();
        (told.len() >= plan.jobs).then_some(())
    })
    .await;
    report.findings = check(&rows, back_ends, &ship, &accepted, &receiver.received());
    report
}

struct Orphan {
    job: String,
    epoch: i64,
    killed: Instant,
}

/// Notes which jobs of dead processes somebody else has begun, or ended.
fn recover(rows: &Rows, orphans: &mut Vec<Orphan>, recoveries: &mut Vec<f64>) {
    if orphans.is_empty() {
        return;
    }
    let still = rows.still_at(orphans.iter().map(|orphan| (orphan.job.as_str(), orphan.epoch)));
    orphans.retain(|orphan| {
        let waits = still.contains(&orphan.job);
        if !waits {
            recoveries.push(orphan.killed.elapsed().as_secs_f64());
        }
        waits
    });
}

/// The id of the job, however often it takes to be told.
async fn submit(user: &User, number: usize, body: &Value) -> String {
    eventually("an answer to a submission", Duration::from_secs(60), async || {
        let request = user.request(Method::POST, "/api/v1/process/extract-audio");
        let answer =
            request.header("Idempotency-Key", format!("job-{number}")).json(body).send().await.ok()?;
        let status = answer.status();
        assert!(status == StatusCode::ACCEPTED || status.is_server_error(), "{status}");
        let job: Value = answer.json().await.ok()?;
        job["job_id"].as_str().map(str::to_owned)
    })
    .await
}

fn pause(random: &mut Rng, plan: Plan) -> Duration {
    plan.pause.mul_f64(random.f64())
}
