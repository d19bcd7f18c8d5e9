//! Names in rooms: each is one account's, until it is no longer held.

use crate::world::World;
use std::time::Duration;
use storage::{
    error::{Conflict, Error},
    live_names::LiveName,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn name<'a>(room: &'a str, identity: &'a str) -> LiveName<'a> {
    LiveName { room, identity }
}

#[tokio::test]
async fn a_name_is_one_accounts_until_it_is_no_longer_held() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let names = &world.storage.live_names;
    let speaker = name("den", "speaker");
    assert!(!names.is_held(speaker).await.unwrap());
    names.hold(ada, speaker, DAY).await.unwrap();
    names.hold(ada, speaker, DAY).await.unwrap();
    assert!(names.is_held(speaker).await.unwrap());
    let taken = names.hold(bob, speaker, DAY).await;
    assert!(matches!(taken, Err(Error::Conflict(Conflict::NameTaken))));
    for other in [name("den", "Speaker"), name("hall", "speaker")] {
        names.hold(bob, other, DAY).await.unwrap();
    }
    world.clock.advance(DAY);
    assert!(!names.is_held(speaker).await.unwrap());
    names.hold(bob, speaker, DAY).await.unwrap();
    assert!(names.hold(ada, speaker, DAY).await.is_err());
}

#[tokio::test]
async fn of_two_accounts_at_once_one_gets_the_name() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let names = &world.storage.live_names;
    let (first, second) = futures_util::future::join(
        names.hold(ada, name("den", "speaker"), DAY),
        names.hold(bob, name("den", "speaker"), DAY),
    )
    .await;
    assert_ne!(first.is_ok(), second.is_ok());
}

#[tokio::test]
async fn names_that_nobody_holds_are_swept() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.storage.live_names.hold(ada, name("den", "speaker"), DAY).await.unwrap();
    assert_eq!(world.storage.sweep().await.unwrap().live_names, 0);
    world.clock.advance(DAY);
    assert_eq!(world.storage.sweep().await.unwrap().live_names, 1);
}
