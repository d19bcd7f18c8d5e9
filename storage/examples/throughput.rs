//! The job engine without the work: jobs that do nothing, from their submission to their end, over the given back ends.
//! For the benchmark: a line of JSON. `throughput DATABASE_URL REDIS_URL JOBS CONSUMERS`

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use pipeline::media_info::{AudioInfo, MediaInfo};
use pipeline::parameters::{AudioFormat, ExtractAudio, JobKind, Parameters};
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::files::{FileKind, NewFile};
use storage::ids::UserId;
use storage::jobs::{Completion, NewJob};
use storage::queue::Handler;
use storage::users::{Name, NewUser};
use storage::{RedisConfig, Storage, StorageConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const KIND: JobKind = JobKind::ExtractAudio;
/// Changes of one owner follow one another, so there are as many owners as submit at once.
const OWNERS: usize = 16;
const SINGLE: usize = 200;
const TICK: Duration = Duration::from_millis(500);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database_url, redis_url, jobs, consumers] = &arguments[..] else {
        anyhow::bail!("usage: throughput DATABASE_URL REDIS_URL JOBS CONSUMERS")
    };
    let (jobs, consumers): (usize, usize) = (jobs.parse()?, consumers.parse()?);
    let directory = tempfile::tempdir()?;
    let config = StorageConfig {
        database_url: database_url.clone(),
        database_connections: 32,
        data_directory: directory.path().to_owned(),
        objects: storage::objects::ObjectsConfig::Disk,
        default_quota_bytes: u64::MAX,
        retention: None,
        redis: Some(RedisConfig { url: redis_url.clone(), prefix: Uuid::new_v4().simple().to_string() }),
    };
    migrations::up(&config.database_url).await?;
    let storage = Storage::open(&config).await?;
    storage.queue.forgot().await;
    let owners = stream::iter(0..OWNERS).then(|_| owner(&storage)).try_collect::<Vec<_>>().await?;

    let shutdown = CancellationToken::new();
    let (ended, mut ends) = mpsc::unbounded_channel();
    for _ in 0..consumers {
        let (queue, handler) = (storage.queue.clone(), handler(&storage, &ended));
        let until = shutdown.clone();
        tokio::spawn(async move { queue.run(KIND, handler, until).await });
    }
    tokio::spawn(dispatch(storage.clone(), 2 * consumers));

    let mut waits = vec![];
    for index in 0..SINGLE {
        let begun = Instant::now();
        submit(&storage, owners[index % OWNERS]).await?;
        let started: Instant = ends.recv().await.context("the consumers ended")?;
        waits.push((started - begun).as_secs_f64() * 1000.0);
    }
    waits.sort_by(f64::total_cmp);

    let begun = Instant::now();
    let submissions = stream::iter(0..jobs).map(|index| submit(&storage, owners[index % OWNERS]));
    let submitting = submissions.buffer_unordered(OWNERS).try_for_each(async |()| Ok(()));
    let ending = async {
        for _ in 0..jobs {
            ends.recv().await.context("the consumers ended")?;
        }
        anyhow::Ok(begun.elapsed())
    };
    let submitted = async {
        submitting.await?;
        anyhow::Ok(begun.elapsed())
    };
    let (submitted, took) = tokio::try_join!(submitted, ending)?;
    let report = serde_json::json!({
        "jobs": jobs,
        "submitted_per_second": jobs as f64 / submitted.as_secs_f64(),
        "jobs_per_second": jobs as f64 / took.as_secs_f64(),
        "start_p50_ms": waits[SINGLE / 2],
        "start_p99_ms": waits[SINGLE * 99 / 100],
    });
    shutdown.cancel();
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// As the worker's: claims, and ends what it claimed at once.
fn handler(storage: &Storage, ended: &mpsc::UnboundedSender<Instant>) -> Handler {
    let (storage, ended) = (storage.clone(), ended.clone());
    Arc::new(move |job| {
        let (storage, ended) = (storage.clone(), ended.clone());
        Box::pin(async move {
            let Ok(Some(claim)) = storage.jobs.claim(job, "throughput").await else { return };
            let started = Instant::now();
            let completion = Completion { outputs: vec![], result: serde_json::json!({}) };
            if storage.jobs.complete(&claim.lease, completion).await.is_ok_and(|ended| ended) {
                let _ = ended.send(started);
            }
        })
    })
}

/// As the worker's dispatcher.
async fn dispatch(storage: Storage, depth: usize) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = storage.jobs.due().notified() => {}
        }
        let Ok(queued) = storage.jobs.queued().await else { continue };
        let queued = queued.get(&KIND).copied().unwrap_or(0);
        let room = depth.saturating_sub(usize::try_from(queued).unwrap_or(usize::MAX));
        for job in storage.jobs.dispatch(KIND, room).await.unwrap_or_default() {
            let _ = storage.queue.push(KIND, job).await;
        }
    }
}

type Owner = (UserId, Uuid);

async fn submit(storage: &Storage, (owner, file): Owner) -> anyhow::Result<()> {
    let parameters = Parameters::ExtractAudio(ExtractAudio {
        video_file_id: file,
        audio_format: AudioFormat::Wav,
        sample_rate: None,
        channels: None,
    });
    let new = NewJob {
        owner,
        parameters,
        priority: 0,
        project: None,
        request_id: None,
        idempotency: None,
        builtin_voices: vec![],
        callback: None,
        trace_parent: None,
    };
    storage.jobs.submit(new).await?;
    Ok(())
}

/// Somebody with a recording.
async fn owner(storage: &Storage) -> anyhow::Result<Owner> {
    let email = format!("{}@example.org", Uuid::new_v4().simple());
    let new = NewUser { email, password_hash: String::new(), name: Name::full("Ada") };
    let owner = storage.users.create(new).await?.id;
    let mut staging = storage.objects.stage().await?;
    staging.write_all(b"sound").await?;
    let sound = AudioInfo { codec: "pcm_s16le".to_owned(), sample_rate: 16_000, channels: 1 };
    let media =
        MediaInfo { duration_seconds: 1.0, container: "wav".to_owned(), video: None, audio: Some(sound) };
    let new = NewFile {
        owner,
        project_name: None,
        filename: "recording.wav".to_owned(),
        content_type: "audio/wav".to_owned(),
        kind: FileKind::Audio,
        media: Some(media),
        staged: staging.finish().await?,
        upload: None,
    };
    Ok((owner, storage.files.insert(new).await?.id.as_uuid()))
}
