//! What one process tells another.

use crate::servers::{Fault, FaultProxy};
use crate::world::World;
use futures_util::StreamExt as _;
use std::time::Duration;
use storage::Storage;
use tokio::time::{Interval, interval, timeout};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_told_is_told_as_soon_as_it_can_be() {
    let world = World::new().await;
    let Some(redis) = world.config.redis.clone() else { return };
    let (before, port) = redis.url.rsplit_once(':').unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let proxy = FaultProxy::start(port.parse().unwrap());
    let mut config = world.config.clone();
    config.data_directory = world.directory.path().join("another");
    config.redis = Some(storage::RedisConfig { url: format!("{before}:{}", proxy.port()), ..redis });
    let another = Storage::open_with_clock(&config, world.clock.clone()).await.unwrap();
    let mut tick = interval(Duration::from_millis(20));
    let all_hear = async |tick: &mut Interval, wanted: bool| {
        while [&world.storage, &another].iter().all(|storage| storage.events.hear_all()) != wanted {
            tick.tick().await;
        }
    };
    timeout(SOON, all_hear(&mut tick, true)).await.unwrap();

    let ada = world.user("ada").await;
    let job = world.job(ada).await.id;
    let mut changes = world.storage.events.subscribe(job);
    proxy.fail(Fault::Refuse);
    another.jobs.cancel(ada, job).await.unwrap();
    timeout(SOON, all_hear(&mut tick, false)).await.unwrap();
    assert!(timeout(Duration::ZERO, changes.next()).await.is_err(), "nobody can have told");
    proxy.pass();
    assert!(timeout(SOON, changes.next()).await.is_ok(), "and nothing else happened");
}
