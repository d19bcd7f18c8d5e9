//! A storm: jobs are submitted and run while processes are killed; then everything is looked at.
//!
//! What must hold after it is in [`check`]. The same seed kills after the same pauses.

mod check;
mod crowd;
mod database;
mod faults;
mod folder;
mod load;
mod poison;
mod witness;

pub use check::{Findings, check};
pub use crowd::crowd;
pub use database::Rows;
pub use faults::{Course, Outcome, Trouble, befall};
pub use folder::{Folder, submit_folder};
pub use load::{Load, SOON, SOUND, Sort};
pub use poison::poison;

use crate::fleet::{BackEnds, Fleet};
use crate::receiver;
use crate::server::{Often, Server, eventually_each};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use witness::Witness;

/// How often the rows are looked at: each look is a process of its own, and recoveries take a minute.
const LOOK: Duration = Duration::from_secs(1);

/// How many jobs are followed, by a connection each.
const WITNESSES: usize = 50;

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
    /// Refused to those who had lost their leases, and who lived to the end.
    pub stale_writes: u64,
    /// What [`check`] counted.
    pub findings: Findings,
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
        Self::of(Fleet::new(back_ends.settings()), workers)
    }

    pub fn of(fleet: Fleet, workers: usize) -> Self {
        let fleet = fleet.with(receiver::ALLOWED.0, receiver::ALLOWED.1);
        let api = fleet.api();
        let workers = (0..workers).map(|_| fleet.worker()).collect();
        Self::Fleet { fleet, api, workers }
    }

    /// Where HTTP is answered.
    pub fn url(&self) -> &str {
        &self.answers().url
    }

    /// The process that answers HTTP.
    fn answers(&self) -> &Server {
        match self {
            Self::Alone(server) | Self::Fleet { api: server, .. } => server,
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

    /// Those that run jobs.
    ///
    /// # Panics
    /// On one process alone.
    pub fn workers(&mut self) -> &mut Vec<Server> {
        match self {
            Self::Fleet { workers, .. } => workers,
            Self::Alone(_) => panic!("not a fleet"),
        }
    }

    /// How many were refused in all.
    pub async fn stale_writes(&self) -> u64 {
        stale_writes(self.servers()).await
    }

    /// Every process.
    fn servers(&self) -> impl Iterator<Item = &Server> {
        let workers = match self {
            Self::Alone(_) => [].as_slice(),
            Self::Fleet { workers, .. } => workers,
        };
        std::iter::once(self.answers()).chain(workers)
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
pub async fn run(ship: Ship, back_ends: Option<&BackEnds>, plan: Plan) -> Report {
    eprintln!("seed {}", plan.seed);
    let begun = Instant::now();
    let mut random = Rng::with_seed(plan.seed);
    let next_kill = begun + pause(&mut random, plan);
    let load = Load::begin(ship).await;
    let mut storm = Storm {
        load,
        plan,
        random,
        next_kill,
        next_look: begun,
        orphans: vec![],
        holders: Holders::default(),
        report: Report::default(),
    };
    let mut witnesses = vec![];
    let witness_every = plan.jobs.div_ceil(WITNESSES);
    let api_every = plan.jobs / (plan.api_kills + 1) + 1;
    for number in 0..plan.jobs {
        if plan.api_kills > 0 && number % api_every == api_every - 1 {
            storm.load.ship.kill_api();
        }
        let job = storm.load.submit(Sort::Quick).await;
        if number % witness_every == 0 {
            witnesses.push(Witness::follow(storm.load.user(), job));
        }
        storm.strike();
    }
    let what = format!("seed {}: the end of all kills and of what they hit", plan.seed);
    let often = Often { every: LOOK, limit: plan.limit };
    eventually_each(&what, often, async || {
        storm.strike();
        storm.is_over().then_some(())
    })
    .await;
    let Storm { load, mut report, .. } = storm;
    report.findings = load.settle(back_ends, plan.limit.saturating_sub(begun.elapsed())).await;
    for witness in witnesses {
        witness.testify(&load.user()).await;
    }
    report.seconds = begun.elapsed().as_secs_f64();
    report.stale_writes = load.ship.stale_writes().await;
    report
}

struct Storm {
    load: Load,
    plan: Plan,
    random: Rng,
    next_kill: Instant,
    next_look: Instant,
    orphans: Vec<Orphan>,
    holders: Holders,
    report: Report,
}

/// Of the leases that were seen, by job and epoch.
#[derive(Default)]
struct Holders(BTreeMap<(String, i64), String>);

impl Holders {
    /// # Panics
    /// Where a lease has changed hands.
    fn look(&mut self, rows: &Rows) {
        for (lease, holder) in rows.leases() {
            let known = self.0.entry(lease).or_insert_with(|| holder.clone());
            assert_eq!(*known, holder, "I6: one lease, two holders");
        }
    }
}

struct Orphan {
    job: String,
    epoch: i64,
    killed: Instant,
}

impl Storm {
    /// Kills one if it is time to, and looks who has recovered.
    fn strike(&mut self) {
        let Self { load, report, .. } = self;
        if report.kills < self.plan.kills && Instant::now() >= self.next_kill {
            let killed = Instant::now();
            let hit = load.ship.kill_one(&mut self.random, &load.rows);
            report.kills += 1;
            report.hits += usize::from(!hit.is_empty());
            self.orphans.extend(hit.into_iter().map(|(job, epoch)| Orphan { job, epoch, killed }));
            self.next_kill = Instant::now() + pause(&mut self.random, self.plan);
        }
        if Instant::now() >= self.next_look {
            recover(&load.rows, &mut self.orphans, &mut report.recoveries);
            self.holders.look(&load.rows);
            self.next_look = Instant::now() + LOOK;
        }
    }

    fn is_over(&self) -> bool {
        self.report.kills == self.plan.kills && self.orphans.is_empty() && self.load.rows.unfinished() == 0
    }
}

/// How many were refused to these.
async fn stale_writes(servers: impl IntoIterator<Item = &Server>) -> u64 {
    let mut sum = 0;
    for server in servers {
        sum += server.counted("voxmill_stale_writes_total", "").await;
    }
    sum
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

fn pause(random: &mut Rng, plan: Plan) -> Duration {
    plan.pause.mul_f64(random.f64())
}
