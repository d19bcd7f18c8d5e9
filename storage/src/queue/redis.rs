//! The queue of many processes: apalis-redis, where it can be trusted, and scripts of ours beside it.
//!
//! apalis fetches, and keeps the heartbeats of workers. What it would keep or lose is not left to it: a task is pushed by
//! a script, for its own puts all tasks where it fails once eight thousand are due; it is forgotten as soon as it is
//! handed over, for nothing of its would be ever deleted; and what a dead worker held is put back by a script that drops
//! what is broken. The keys are apalis', so its version is pinned.

use super::{Handler, Queue};
use crate::{
    broker::{Broker, Complaints, Heard, RedisConfig},
    error::Result,
    ids::JobId,
};
use apalis::prelude::{BackendExt as _, Codec, PollSnapshot, PollStrategy, Service, Task, WorkerBuilder};
use apalis_redis::{Config, RedisStorage};
use async_trait::async_trait;
use futures_util::{StreamExt as _, future::BoxFuture, ready};
use pipeline::parameters::JobKind;
use redis::{RedisResult, Script};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, interval, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, PollSemaphore};
use uuid::Uuid;

/// How often a worker looks for a task whose nudge was lost.
const LOOK: Duration = Duration::from_millis(500);
/// A nudge that comes while a look is under way is followed by another one after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Missed heartbeats after which apalis takes a worker for dead: never, for it goes by the clocks of the workers' machines.
/// Our own script does, by that of Redis, after [`GONE`].
const MISSED: usize = 1_000_000;
const GONE: Duration = Duration::from_secs(40);
const TIDY: Duration = Duration::from_secs(10);
/// Between a worker that failed and the next one: longer each time, until one works for [`CALM`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const CALM: Duration = Duration::from_secs(10);
/// How long a push may hold up the dispatcher, and a worker that leaves its process.
const PATIENCE: Duration = Duration::from_secs(1);

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));
static TIDY_UP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("tidy.lua")));

pub struct RedisQueue {
    broker: Broker,
    /// The mark that was in Redis when it was last known to hold what was pushed.
    mark: Mutex<Option<String>>,
    /// A push failed, so something is missing. Others are not tried until the server answers again.
    behind: AtomicBool,
    complaints: Arc<Complaints>,
}

impl RedisQueue {
    /// Fails where the URL is none; a server that is away is waited for later.
    pub fn open(config: &RedisConfig) -> Result<Self> {
        Ok(Self::new(Broker::open(config)?))
    }

    pub(crate) fn new(broker: Broker) -> Self {
        let (mark, behind) = (Mutex::default(), AtomicBool::new(false));
        Self { broker, mark, behind, complaints: Arc::default() }
    }

    /// The mark in Redis, made where it is not there.
    async fn marked(&self) -> RedisResult<String> {
        let (key, made) = (self.broker.name("queue:mark"), Uuid::new_v4().to_string());
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(made).arg("NX");
        self.broker.query::<redis::Value>(&set).await?;
        self.broker.query(redis::cmd("GET").arg(&key)).await
    }

    /// A server that makes room by forgetting forgets wake-ups, too.
    async fn check_policy(&self) {
        let mut ask = redis::cmd("CONFIG");
        ask.arg("GET").arg("maxmemory-policy");
        // Where it may not be asked, nobody knows.
        let Ok(answer) = self.broker.query::<Vec<String>>(&ask).await else { return };
        if let Some(policy) = answer.get(1).filter(|policy| *policy != "noeviction") {
            tracing::warn!(policy, "Redis may forget keys; set its maxmemory-policy to noeviction");
        }
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, kind: JobKind, job: JobId) -> Result<()> {
        if self.behind.load(Ordering::Relaxed) {
            return Ok(());
        }
        let lane = Lane::new(&self.broker, kind);
        let pushed = timeout(PATIENCE, lane.push(job)).await;
        let Some(error) = failure(pushed) else { return Ok(()) };
        self.behind.store(true, Ordering::Relaxed);
        if self.complaints.may_be_said() {
            tracing::warn!(error, "Redis does not take wake-ups; they come when it is back");
        }
        Ok(())
    }

    async fn run(&self, kind: JobKind, handler: Handler, shutdown: CancellationToken) -> Result<()> {
        let (nudge, nudges) = mpsc::channel(1);
        let lane = Lane::new(&self.broker, kind);
        let mut pushes = self.broker.listen(lane.channel());
        let forward = async {
            while let Some(heard) = pushes.recv().await {
                match heard {
                    // One that waits already says the same.
                    Heard::Begun | Heard::Message(_) => drop(nudge.try_send(())),
                    Heard::Lost => {}
                }
            }
        };
        let consumer = Consumer {
            lane,
            handler,
            shutdown: shutdown.clone(),
            free: Arc::new(Semaphore::new(1)),
            nudges: Arc::new(Mutex::new(nudges)),
            complaints: self.complaints.clone(),
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = forward => {}
            () = consumer.consume() => {}
        }
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    async fn forgot(&self) {
        loop {
            if let Ok(found) = self.marked().await {
                let failed = self.behind.swap(false, Ordering::Relaxed);
                let known = self.mark.lock().unwrap_or_else(PoisonError::into_inner).replace(found.clone());
                if known.is_none() {
                    self.check_policy().await;
                }
                if failed || known != Some(found) {
                    return;
                }
            }
            sleep(LOOK).await;
        }
    }
}

/// The keys of one kind.
#[derive(Clone)]
struct Lane {
    broker: Broker,
    config: Config,
}

impl Lane {
    fn new(broker: &Broker, kind: JobKind) -> Self {
        let config = Config::default()
            .queue(broker.name(&format!("queue:{}", kind.as_str())))
            // With more, apalis sends no heartbeats while it holds some.
            .batch_size(1)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED)
            // Ours forget a task when it is handed over; nothing is left to lock or to answer.
            .lock_tasks(false)
            .persist_results(false)
            .emit_events(false);
        Self { broker: broker.clone(), config }
    }

    fn channel(&self) -> String {
        format!("{}:pushed", self.config.queue.as_ref())
    }

    async fn push(&self, job: JobId) -> RedisResult<()> {
        let travels = serde_json::json!(WakeUp { job_id: Some(job) }).to_string();
        let mut script = PUSH.key(self.config.active_jobs_list());
        script.key(self.config.job_data_hash()).key(self.config.job_meta_hash()).key(self.channel());
        script.arg(job.to_string()).arg(travels);
        self.broker.invoke(&script).await
    }

    async fn take(&self, task: &str, worker: &str) -> RedisResult<()> {
        let held = format!("{}:{worker}", self.config.inflight_jobs_set());
        let mut script = TAKE.key(self.config.active_jobs_list());
        script.key(self.config.job_data_hash()).key(self.config.job_meta_hash()).key(held).arg(task);
        self.broker.invoke(&script).await
    }

    async fn tidy(&self, worker: Known<'_>) -> RedisResult<()> {
        let (living, gone) = match worker {
            Known::Living(name) => (name, ""),
            Known::Gone(name) => ("", name),
        };
        let mut script = TIDY_UP.key(self.config.active_jobs_list());
        script.key(self.config.job_data_hash()).key(self.config.job_meta_hash());
        script.key(self.config.workers_set()).key(self.config.inflight_jobs_set());
        let queue = self.config.queue.as_ref();
        script.key(format!("{queue}:workers:metadata")).key(format!("{queue}:living"));
        script.arg(GONE.as_secs()).arg(living).arg(gone);
        self.broker.invoke(&script).await
    }
}

/// What is known of a worker.
enum Known<'a> {
    Living(&'a str),
    Gone(&'a str),
}

/// What runs workers of apalis, one after the other, for each dies of the first error.
struct Consumer {
    lane: Lane,
    handler: Handler,
    shutdown: CancellationToken,
    /// Taken while the handler is at work: nothing is fetched then, for others may be free to take it.
    free: Arc<Semaphore>,
    nudges: Arc<Mutex<mpsc::Receiver<()>>>,
    complaints: Arc<Complaints>,
}

impl Consumer {
    /// Never returns.
    async fn consume(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            // apalis takes the name of one that died for one that lives.
            let leaving = Leaving { lane: self.lane.clone(), worker: Some(Uuid::new_v4().to_string()) };
            let begun = Instant::now();
            let failed = self.work(leaving).await;
            if self.complaints.may_be_said() {
                let error = failed.err().unwrap_or_default();
                tracing::warn!(error, "Redis gives no wake-ups; trying again until it does");
            }
            if begun.elapsed() >= CALM {
                pause = FIRST_PAUSE;
            }
            sleep(pause.mul_f32(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the first error.
    async fn work(&self, mut leaving: Leaving) -> std::result::Result<(), String> {
        let worker = leaving.worker.clone().unwrap_or_default();
        self.lane.tidy(Known::Living(&worker)).await.map_err(|error| error.to_string())?;
        let take = Take {
            lane: self.lane.clone(),
            worker: worker.clone(),
            handler: self.handler.clone(),
            shutdown: self.shutdown.clone(),
            free: PollSemaphore::new(self.free.clone()),
            permit: None,
        };
        let storage = RedisStorage::<WakeUp>::new(self.lane.broker.connection())
            .with_config(self.lane.config.clone())
            .with_codec(Tolerant)
            .poll_with_strategy(Looks { nudges: self.nudges.clone(), next: Box::pin(sleep(LOOK)) });
        let mut events = WorkerBuilder::new(worker.clone()).backend(storage).build(take).stream().boxed();
        let working = async {
            while let Some(event) = events.next().await {
                event.map_err(|error| error.to_string())?;
            }
            Err("the worker ended".to_owned())
        };
        let tidying = async {
            let mut ticks = interval(TIDY);
            loop {
                ticks.tick().await;
                self.lane.tidy(Known::Living(&worker)).await.map_err(|error| error.to_string())?;
            }
        };
        let ended = tokio::select! {
            ended = working => ended,
            ended = tidying => ended,
        };
        drop(events);
        leaving.leave().await;
        ended
    }
}

/// Puts back what a worker holds when it ends, also where it is dropped.
struct Leaving {
    lane: Lane,
    /// None once it left.
    worker: Option<String>,
}

impl Leaving {
    async fn leave(&mut self) {
        if let Some(worker) = self.worker.take() {
            leave(self.lane.clone(), worker).await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            tokio::spawn(leave(self.lane.clone(), worker));
        }
    }
}

/// Where the server does not answer, others find the worker gone after a while.
async fn leave(lane: Lane, worker: String) {
    let _ = timeout(PATIENCE, lane.tidy(Known::Gone(&worker))).await;
}

/// Takes one task at a time, and the next when the handler says so.
struct Take {
    lane: Lane,
    worker: String,
    handler: Handler,
    shutdown: CancellationToken,
    free: PollSemaphore,
    permit: Option<OwnedSemaphorePermit>,
}

impl Service<Task<WakeUp>> for Take {
    type Response = ();
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<(), Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        if self.permit.is_none() {
            self.permit = ready!(self.free.poll_acquire(context));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<WakeUp>) -> Self::Future {
        let permit = self.permit.take();
        let (lane, worker, shutdown) = (self.lane.clone(), self.worker.clone(), self.shutdown.clone());
        let handler = self.handler.clone();
        Box::pin(async move {
            if let Some(id) = task.task_id() {
                // Where this fails the task comes a second time, and finds its job claimed.
                let _ = lane.take(&id.to_string(), &worker).await;
            }
            if let Some(job) = task.args.job_id {
                // Apart from the worker, which would send no heartbeats when it is told to end.
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        // First, so that a task that was taken is handed over.
                        () = handler(job) => {}
                        () = shutdown.cancelled() => {}
                    }
                    drop(permit);
                });
            }
            Ok(())
        })
    }
}

/// What travels. It must always decode, also in an older or newer process, so it holds nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct WakeUp {
    job_id: Option<JobId>,
}

/// Reads what is no wake-up as one for nobody: a worker of apalis dies of what it cannot read, and so does the next.
#[derive(Clone)]
struct Tolerant;

impl Codec<WakeUp> for Tolerant {
    type Error = Infallible;
    type Compact = Vec<u8>;

    fn encode(&self, wake_up: &WakeUp) -> std::result::Result<Vec<u8>, Infallible> {
        Ok(serde_json::json!(wake_up).to_string().into_bytes())
    }

    fn decode(&self, bytes: &Vec<u8>) -> std::result::Result<WakeUp, Infallible> {
        Ok(serde_json::from_slice(bytes).unwrap_or_default())
    }
}

/// When to look for a task: at every nudge, and now and then without one.
struct Looks {
    nudges: Arc<Mutex<mpsc::Receiver<()>>>,
    next: Pin<Box<Sleep>>,
}

impl PollStrategy for Looks {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut nudges = self.nudges.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nudged = false;
        while nudges.poll_recv(context) == Poll::Ready(Some(())) {
            nudged = true;
        }
        if nudged {
            self.next.as_mut().reset(Instant::now() + LOOK_AGAIN);
        }
        // Whether it is ready does not matter: the look follows anyway. It has to wake the worker for the one after.
        while self.next.as_mut().poll(context).is_ready() {
            self.next.as_mut().reset(Instant::now() + LOOK);
        }
        Poll::Pending
    }
}

fn failure<T>(answer: std::result::Result<RedisResult<T>, tokio::time::error::Elapsed>) -> Option<String> {
    match answer {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(late) => Some(late.to_string()),
    }
}
