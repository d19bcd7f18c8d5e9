//! What the hot paths of the job engine take while few, many and a million jobs of one user wait, for the benchmark: a line of
//! JSON with milliseconds by depth and path. `hot_paths [DATABASE_URL]`, of an empty Postgres; else on SQLite.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pipeline::media_info::{AudioInfo, MediaInfo};
use pipeline::parameters::{JobKind, Parameters, Transcribe, TranscribeTask, TranscriptFormat};
use sea_orm::{ConnectionTrait as _, Database, DbBackend};
use storage::files::{FileKind, NewFile};
use storage::ids::UserId;
use storage::jobs::{Job, JobFilter, NewJob, Submitted};
use storage::page::Page;
use storage::users::{Name, NewUser};
use storage::{Storage, StorageConfig};
use tokio::io::AsyncWriteExt as _;

/// Jobs that wait.
const DEPTHS: [u32; 3] = [10, 10_000, 1_000_000];
const ROUNDS: usize = 500;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let on_disk = format!("sqlite://{}?mode=rwc", directory.path().join("voxmill.db").display());
    let config = StorageConfig {
        database_url: std::env::args().nth(1).unwrap_or(on_disk),
        database_connections: 4,
        data_directory: directory.path().join("data"),
        objects: storage::objects::ObjectsConfig::Disk,
        default_quota_bytes: u64::MAX,
        retention: None,
        redis: None,
    };
    migrations::up(&config.database_url).await?;
    let storage = Storage::open(&config).await?;
    let (ada, bob) = (User::new(&storage, "ada").await?, User::new(&storage, "bob").await?);
    ada.submit().await?;
    storage.jobs.dispatch(JobKind::Transcribe, 1).await?;
    ada.submit().await?;
    let (mut report, mut waiting) = (BTreeMap::new(), 1);
    for depth in DEPTHS {
        copy_first_job(&config.database_url, waiting..depth).await?;
        waiting = depth;
        let mut spent = Spent::default();
        for _ in 0..ROUNDS {
            round(&storage, (&ada, &bob), &mut spent).await?;
        }
        report.insert(depth, spent.quantiles());
    }
    writeln!(std::io::stdout(), "{}", serde_json::json!({ "milliseconds": report }))?;
    Ok(())
}

/// A newcomer's job from its submission to its end, behind all of the other user's.
async fn round(
    storage: &Storage,
    (ada, bob): (&User<'_>, &User<'_>),
    spent: &mut Spent,
) -> anyhow::Result<()> {
    let jobs = &storage.jobs;
    let job = spent.on("submit", bob.submit()).await?;
    spent.on("queue position", jobs.queue_position(&job)).await?;
    // The newcomer's comes first, for the other has one queued.
    let picked = spent.on("dispatch", jobs.dispatch(JobKind::Transcribe, 1)).await?;
    ensure!(picked.contains(&job.id), "a newcomer is not seen behind a million jobs of another");
    let claim = spent.on("claim", jobs.claim(job.id, "worker")).await?.context("the job is not claimed")?;
    spent.on("renew", jobs.renew(&claim.lease, 1.0, "stage")).await?;
    let page = Page { limit: 20, cursor: None };
    spent.on("list", jobs.list(ada.id, &JobFilter::default(), &page)).await?;
    ensure!(jobs.cancelled(&claim.lease).await?, "the lease is lost");
    Ok(())
}

#[derive(Default)]
struct Spent(BTreeMap<&'static str, Vec<Duration>>);

impl Spent {
    async fn on<T>(&mut self, path: &'static str, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let outcome = work.await;
        self.0.entry(path).or_default().push(started.elapsed());
        outcome
    }

    /// The median and the 99th of a hundred, in milliseconds.
    fn quantiles(self) -> BTreeMap<&'static str, [f64; 2]> {
        let of = |mut spent: Vec<Duration>| {
            spent.sort();
            [spent.len() / 2, spent.len() * 99 / 100].map(|index| spent[index].as_secs_f64() * 1000.0)
        };
        self.0.into_iter().map(|(path, spent)| (path, of(spent))).collect()
    }
}

/// Somebody with a recording.
struct User<'a> {
    storage: &'a Storage,
    id: UserId,
    recording: uuid::Uuid,
}

impl<'a> User<'a> {
    async fn new(storage: &'a Storage, name: &str) -> anyhow::Result<Self> {
        let new = NewUser {
            email: format!("{name}@example.org"),
            password_hash: String::new(),
            name: Name::full(name),
        };
        let id = storage.users.create(new).await?.id;
        let mut staging = storage.objects.stage().await?;
        staging.write_all(b"sound").await?;
        let sound = AudioInfo { codec: "pcm_s16le".to_owned(), sample_rate: 16_000, channels: 1 };
        let new = NewFile {
            owner: id,
            project_name: None,
            filename: "recording.wav".to_owned(),
            content_type: "audio/wav".to_owned(),
            kind: FileKind::Audio,
            media: Some(MediaInfo {
                duration_seconds: 1.0,
                container: "wav".to_owned(),
                video: None,
                audio: Some(sound),
            }),
            staged: staging.finish().await?,
            upload: None,
        };
        Ok(Self { storage, id, recording: storage.files.insert(new).await?.id.as_uuid() })
    }

    async fn submit(&self) -> anyhow::Result<Job> {
        let parameters = Parameters::Transcribe(Transcribe {
            audio_file_id: self.recording,
            source_language: None,
            task: TranscribeTask::Transcribe,
            model: None,
            word_timestamps: false,
            prompt: None,
            output_formats: vec![TranscriptFormat::Json],
        });
        let new = NewJob {
            owner: self.id,
            parameters,
            priority: 0,
            project: None,
            request_id: None,
            trace_parent: None,
            idempotency: None,
            builtin_voices: vec![],
            callback: None,
        };
        match self.storage.jobs.submit(new).await? {
            Submitted::New(job) | Submitted::Same(job) => Ok(job),
        }
    }
}

/// Each copy with the owner's next turn.
async fn copy_first_job(url: &str, turns: Range<u32>) -> anyhow::Result<()> {
    let database = Database::connect(url).await?;
    let columns = "owner_id, kind, priority, state, parameters, attempt, crashes, max_attempts, run_after, \
                   lease_epoch, progress, version, created_at";
    let id = match database.get_database_backend() {
        DbBackend::Postgres => "gen_random_uuid()",
        _ => "randomblob(16)",
    };
    let sql = format!(
        "WITH RECURSIVE copies(number) AS (SELECT {first} UNION ALL SELECT number + 1 FROM copies WHERE number < {last}) \
         INSERT INTO jobs (id, turn, {columns}) SELECT {id}, copies.number, {columns} \
         FROM copies, (SELECT * FROM jobs WHERE state = 'waiting' LIMIT 1) AS original",
        first = turns.start,
        last = turns.end - 1,
    );
    database.execute_unprepared(&sql).await?;
    // As it would be of itself after a while.
    database.execute_unprepared("VACUUM").await?;
    database.execute_unprepared("ANALYZE").await?;
    database.close().await?;
    Ok(())
}
