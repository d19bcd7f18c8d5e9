//! Sees one claimed job through to its end, under its lease.
//!
//! The job runs in a task of its own. This side watches: it renews the lease with the progress, and stops the job when
//! its owner cancels it, the lease is lost, its time is over, or the process is about to leave.

use crate::Services;
use crate::context::{Artifact, JobContext, JobError, Outcome};
use crate::jobs;
use crate::patience::patiently;
use crate::progress::{Progress, Reached};
use anyhow::Context as _;
use futures_util::StreamExt as _;
use pipeline::failure::Failure;
use pipeline::parameters::JobKind;
use pipeline::{stage, trace};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use storage::jobs::{Claim, Completion, Job, Lease, NewOutput, Renewal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

/// How often the row is looked at: a cancel bites within this and the time the job takes to stop.
const LOOK: Duration = Duration::from_secs(1);
/// The lease lives 60 s, so two renewals may fail before it is lost.
const RENEW: Duration = Duration::from_secs(15);
/// Without the database the lease cannot be renewed; the job is stopped before somebody else may claim it.
const SELF_FENCE: Duration = Duration::from_secs(50);
/// A look has this long at least.
const LOOKING: Duration = Duration::from_secs(5);
/// How long the end of a job is tried to be written.
const WRITING: Duration = Duration::from_secs(600);
/// The same where the process is about to leave: later, the lease runs out, and the job counts a crash that was none.
const LEAVING: Duration = Duration::from_secs(10);
/// Progress that is worth a write before the lease needs one.
const NOTEWORTHY: f32 = 1.0;

/// A job that was told to stop and does not is left behind after this.
const STOPPING: Duration = Duration::from_secs(30);

/// Why a job was stopped before its end.
enum Stop {
    Cancelled,
    LeaseLost,
    /// The database said nothing for so long that the lease may be lost.
    Unanswered,
    TimedOut,
    HandedBack,
}

/// How the watch over a job came to its end.
enum Watched {
    Ended(Result<Result<Completion, JobError>, JoinError>),
    Stopped(Stop),
}

/// Runs the claimed job to its end and writes that end into its row. `hand_back` ends it early, without a trace.
pub(crate) async fn run(services: Services, mut claim: Claim, hand_back: CancellationToken) {
    let Claim { job, lease, .. } = &claim;
    let kind = job.kind.as_str();
    let span = tracing::info_span!(
        "job",
        job.id = %job.id,
        job.kind = kind,
        job.attempt = job.attempt,
        job.epoch = lease.epoch,
        job.end = Empty,
        request.id = job.request_id.as_deref(),
        trace_id = Empty,
        otel.status_code = Empty,
    );
    // Each attempt continues what submitted the job; whom it calls is called by the attempt.
    claim.job.trace_parent = trace::join(&span, job.trace_parent);
    let job = &claim.job;
    async {
        tracing::info!("started {kind} job {}", job.id);
        let started = Instant::now();
        let ended = see_through(&services, &claim, &hand_back).await;
        let seconds = started.elapsed().as_secs_f64();
        match ended {
            Ok(end) => {
                tracing::info!(end, duration_seconds = seconds, "{kind} job {}: {end}", job.id);
                Span::current().record("job.end", end);
                if matches!(end, "failed" | "timed_out" | "lost") {
                    Span::current().record("otel.status_code", "ERROR");
                }
                metrics::counter!("voxmill_job_runs_total", "kind" => kind, "end" => end).increment(1);
                metrics::histogram!("voxmill_job_run_seconds", "kind" => kind).record(seconds);
            }
            // The lease runs out, and the reaper returns the job.
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "could not write the end of job {}", job.id)
            }
        }
    }
    .instrument(span)
    .await;
}

/// Empties the directory that jobs run in. Whatever is there belongs to a process that is gone.
pub(crate) async fn clear(work_directory: &Path) -> anyhow::Result<()> {
    match tokio::fs::remove_dir_all(work_directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("could not clear the work directory")
        }
        _ => tokio::fs::create_dir_all(work_directory).await.context("could not make the work directory"),
    }
}

/// The word for how the job ended.
async fn see_through(
    services: &Services,
    claim: &Claim,
    hand_back: &CancellationToken,
) -> storage::error::Result<&'static str> {
    let Claim { job, parameters, lease, .. } = claim;
    let started = Instant::now();
    let directory = services.config.work_directory.join(job.id.to_string()).join(lease.epoch.to_string());
    let first = stage::stages(job.kind).first().map_or("", |stage| stage.name);
    let (progress, reached) = Progress::begin(job.kind, first);
    let stop = CancellationToken::new();
    // A delivery goes out also where the disk is full.
    let makes_files = job.kind != JobKind::DeliverWebhook;
    let context = JobContext {
        services: services.clone(),
        job: job.clone(),
        parameters: parameters.clone(),
        lease: *lease,
        directory: directory.clone(),
        progress,
        stop: stop.clone(),
    };
    let mut task = tokio::spawn(
        async move {
            if makes_files {
                tokio::fs::create_dir_all(&context.directory).await?;
            }
            let outcome = jobs::run(&context).await?;
            store(&context, outcome).await
        }
        .in_current_span(),
    );
    let mut watched = watch_over(services, &mut task, Watch { job, lease, reached, hand_back }).await;
    if let Watched::Stopped(why) = &watched {
        stop.cancel();
        match tokio::time::timeout(STOPPING, &mut task).await {
            // It was done before it was told, and the work of hours is not thrown away for an outage.
            Ok(ended @ Ok(Ok(_))) if matches!(why, Stop::Unanswered) => watched = Watched::Ended(ended),
            Ok(_) => {}
            Err(_) => {
                tracing::error!("the job does not stop; leaving it behind");
                task.abort();
            }
        }
    }
    let mut keep = false;
    let end = match watched {
        Watched::Ended(Ok(Ok(completion))) => {
            record_speed(job, &completion, started.elapsed());
            let published =
                written(WRITING, || services.storage.jobs.complete(lease, completion.clone())).await;
            // After an error nobody knows whether the files are visible; if not, the sweep finds the objects.
            keep = *published.as_ref().unwrap_or(&true);
            published.map(|published| if published { "completed" } else { "lost" })
        }
        Watched::Ended(Ok(Err(JobError::Failed(failure)))) => failed_end(services, lease, &failure).await,
        Watched::Ended(Ok(Err(JobError::Internal(cause)))) => {
            tracing::error!(error = format!("{cause:#}"), "the job failed");
            failed_end(services, lease, &Failure::internal()).await
        }
        // Nobody told it to stop, so something else did.
        Watched::Ended(Ok(Err(JobError::Stopped))) => failed_end(services, lease, &Failure::internal()).await,
        Watched::Ended(Err(panic)) => {
            tracing::error!(error = %panic, "the job panicked");
            failed_end(services, lease, &Failure::internal()).await
        }
        Watched::Stopped(why) => stopped_end(services, lease, why, hand_back).await,
    };
    if makes_files {
        remove_directory(&directory).await;
        discard(services, lease, Kept(keep)).await;
    }
    end
}

/// The seconds of work for a second of media.
fn record_speed(job: &Job, completion: &Completion, took: Duration) {
    if let Some(media) = completion.result["duration_seconds"].as_f64().filter(|seconds| *seconds > 0.0) {
        let factor = took.as_secs_f64() / media;
        metrics::histogram!("voxmill_real_time_factor", "kind" => job.kind.as_str()).record(factor);
    }
}

async fn stopped_end(
    services: &Services,
    lease: &Lease,
    why: Stop,
    hand_back: &CancellationToken,
) -> storage::error::Result<&'static str> {
    let jobs = &services.storage.jobs;
    let timed_out = Failure::timed_out();
    let (held, end) = match why {
        Stop::Cancelled => (written(WRITING, || jobs.cancelled(lease)).await?, "cancelled"),
        Stop::TimedOut => (written(WRITING, || jobs.fail(lease, &timed_out, 0.0)).await?, "timed_out"),
        Stop::HandedBack => (written(LEAVING, || jobs.hand_back(lease)).await?, "handed_back"),
        // Nobody died: if nobody else has it by then, the job waits for its turn as before.
        Stop::Unanswered => {
            let handed = written(WRITING, || jobs.hand_back(lease));
            let held = match hand_back.run_until_cancelled(handed).await {
                Some(held) => held?,
                None => written(LEAVING, || jobs.hand_back(lease)).await?,
            };
            (held, "handed_back")
        }
        Stop::LeaseLost => (false, "lost"),
    };
    Ok(if held { end } else { "lost" })
}

/// Writes an end, again where that fails: hours of work must not be lost to a database that is busy, or to a disk that
/// is full for a while. Whoever has the job by then has another epoch, so a late write changes nothing.
async fn written<T, Write>(limit: Duration, write: impl Fn() -> Write) -> storage::error::Result<T>
where
    Write: Future<Output = storage::error::Result<T>>,
{
    patiently(limit, |_| true, write).await
}

async fn failed_end(
    services: &Services,
    lease: &Lease,
    failure: &Failure,
) -> storage::error::Result<&'static str> {
    tracing::warn!(failure.code = failure.code, failure.retryable, "{}", failure.message);
    let random = rand::random();
    let held = written(WRITING, || services.storage.jobs.fail(lease, failure, random)).await?;
    Ok(if held { "failed" } else { "lost" })
}

struct Watch<'a> {
    job: &'a Job,
    lease: &'a Lease,
    reached: watch::Receiver<Reached>,
    hand_back: &'a CancellationToken,
}

/// Waits for the task's end, or for a reason to stop it.
async fn watch_over(
    services: &Services,
    task: &mut JoinHandle<Result<Completion, JobError>>,
    watch: Watch<'_>,
) -> Watched {
    let Watch { job, lease, reached, hand_back } = watch;
    let jobs = &services.storage.jobs;
    let mut changes = services.storage.events.subscribe(job.id);
    let deadline = tokio::time::sleep(services.config.time_limit);
    tokio::pin!(deadline);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = Reached { stage: "", fraction: 0.0 };
    let mut percent = 0.0f32;
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            ended = &mut *task => return Watched::Ended(ended),
            () = hand_back.cancelled() => return Watched::Stopped(Stop::HandedBack),
            () = &mut deadline => return Watched::Stopped(Stop::TimedOut),
            _ = look.tick() => {}
            _ = changes.next() => {}
        }
        let now = *reached.borrow();
        let current = stage::progress(job.kind, now.stage, now.fraction).max(percent);
        let noteworthy = now.stage != written.stage || current - percent >= NOTEWORTHY;
        let asked = Instant::now();
        let renews = noteworthy || renewed.elapsed() >= RENEW;
        let question = async {
            if renews { jobs.renew(lease, current, now.stage).await } else { jobs.standing(lease).await }
        };
        // A database that falls silent answers no sooner than one that refuses. A machine that slept asks once more: its
        // lease may be held still, as nobody died.
        match timeout_at((renewed + SELF_FENCE).max(asked + LOOKING), question).await {
            Ok(Ok(Renewal::CancelRequested)) => return Watched::Stopped(Stop::Cancelled),
            Ok(Ok(Renewal::Lost)) => return Watched::Stopped(Stop::LeaseLost),
            Err(_elapsed) => return Watched::Stopped(Stop::Unanswered),
            // The lease counts from before the wait for the database.
            Ok(Ok(Renewal::Held)) if renews => (renewed, written, percent) = (asked, now, current),
            Ok(Ok(Renewal::Held)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn Error, "could not renew the lease");
                if renewed.elapsed() >= SELF_FENCE {
                    return Watched::Stopped(Stop::Unanswered);
                }
            }
        }
    }
}

/// Puts the artifacts where the store keeps them, under keys that carry the epoch: nobody sees them before the row does.
async fn store(context: &JobContext, outcome: Outcome) -> Result<Completion, JobError> {
    context.enter("storing");
    let mut outputs = Vec::with_capacity(outcome.artifacts.len());
    for (position, artifact) in outcome.artifacts.into_iter().enumerate() {
        if context.stop.is_cancelled() {
            return Err(JobError::Stopped);
        }
        let Artifact { path, filename, content_type, kind, media } = artifact;
        let key = context.lease.object_key(&position.to_string())?;
        let objects = &context.services.storage.objects;
        let meta = context.ask(|| objects.publish_file(&path, &key)).await?;
        outputs.push(NewOutput {
            filename,
            content_type: content_type.to_owned(),
            kind,
            media,
            object_key: key,
            size_bytes: meta.size_bytes,
            sha256: meta.sha256,
        });
    }
    Ok(Completion { outputs, result: outcome.result })
}

/// Removes the private directory of an attempt.
async fn remove_directory(directory: &Path) {
    if let Err(error) = tokio::fs::remove_dir_all(directory).await {
        tracing::debug!(%error, "could not remove the directory of a job");
    }
    if let Some(parent) = directory.parent() {
        // Stays while another attempt runs here.
        let _ = tokio::fs::remove_dir(parent).await;
    }
}

/// Whether the objects of the attempt that ends are left where they are.
struct Kept(bool);

/// Removes the objects of earlier attempts, and those of this one unless they are kept.
async fn discard(services: &Services, lease: &Lease, kept: Kept) {
    let last = if kept.0 { lease.epoch - 1 } else { lease.epoch };
    for epoch in 1..=last {
        let attempt = Lease { epoch, ..*lease };
        if let Err(error) = remove_objects(services, &attempt).await {
            // The sweep finds them.
            tracing::warn!(
                error = &error as &dyn Error,
                "could not remove the objects of epoch {epoch} of job {}",
                lease.job
            );
        }
    }
}

async fn remove_objects(services: &Services, attempt: &Lease) -> storage::error::Result<()> {
    let objects = &services.storage.objects;
    for (key, _) in objects.list(&attempt.prefix()).await? {
        objects.delete(&key).await?;
    }
    Ok(())
}
