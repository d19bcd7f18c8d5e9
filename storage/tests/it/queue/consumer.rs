//! A consumer that a test looks at.

use pipeline::parameters::JobKind;
use std::sync::Arc;
use std::time::Duration;
use storage::ids::JobId;
use storage::queue::{Handler, Queue};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(super) const KIND: JobKind = JobKind::Transcribe;
const LONG: Duration = Duration::from_secs(30);

/// Says which job it was handed, and takes the next when it gets a permit.
pub(super) struct Consumer {
    queue: Arc<dyn Queue>,
    pub(super) handed: mpsc::UnboundedReceiver<JobId>,
    pub(super) permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Consumer {
    pub(super) fn start(queue: Arc<dyn Queue>, permits: usize) -> Self {
        let shutdown = CancellationToken::new();
        let permits = Arc::new(Semaphore::new(permits));
        let (sender, handed) = mpsc::unbounded_channel();
        let allowed = permits.clone();
        let handler: Handler = Arc::new(move |job| {
            sender.send(job).unwrap();
            let allowed = allowed.clone();
            Box::pin(async move { allowed.acquire().await.unwrap().forget() })
        });
        let (consumed, until) = (queue.clone(), shutdown.clone());
        let running = tokio::spawn(async move { consumed.run(KIND, handler, until).await.unwrap() });
        Self { queue, handed, permits, shutdown, running }
    }

    /// One that never has to wait.
    pub(super) fn greedy(queue: Arc<dyn Queue>) -> Self {
        Self::start(queue, 1 << 20)
    }

    pub(super) async fn push(&self, job: JobId) {
        in_time(self.queue.push(KIND, job)).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> JobId {
        in_time(self.handed.recv()).await.unwrap()
    }

    /// The job, which other ones may come before: what was handed over in a storm may come a second time.
    pub(super) async fn hears_of(&mut self, job: JobId) {
        while self.next().await != job {}
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        in_time(self.running).await.unwrap();
    }

    pub(super) fn runs(&self) -> bool {
        !self.running.is_finished()
    }
}

pub(super) fn jobs(number: usize) -> Vec<JobId> {
    (0..number).map(|_| JobId::new()).collect()
}

pub(super) async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    timeout(LONG, awaited).await.expect("it happens in time")
}
