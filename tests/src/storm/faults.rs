//! Faults that last for longer than a lease, while jobs flow. What must hold after them is in [`check`](super::check).

use super::witness::Witness;
use super::{Findings, Holders, LOOK, Load, SOON, Ship, Sort, stale_writes};
use crate::fleet::{BackEnds, Fleet, Ways, off_by};
use crate::server::{Server, eventually};
use crate::servers::{Fault, Way};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The bytes of an answer of the store that come through: a part of a long sound, and all of a quick one.
const BROKEN_OFF: u64 = 1_000_000;

const WITNESS_EVERY: Duration = Duration::from_secs(10);

/// What befalls one worker of three, or what all stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The worker's machine sleeps.
    Sleep,
    CutFromPostgres,
    CutFromRedis,
    CutFromStore,
    StoreRefuses,
    StoreBreaksOff,
    RedisHangs,
    RedisForgets,
    PostgresDies,
    DiskFull,
    /// Of two workers, by ten minutes either way.
    ClocksWrong,
    /// The worker is told to end, with more grace than its job takes.
    Drain,
}

/// How often, and how long each time.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    pub times: u32,
    pub hold: Duration,
    /// Until the last job has ended.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub findings: Findings,
    pub stale_writes: u64,
    pub seconds: f64,
}

impl Trouble {
    pub const ALL: [Self; 12] = [
        Self::Sleep,
        Self::CutFromPostgres,
        Self::CutFromRedis,
        Self::CutFromStore,
        Self::StoreRefuses,
        Self::StoreBreaksOff,
        Self::RedisHangs,
        Self::RedisForgets,
        Self::PostgresDies,
        Self::DiskFull,
        Self::ClocksWrong,
        Self::Drain,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sleep => "a worker's machine sleeps",
            Self::CutFromPostgres => "a worker is cut off from Postgres",
            Self::CutFromRedis => "a worker is cut off from Redis",
            Self::CutFromStore => "a worker is cut off from the store",
            Self::StoreRefuses => "the store answers 503 to a worker",
            Self::StoreBreaksOff => "the store's answers to a worker break off",
            Self::RedisHangs => "Redis hangs",
            Self::RedisForgets => "Redis is emptied, dies and is started again",
            Self::PostgresDies => "Postgres dies and is started again",
            Self::DiskFull => "a worker's disk is full",
            Self::ClocksWrong => "two workers' clocks are wrong by ten minutes",
            Self::Drain => "a worker drains for longer than a lease",
        }
    }

    /// The seconds of sound that keep a worker busy for long enough: on two cores, three workers at once.
    fn sound(self) -> u32 {
        match self {
            Self::Drain => 6_000,
            Self::Sleep
            | Self::CutFromPostgres
            | Self::CutFromRedis
            | Self::CutFromStore
            | Self::StoreRefuses
            | Self::StoreBreaksOff
            | Self::RedisHangs
            | Self::RedisForgets
            | Self::PostgresDies
            | Self::DiskFull
            | Self::ClocksWrong => 1_200,
        }
    }
}

/// Lets it happen again and again, and checks what is left.
///
/// # Panics
/// Where something that must hold does not.
pub async fn befall(back_ends: BackEnds, trouble: Trouble, course: Course) -> Outcome {
    let begun = Instant::now();
    let mut scene = Scene::of(back_ends, trouble).await;
    for _ in 0..course.times {
        for _ in 0..3 {
            scene.load.submit(Sort::Long).await;
        }
        eventually("a job of the victim", 2 * SOON, async || scene.victim_runs().then_some(())).await;
        let blocker = scene.begin(trouble);
        scene.flow(course.hold).await;
        scene.end(trouble, blocker);
        scene.flow(Duration::from_secs(5)).await;
    }
    let Scene { back_ends, load, victim, witnesses, .. } = scene;
    let findings = load.settle(Some(&back_ends), course.limit).await;
    for witness in witnesses {
        witness.testify(&load.user()).await;
    }
    let stale_writes = load.ship.stale_writes().await + stale_writes([&victim]).await;
    Outcome { findings, stale_writes, seconds: begun.elapsed().as_secs_f64() }
}

struct Scene {
    back_ends: BackEnds,
    load: Load,
    ways: Ways,
    victim: Server,
    holders: Holders,
    witnesses: Vec<Witness>,
}

impl Scene {
    async fn of(back_ends: BackEnds, trouble: Trouble) -> Self {
        let fleet = Fleet::new(back_ends.settings()).with("VOXMILL_GRACE_SECONDS", "600");
        let ways = Ways::to(&back_ends, &fleet);
        let others = if trouble == Trouble::ClocksWrong { 1 } else { 2 };
        let mut load = Load::begin(Ship::of(fleet, others)).await.with_sound(trouble.sound()).await;
        let fleet = load.fleet();
        let mut more = None;
        let victim = match trouble {
            Trouble::DiskFull => fleet.worker_on_disk_of(200),
            Trouble::ClocksWrong => {
                more = Some(fleet.worker_with(&off_by("-10m")));
                fleet.worker_with(&off_by("+10m"))
            }
            Trouble::Sleep
            | Trouble::CutFromPostgres
            | Trouble::CutFromRedis
            | Trouble::CutFromStore
            | Trouble::StoreRefuses
            | Trouble::StoreBreaksOff
            | Trouble::RedisHangs
            | Trouble::RedisForgets
            | Trouble::PostgresDies
            | Trouble::Drain => fleet.worker_with(&ways.settings()),
        };
        load.ship.workers().extend(more);
        Self { back_ends, load, ways, victim, holders: Holders::default(), witnesses: vec![] }
    }

    fn victim_runs(&self) -> bool {
        !self.load.rows.running_in(self.victim.process_id()).is_empty()
    }

    /// What takes the room of a full disk.
    fn begin(&mut self, trouble: Trouble) -> Option<PathBuf> {
        match trouble {
            Trouble::Sleep => self.victim.sleep(),
            Trouble::CutFromPostgres => self.ways.postgres.fail(Fault::BlackHole),
            Trouble::CutFromRedis => self.ways.redis.fail(Fault::BlackHole),
            Trouble::CutFromStore => self.ways.s3.fail(Fault::BlackHole),
            Trouble::StoreRefuses => self.ways.s3.fail(Fault::Unavailable),
            Trouble::StoreBreaksOff => self.ways.s3.fail(Fault::CutAfter(BROKEN_OFF, Way::ToClient)),
            Trouble::RedisHangs => self.back_ends.redis.suspend(),
            Trouble::RedisForgets => {
                self.back_ends.redis.flush();
                self.back_ends.redis.kill();
            }
            Trouble::PostgresDies => self.back_ends.postgres.kill(),
            Trouble::DiskFull => return Some(self.victim.fill_disk(0)),
            Trouble::ClocksWrong => {}
            Trouble::Drain => self.victim.ask_to_end(),
        }
        None
    }

    fn end(&mut self, trouble: Trouble, blocker: Option<PathBuf>) {
        match trouble {
            Trouble::Sleep => {
                assert!(!self.victim_runs(), "nobody has taken its jobs");
                self.victim.wake();
            }
            Trouble::CutFromPostgres => {
                let children = self.victim.children();
                assert!(children.is_empty(), "it goes on without a lease: {children:?}");
                self.ways.postgres.pass();
            }
            Trouble::CutFromRedis => self.ways.redis.pass(),
            Trouble::CutFromStore | Trouble::StoreRefuses | Trouble::StoreBreaksOff => self.ways.s3.pass(),
            Trouble::RedisHangs => self.back_ends.redis.resume(),
            Trouble::RedisForgets => self.back_ends.redis.restart(),
            Trouble::PostgresDies => self.back_ends.postgres.restart(),
            Trouble::DiskFull => std::fs::remove_file(blocker.unwrap()).unwrap(),
            Trouble::ClocksWrong => {}
            Trouble::Drain => {
                assert!(self.victim.ended().success());
                self.victim.restart();
            }
        }
    }

    /// Quick jobs, four a second; one of them is followed every ten.
    async fn flow(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let mut next_look = Instant::now();
        let mut next_witness = next_look;
        let mut pace = tokio::time::interval(Duration::from_millis(250));
        while Instant::now() < end {
            pace.tick().await;
            // Where there is no database there is no answer either.
            if !self.back_ends.postgres.is_up() {
                continue;
            }
            let job = self.load.submit(Sort::Quick).await;
            if Instant::now() >= next_witness {
                self.witnesses.push(Witness::follow(self.load.user(), job));
                next_witness += WITNESS_EVERY;
            }
            if Instant::now() >= next_look {
                self.holders.look(&self.load.rows);
                next_look += LOOK;
            }
        }
    }
}
