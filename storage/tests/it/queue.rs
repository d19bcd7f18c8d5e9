//! Wake-ups: all arrive, in order, one at a time.

use std::sync::Arc;
use std::time::Duration;

use pipeline::parameters::JobKind;
use storage::ids::JobId;
use storage::queue::{Handler, MemoryQueue, Queue};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const KIND: JobKind = JobKind::Transcribe;
const LONG: Duration = Duration::from_secs(30);

/// A consumer that says which job it was handed, and takes the next when it gets a permit.
struct Consumer {
    queue: Arc<MemoryQueue>,
    handed: mpsc::UnboundedReceiver<JobId>,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Consumer {
    fn start(permits: usize) -> Self {
        let (queue, shutdown) = (Arc::new(MemoryQueue::new()), CancellationToken::new());
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

    async fn next(&mut self) -> JobId {
        timeout(LONG, self.handed.recv()).await.expect("a wake-up arrives").unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(LONG, self.running).await.expect("it ends").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_handed_over_in_order_and_one_at_a_time() {
    let mut consumer = Consumer::start(0);
    let jobs: Vec<JobId> = (0..20).map(|_| JobId::new()).collect();
    for job in &jobs {
        consumer.queue.push(KIND, *job).await.unwrap();
    }
    for job in &jobs {
        assert_eq!(consumer.next().await, *job);
        assert!(consumer.handed.try_recv().is_err(), "the next has to wait");
        consumer.permits.add_permits(1);
    }
    // A handler that waits does not hold up the end.
    consumer.queue.push(KIND, JobId::new()).await.unwrap();
    consumer.next().await;
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_in_the_queue_is_there_once() {
    let mut consumer = Consumer::start(0);
    let [first, second] = [JobId::new(), JobId::new()];
    for job in [first, second, second, second] {
        consumer.queue.push(KIND, job).await.unwrap();
    }
    assert_eq!(consumer.next().await, first);
    // It was taken, so it may come again.
    consumer.queue.push(KIND, first).await.unwrap();
    consumer.permits.add_permits(3);
    assert_eq!((consumer.next().await, consumer.next().await), (second, first));
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_push_is_lost_while_many_push_and_the_consumer_takes() {
    const PUSHERS: usize = 8;
    const EACH: usize = 2_000;
    let mut consumer = Consumer::start(PUSHERS * EACH);
    for _ in 0..PUSHERS {
        let queue = consumer.queue.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                queue.push(KIND, JobId::new()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..PUSHERS * EACH {
        consumer.next().await;
    }
    consumer.stop().await;
}

#[tokio::test]
async fn a_kind_has_one_consumer() {
    let consumer = Consumer::start(0);
    let never: Handler = Arc::new(|_| Box::pin(async {}));
    tokio::task::yield_now().await;
    assert!(consumer.queue.run(KIND, never, CancellationToken::new()).await.is_err());
    consumer.stop().await;
}
