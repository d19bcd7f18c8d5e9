//! Processes that share a database: who lives, who runs what, and who does what one does for all.

use crate::back_end::FLEET;
use crate::world::World;
use futures_util::future::join_all;
use pipeline::parameters::JobKind;
use std::time::Duration;
use storage::{
    Storage, StorageConfig,
    duties::Duty,
    workers::{BEAT, Worker},
};

const LEAD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_worker_counts_as_long_as_it_is_heard_of() {
    let world = World::new().await;
    let workers = &world.storage.workers;
    assert!(workers.slots().await.unwrap().is_empty());
    let (one, other) = (worker("one", 2), worker("other", 3));
    workers.beat(&one).await.unwrap();
    workers.beat(&other).await.unwrap();
    assert_eq!(workers.live().await.unwrap(), [one.clone(), other.clone()]);
    assert_eq!(workers.slots().await.unwrap()[&JobKind::Transcribe], 5);
    for _ in 0..4 {
        world.clock.advance(BEAT);
        workers.beat(&one).await.unwrap();
    }
    assert_eq!(workers.live().await.unwrap(), std::slice::from_ref(&one), "the other is not heard of");
    workers.leave("one").await.unwrap();
    assert_eq!(workers.live().await.unwrap(), []);
    world.pass(2 * 24 * 3600);
    world.storage.sweep().await.unwrap();
    workers.beat(&one).await.unwrap();
    assert_eq!(workers.live().await.unwrap(), [one]);
}

#[tokio::test]
async fn who_has_the_database_for_himself_hears_all_that_happens_in_it() {
    let world = World::new().await;
    let config = StorageConfig { redis: None, ..world.config.clone() };
    let without_redis = Storage::open_with_clock(&config, world.clock.clone()).await.unwrap();
    assert_eq!(without_redis.events.hear_all(), !FLEET);
}

#[tokio::test]
async fn one_process_at_a_time_has_a_duty() {
    let world = World::new().await;
    let duties = &world.storage.duties;
    if !FLEET {
        assert!(duties.take(Duty::Dispatch, "whoever", LEAD).await.unwrap(), "nobody else is there");
        return;
    }
    let names: Vec<String> = (0..8).map(|number| format!("worker {number}")).collect();
    let taken = join_all(names.iter().map(|name| duties.take(Duty::Dispatch, name, LEAD))).await;
    let leaders: Vec<&String> =
        names.iter().zip(taken).filter(|(_, taken)| *taken.as_ref().unwrap()).map(|(name, _)| name).collect();
    let [leader] = leaders[..] else { panic!("{leaders:?}") };
    assert!(duties.take(Duty::Dispatch, leader, LEAD).await.unwrap(), "it keeps it");
    assert!(duties.take(Duty::Sweep, "another", LEAD).await.unwrap(), "that is another duty");
    world.clock.advance(LEAD / 2);
    assert!(!duties.take(Duty::Dispatch, "another", LEAD).await.unwrap());
    world.clock.advance(LEAD / 2);
    assert!(duties.take(Duty::Dispatch, "another", LEAD).await.unwrap(), "its time is over");
    assert!(!duties.take(Duty::Dispatch, leader, LEAD).await.unwrap());
    duties.give_up(Duty::Dispatch, leader).await.unwrap();
    assert!(!duties.take(Duty::Dispatch, leader, LEAD).await.unwrap(), "it was not its own to give up");
    duties.give_up(Duty::Dispatch, "another").await.unwrap();
    assert!(duties.take(Duty::Dispatch, leader, LEAD).await.unwrap());
}

fn worker(name: &str, transcribers: usize) -> Worker {
    Worker {
        name: name.into(),
        version: "1.2.3".into(),
        device: "cpu".into(),
        slots: [(JobKind::Transcribe, transcribers)].into(),
        models: ["whisper-base".into()].into(),
    }
}
