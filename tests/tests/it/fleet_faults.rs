//! What befalls one process of a fleet, or what all stand on: the others go on, and it comes back by itself. Each ends in
//! the check of the storms.

mod clocks;
mod crowd;
mod cuts;
mod disk;
mod drain;
mod poison;
mod sleep;

use std::time::Duration;
use tests::fleet::{BackEnds, Fleet};
use tests::servers::Redis;
use tests::storm::{Load, SOON, SOUND, Ship, Sort};

/// After so long without the database, or soon after, a worker stops its job by itself and writes nothing.
const GIVES_UP: Duration = Duration::from_secs(45);
/// Until the last of some dozens of jobs has ended.
const LIMIT: Duration = Duration::from_secs(240);

/// On back ends that the tests share, with no worker yet.
async fn load() -> Load {
    Load::begin(Ship::fleet(BackEnds::shared(), 0)).await
}

async fn settle(load: &Load) {
    load.settle(Some(BackEnds::shared()), LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_taken_and_end_while_redis_hangs() {
    let redis = Redis::start();
    let fleet = Fleet::new(BackEnds::shared().settings())
        .with("VOXMILL_REDIS_URL", &redis.url())
        .with("VOXMILL_RATE_LIMITS", "on")
        .with("VOXMILL_RATE_LIMIT_PROCESSING", "1000/min");
    let mut load = Load::begin(Ship::of(fleet, 2)).await.with_sound(SOUND).await;
    let long = load.submit(Sort::Long).await;
    load.user().in_stage(&long, "extracting").await;
    for _ in 0..5 {
        load.submit(Sort::Quick).await;
    }
    redis.suspend();
    for _ in 0..10 {
        load.submit(Sort::Quick).await;
    }
    assert_eq!(load.user().ended(&long).await["status"], "completed");
    redis.resume();
    settle(&load).await;
}
