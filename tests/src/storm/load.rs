//! Jobs under way on a ship, and what hears of their ends.

use super::{Findings, Rows, Ship, check};
use crate::fleet::{BackEnds, Fleet};
use crate::receiver::{Received, Receiver};
use crate::server::{Often, Server, eventually, eventually_each};
use crate::servers::files_below;
use crate::user::User;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// For what is a matter of moments, on two busy cores.
pub const SOON: Duration = Duration::from_secs(60);

/// Of a sound whose long jobs keep a worker busy for some seconds, so that each of their stages is seen.
pub const SOUND: u32 = 900;

/// What was submitted to a ship by one user, who is told of every end.
pub struct Load {
    pub ship: Ship,
    pub rows: Rows,
    user: User,
    accepted: Vec<String>,
    receiver: Receiver,
    file: Value,
    sound: Value,
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A moment.
    Quick,
    /// A second of processor or so for each hundred of the sound.
    Long,
    /// A result of 96 kB for each second of the sound.
    Large,
}

impl Load {
    pub async fn begin(ship: Ship) -> Self {
        let receiver = Receiver::start().await;
        let user = User::register(ship.url()).await;
        let file = user.upload_bytes("tone.wav", tone(16_000, 0.5)).await.expect(StatusCode::CREATED);
        let (rows, accepted) = (ship.rows(), vec![]);
        Self { ship, rows, user, accepted, receiver, file: file["file_id"].clone(), sound: Value::Null }
    }

    /// With a sound of so many seconds, which all jobs but the quick ones read.
    pub async fn with_sound(mut self, seconds: u32) -> Self {
        let bytes = tone(8_000, f64::from(seconds));
        let file = self.user.upload_bytes("sound.wav", bytes).await.expect(StatusCode::CREATED);
        self.sound = file["file_id"].clone();
        self
    }

    /// # Panics
    /// On one process alone.
    pub fn fleet(&self) -> &Fleet {
        match &self.ship {
            Ship::Fleet { fleet, .. } => fleet,
            Ship::Alone(_) => panic!("not a fleet"),
        }
    }

    /// The id of a new job, however often it takes to be told.
    pub async fn submit(&mut self, sort: Sort) -> String {
        let url = self.ship.url().to_owned();
        self.submit_at(&url, sort).await
    }

    /// By a process that answers there.
    pub async fn submit_at(&mut self, url: &str, sort: Sort) -> String {
        let key = format!("job-{}", self.accepted.len());
        let body = match sort {
            Sort::Quick => json!({ "video_file_id": self.file }),
            Sort::Long => json!({ "video_file_id": self.sound, "audio_format": "opus" }),
            Sort::Large => {
                json!({ "video_file_id": self.sound, "audio_format": "wav", "sample_rate": 48_000 })
            }
        };
        let job = submit(&self.user.at(url), &key, told(body, &self.receiver.url)).await;
        self.accepted.push(job.clone());
        job
    }

    /// Submits until the worker has completed one more.
    pub async fn until_completed_by(&mut self, worker: &Server) {
        let completed = async || worker.counted("voxmill_job_runs_total", "completed").await;
        let before = completed().await;
        eventually("a job of the worker", 2 * SOON, async || {
            let job = self.submit(Sort::Quick).await;
            self.user().ended(&job).await;
            (completed().await > before).then_some(())
        })
        .await;
    }

    /// Waits until the worker runs the job.
    pub async fn running_in(&self, worker: &Server, job: &str) {
        eventually("the start of the job", SOON, async || {
            self.rows.running_in(worker.process_id()).iter().any(|(id, _)| id == job).then_some(())
        })
        .await;
    }

    /// Says that a process has lost what it holds, until others have taken its jobs: what it sent last may arrive late.
    pub async fn take_from(&self, process: u32) {
        let often = Often { every: Duration::from_millis(500), limit: 2 * SOON };
        eventually_each("others take the jobs of the process", often, async || {
            self.rows.end_holds_of(process);
            self.rows.running_in(process).is_empty().then_some(())
        })
        .await;
    }

    /// How many have been submitted.
    pub fn jobs(&self) -> usize {
        self.accepted.len()
    }

    /// Once all have ended, and every end is told: what [`check`] finds.
    ///
    /// # Panics
    /// Where something that must hold does not, or it takes longer than the limit.
    pub async fn settle(&self, back_ends: Option<&BackEnds>, limit: Duration) -> Findings {
        let mut waiting = self.accepted.iter();
        let mut next = waiting.next();
        let user = self.user();
        eventually("the end of every job", limit, async || {
            while let Some(job) = next {
                let status = user.status(job).await;
                if matches!(status["status"].as_str(), Some("queued" | "processing")) {
                    return None;
                }
                next = waiting.next();
            }
            Some(())
        })
        .await;
        // What was acknowledged late is told late.
        eventually("a webhook for each job", 2 * SOON, async || {
            let told: BTreeSet<String> = self.received().iter().map(|hook| hook.id().to_owned()).collect();
            (told.len() >= self.accepted.len()).then_some(())
        })
        .await;
        self.is_quiet(back_ends).await;
        check(&self.rows, back_ends, &self.ship, &self.accepted, &self.received()).await
    }

    /// Waits until nothing is left of what has ended: on the way in Redis, in the metrics, in the room of an attempt.
    async fn is_quiet(&self, back_ends: Option<&BackEnds>) {
        if let (Ship::Fleet { fleet, .. }, Some(back_ends)) = (&self.ship, back_ends) {
            let queue = format!("{}:queue:extract-audio", fleet.setting("VOXMILL_REDIS_PREFIX"));
            eventually("I10: no wake-up that nobody needs", 2 * SOON, async || {
                let left = [("LLEN", "active"), ("HLEN", "data")]
                    .map(|(length, part)| back_ends.redis.cli(&[length, &format!("{queue}:{part}")]));
                (left == ["0", "0"]).then_some(())
            })
            .await;
        }
        eventually("I10: no job in the metrics", SOON, async || {
            let shown = self.ship.answers().counted("voxmill_jobs{", "kind=\"extract-audio\"").await;
            (shown == 0).then_some(())
        })
        .await;
        eventually("I8: no work of an attempt", SOON, async || {
            let left = |server: &Server| !files_below(&server.data_directory().join("work")).is_empty();
            (!self.ship.servers().any(left)).then_some(())
        })
        .await;
    }

    /// The webhooks that came.
    pub(super) fn received(&self) -> Vec<Received> {
        self.receiver.received()
    }

    /// The user, where HTTP is answered now.
    pub fn user(&self) -> User {
        self.user.at(self.ship.url())
    }
}

fn told(mut body: Value, callback_url: &str) -> Value {
    body["callback_url"] = json!(callback_url);
    body
}

async fn submit(user: &User, key: &str, body: Value) -> String {
    eventually("an answer to a submission", SOON, async || {
        let request = user.request(Method::POST, "/api/v1/process/extract-audio");
        let answer = request.header("Idempotency-Key", key).json(&body).send().await.ok()?;
        let status = answer.status();
        assert!(status == StatusCode::ACCEPTED || status.is_server_error(), "{status}");
        let job: Value = answer.json().await.ok()?;
        job["job_id"].as_str().map(str::to_owned)
    })
    .await
}

/// A tone as WAV, mono.
pub(super) fn tone(rate: u32, seconds: f64) -> Vec<u8> {
    let samples: Vec<u8> = (0..(f64::from(rate) * seconds) as u32)
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
    for long in [rate, 2 * rate] {
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
