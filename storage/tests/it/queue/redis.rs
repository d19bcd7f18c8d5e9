//! What apalis-redis does wrong, and a Redis that stalls, forgets or is gone: no wake-up that is pushed after is lost, and
//! whoever pushes is told when what was pushed before may be.

use super::consumer::{Consumer, KIND, in_time, jobs};
use super::queue;
use crate::servers::Redis;
use futures_util::{StreamExt as _, stream};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use storage::ids::JobId;

const LANE: &str = "test:queue:transcribe";

fn key(name: &str) -> String {
    format!("{LANE}:{name}")
}

/// The workers of apalis that have registered.
fn workers(server: &Redis) -> HashSet<String> {
    let listed = server.cli(&["ZRANGE", &key("workers"), "0", "-1"]);
    listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tick.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_thousand_that_are_due_are_handed_over() {
    let server = Redis::start();
    let queue = queue(&server);
    let jobs = jobs(9_000);
    let pushed = stream::iter(&jobs).map(|job| queue.push(KIND, *job));
    pushed.buffered(64).for_each(async |pushed| pushed.unwrap()).await;
    let mut consumer = Consumer::greedy(queue);
    let mut handed = HashSet::new();
    while handed.len() < jobs.len() {
        assert!(handed.insert(consumer.next().await), "once");
    }
    assert_eq!(handed, jobs.into_iter().collect());
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_jobs_and_each_comes_once() {
    let server = Redis::start();
    let (mut one, mut other) = (Consumer::greedy(queue(&server)), Consumer::greedy(queue(&server)));
    let jobs = jobs(500);
    for job in &jobs {
        one.push(*job).await;
    }
    let mut handed = HashSet::new();
    for _ in &jobs {
        let job = in_time(async {
            tokio::select! {
                job = one.handed.recv() => job.unwrap(),
                job = other.handed.recv() => job.unwrap(),
            }
        });
        assert!(handed.insert(job.await), "once");
    }
    assert_eq!(handed, jobs.into_iter().collect());
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_busy_leaves_the_next_job_to_others() {
    let server = Redis::start();
    let mut busy = Consumer::start(queue(&server), 0);
    busy.push(JobId::new()).await;
    busy.next().await;
    let mut free = Consumer::greedy(queue(&server));
    for job in jobs(10) {
        busy.push(job).await;
        assert_eq!(free.next().await, job);
    }
    busy.stop().await;
    free.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_what_was_handed_over_and_of_who_left() {
    let server = Redis::start();
    let mut consumer = Consumer::greedy(queue(&server));
    for job in jobs(100) {
        consumer.push(job).await;
        assert_eq!(consumer.next().await, job);
    }
    assert_eq!(workers(&server).len(), 1);
    consumer.stop().await;
    let left = || server.cli(&["KEYS", "test:*"]);
    eventually("the worker takes its keys along", || left().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_once_takes_what_waits() {
    let server = Redis::start();
    let queue = queue(&server);
    for _ in 0..5 {
        let mut consumer = Consumer::greedy(queue.clone());
        let job = JobId::new();
        consumer.push(job).await;
        assert_eq!(consumer.next().await, job);
        consumer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_seconds_kills_no_worker() {
    let server = Redis::start();
    let queue = queue(&server);
    in_time(queue.forgot()).await;
    let mut consumer = Consumer::greedy(queue.clone());
    eventually("a worker", || workers(&server).len() == 1).await;
    let before = workers(&server);
    server.pause(Duration::from_millis(1_500));
    let begun = Instant::now();
    let job = JobId::new();
    consumer.push(job).await;
    // Nobody knows whether it arrived.
    in_time(queue.forgot()).await;
    consumer.push(job).await;
    consumer.hears_of(job).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(workers(&server), before);
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_dropped_and_the_next_job_comes() {
    let server = Redis::start();
    let mut consumer = Consumer::greedy(queue(&server));
    let broken = |id: &str, data: Option<&str>, whole: bool| {
        if let Some(data) = data {
            server.cli(&["HSET", &key("data"), id, data]);
        }
        if whole {
            let meta = key(&format!("meta:{id}"));
            server.cli(&["HSET", &meta, "attempts", "0", "max_attempts", "1", "status", "Pending"]);
        }
        server.cli(&["RPUSH", &key("active"), id]);
    };
    broken("not JSON", Some("\u{1}{"), true);
    broken("of another time", Some(r#"{"job_id":7,"more":[]}"#), true);
    broken("without data", None, true);
    broken("without metadata", Some("{}"), false);
    let job = JobId::new();
    consumer.push(job).await;
    consumer.hears_of(job).await;
    consumer.stop().await;
    eventually("nothing of it is left", || server.cli(&["KEYS", "test:*"]).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_consumer_held_is_handed_to_another() {
    let server = Redis::start();
    let queue = queue(&server);
    let job = JobId::new();
    queue.push(KIND, job).await.unwrap();
    // As a process leaves it that is killed between fetching and handing over.
    let id = job.to_string();
    server.cli(&["LREM", &key("active"), "0", &id]);
    server.cli(&["SADD", &key("inflight:dead"), &id]);
    server.cli(&["HSET", &key("workers:metadata:dead"), "service", "x"]);
    server.cli(&["ZADD", &key("workers"), "1000", "dead"]);
    let mut consumer = Consumer::greedy(queue);
    assert_eq!(consumer.next().await, job);
    assert!(!workers(&server).contains("dead"));
    consumer.stop().await;
    eventually("nothing of it is left", || server.cli(&["KEYS", "test:*"]).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong_is_not_taken_for_dead() {
    let server = Redis::start();
    let mut behind = Consumer::greedy(queue(&server));
    eventually("a worker", || workers(&server).len() == 1).await;
    let before = workers(&server);
    // What apalis notes at each heartbeat, by the clock of the worker's machine.
    let name = before.iter().next().unwrap();
    server.cli(&["ZADD", &key("workers"), "XX", "1000", name]);
    let other = Consumer::start(queue(&server), 0);
    eventually("another that looks who is gone", || workers(&server).len() == 2).await;
    assert!(workers(&server).contains(name));
    let job = JobId::new();
    behind.push(job).await;
    other.stop().await;
    assert_eq!(behind.next().await, job);
    behind.stop().await;
    eventually("nothing of it is left", || server.cli(&["KEYS", "test:*"]).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_lose_nothing() {
    let server = Redis::start();
    let mut consumer = Consumer::greedy(queue(&server));
    for _ in 0..5 {
        let job = JobId::new();
        consumer.push(job).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let other = JobId::new();
        consumer.push(other).await;
        consumer.hears_of(other).await;
    }
    assert!(consumer.runs());
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_all_is_noticed_and_filled_again() {
    let server = Redis::start();
    let queue = queue(&server);
    in_time(queue.forgot()).await;
    let mut consumer = Consumer::greedy(queue.clone());
    for _ in 0..3 {
        let job = JobId::new();
        consumer.push(job).await;
        consumer.hears_of(job).await;
        let begun = Instant::now();
        server.flush();
        in_time(queue.forgot()).await;
        let job = JobId::new();
        consumer.push(job).await;
        consumer.hears_of(job).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_dies_stops_nobody_and_what_was_pushed_meanwhile_is_asked_for() {
    let mut server = Redis::start();
    let queue = queue(&server);
    in_time(queue.forgot()).await;
    let mut consumer = Consumer::greedy(queue.clone());
    for _ in 0..2 {
        server.kill();
        let jobs = jobs(100);
        let begun = Instant::now();
        for job in &jobs {
            consumer.push(*job).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "pushes do not wait: {:?}", begun.elapsed());
        server.restart();
        in_time(queue.forgot()).await;
        for job in &jobs {
            consumer.push(*job).await;
        }
        for job in jobs {
            consumer.hears_of(job).await;
        }
    }
    assert!(consumer.runs());
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_not_there_yet_is_waited_for() {
    let mut server = Redis::absent();
    let queue = queue(&server);
    let mut consumer = Consumer::greedy(queue.clone());
    consumer.push(JobId::new()).await;
    server.restart();
    in_time(queue.forgot()).await;
    let job = JobId::new();
    consumer.push(job).await;
    consumer.hears_of(job).await;
    consumer.stop().await;
}
