//! How long a wake-up takes by Redis, from the push to the handler, and how many go through in a second.
//!
//! `cargo run --release --example wake_ups -- redis://127.0.0.1:6379`, on a Redis that nobody else uses.

#![expect(clippy::print_stdout, reason = "what is measured is printed")]

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use pipeline::parameters::JobKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use storage::RedisConfig;
use storage::ids::JobId;
use storage::queue::{Handler, Queue, RedisQueue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const KIND: JobKind = JobKind::Transcribe;
const SINGLE: usize = 500;
const MANY: usize = 5_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("the URL of a Redis is missing")?;
    let queue = Arc::new(RedisQueue::open(&RedisConfig { url, prefix: "measure".to_owned() })?);
    // Answers once Redis does; until then pushes are left for later.
    queue.forgot().await;
    let shutdown = CancellationToken::new();
    let (sender, mut handed) = mpsc::unbounded_channel();
    let handler: Handler = Arc::new(move |job| {
        let _ = sender.send((job, Instant::now()));
        Box::pin(async {})
    });
    let (consumed, until) = (queue.clone(), shutdown.clone());
    let running = tokio::spawn(async move { consumed.run(KIND, handler, until).await });
    let mut took = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        let begun = Instant::now();
        queue.push(KIND, JobId::new()).await?;
        let (_, at) = handed.recv().await.context("the consumer ended")?;
        took.push(at - begun);
        // The consumer is asleep again by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    took.sort();
    let percentile = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!("idle: p50 {:?}, p99 {:?}, longest {:?}", percentile(50), percentile(99), percentile(100));

    let begun = Instant::now();
    let pushes = stream::iter(0..MANY).map(|_| queue.push(KIND, JobId::new())).buffer_unordered(32);
    pushes.for_each(async |_| {}).await;
    let pushed = begun.elapsed();
    for _ in 0..MANY {
        handed.recv().await.context("the consumer ended")?;
    }
    let rate = |time: Duration| MANY as f64 / time.as_secs_f64();
    println!(
        "{MANY} together: {:.0} pushes and {:.0} takes in a second",
        rate(pushed),
        rate(begun.elapsed())
    );
    shutdown.cancel();
    running.await??;
    Ok(())
}
