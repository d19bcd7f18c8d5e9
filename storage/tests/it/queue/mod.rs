//! Wake-ups: all arrive, in order, one at a time, whatever carries them.

mod consumer;
mod redis;

use crate::servers::Redis;
use consumer::{Consumer, KIND, in_time, jobs};
use futures_util::FutureExt as _;
use pipeline::parameters::JobKind;
use std::sync::Arc;
use storage::RedisConfig;
use storage::ids::JobId;
use storage::queue::{Handler, MemoryQueue, Queue, RedisQueue};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_keeps_the_contract() {
    contract(|| Arc::new(MemoryQueue::new()), 16_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_keeps_the_contract() {
    let server = Redis::start();
    let fresh = || -> Arc<dyn Queue> {
        server.flush();
        queue(&server)
    };
    contract(fresh, 2_000).await;
}

fn queue(server: &Redis) -> Arc<dyn Queue> {
    let config = RedisConfig { url: server.url(), prefix: "test".into() };
    Arc::new(RedisQueue::open(&config).unwrap())
}

/// `pushes` is how many race each other.
async fn contract(fresh: impl Fn() -> Arc<dyn Queue>, pushes: usize) {
    jobs_are_handed_over_in_order_and_one_at_a_time(fresh()).await;
    a_job_that_waits_in_the_queue_is_there_once(fresh()).await;
    each_kind_has_a_queue_of_its_own(fresh()).await;
    no_push_is_lost_while_many_push_and_the_consumer_takes(fresh(), pushes).await;
    whoever_pushes_is_told_at_the_start_and_then_no_more(fresh()).await;
}

async fn jobs_are_handed_over_in_order_and_one_at_a_time(queue: Arc<dyn Queue>) {
    let mut consumer = Consumer::start(queue, 0);
    let jobs = jobs(20);
    for job in &jobs {
        consumer.push(*job).await;
    }
    for job in &jobs {
        assert_eq!(consumer.next().await, *job);
        assert!(consumer.handed.try_recv().is_err(), "the next has to wait");
        consumer.permits.add_permits(1);
    }
    // A handler that waits does not hold up the end.
    consumer.push(JobId::new()).await;
    consumer.next().await;
    consumer.stop().await;
}

async fn a_job_that_waits_in_the_queue_is_there_once(queue: Arc<dyn Queue>) {
    let mut consumer = Consumer::start(queue, 0);
    let [first, second] = [JobId::new(), JobId::new()];
    consumer.push(first).await;
    assert_eq!(consumer.next().await, first);
    for job in [second, second, second] {
        consumer.push(job).await;
    }
    // It was taken, so it may come again.
    consumer.push(first).await;
    consumer.permits.add_permits(3);
    assert_eq!((consumer.next().await, consumer.next().await), (second, first));
    // As often as it is pushed and taken.
    consumer.push(first).await;
    assert_eq!(consumer.next().await, first);
    consumer.stop().await;
}

async fn each_kind_has_a_queue_of_its_own(queue: Arc<dyn Queue>) {
    let mut consumer = Consumer::start(queue.clone(), 1);
    queue.push(JobKind::CloneVoice, JobId::new()).await.unwrap();
    let job = JobId::new();
    consumer.push(job).await;
    assert_eq!(consumer.next().await, job);
    consumer.stop().await;
}

async fn no_push_is_lost_while_many_push_and_the_consumer_takes(queue: Arc<dyn Queue>, pushes: usize) {
    const PUSHERS: usize = 8;
    let mut consumer = Consumer::start(queue.clone(), pushes);
    for _ in 0..PUSHERS {
        let queue = queue.clone();
        tokio::spawn(async move {
            for _ in 0..pushes / PUSHERS {
                queue.push(KIND, JobId::new()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..pushes {
        consumer.next().await;
    }
    consumer.stop().await;
}

async fn whoever_pushes_is_told_at_the_start_and_then_no_more(queue: Arc<dyn Queue>) {
    in_time(queue.forgot()).await;
    assert!(queue.forgot().now_or_never().is_none());
}

#[tokio::test]
async fn a_kind_has_one_consumer_in_memory() {
    let queue = Arc::new(MemoryQueue::new());
    let consumer = Consumer::start(queue.clone(), 0);
    let never: Handler = Arc::new(|_| Box::pin(async {}));
    tokio::task::yield_now().await;
    assert!(queue.run(KIND, never, CancellationToken::new()).await.is_err());
    consumer.stop().await;
}
