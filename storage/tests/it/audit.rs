//! The audit log: it says what happened, to whom, from where, and forgets by retention alone.

use crate::world::{RETENTION, World};
use std::time::Duration;
use storage::{
    audit::{Event, EventKind, NewEvent},
    ids::UserId,
    page::Page,
};

async fn record(world: &World, kind: EventKind, user: Option<UserId>) {
    let client_address = Some("203.0.113.7".parse().unwrap());
    let new = NewEvent { kind, user, client_address, request_id: Some("request".into()) };
    world.storage.audit.record(new).await.unwrap();
}

async fn events(world: &World, user: Option<UserId>) -> Vec<Event> {
    world.storage.audit.list(user, &Page::first()).await.unwrap().items
}

#[tokio::test]
async fn every_kind_of_event_is_kept_as_it_was_told() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for kind in EventKind::ALL {
        record(&world, kind, Some(ada)).await;
        world.pass(1);
    }
    let events = events(&world, None).await;
    let kinds: Vec<EventKind> = events.iter().rev().map(|event| event.kind).collect();
    assert_eq!(kinds, EventKind::ALL, "the newest comes first");
    assert_eq!(events[0].user, Some(ada));
    assert_eq!(events[0].client_address.as_deref(), Some("203.0.113.7"));
    assert_eq!(events[0].request_id.as_deref(), Some("request"));
    assert!(events[0].created_at > events[1].created_at);
}

#[tokio::test]
async fn the_events_of_one_user_are_theirs_alone() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    record(&world, EventKind::LoggedIn, Some(ada)).await;
    record(&world, EventKind::LoginFailed, None).await;
    record(&world, EventKind::LoggedIn, Some(bob)).await;
    assert_eq!(events(&world, Some(ada)).await.len(), 1);
    assert_eq!(events(&world, Some(UserId::new())).await, []);
    let first = world.storage.audit.list(None, &Page { limit: 2, cursor: None }).await.unwrap();
    let rest = world.storage.audit.list(None, &Page { limit: 2, cursor: first.next_cursor }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next_cursor), (2, 1, None));
}

#[tokio::test]
async fn events_go_when_their_retention_has_passed_and_not_before() {
    let world = World::new().await;
    record(&world, EventKind::Registered, None).await;
    world.clock.advance(RETENTION - Duration::from_secs(60));
    record(&world, EventKind::LoggedIn, None).await;
    assert_eq!(world.storage.sweep().await.unwrap().security_events, 0);
    world.pass(120);
    assert_eq!(world.storage.sweep().await.unwrap().security_events, 1);
    assert_eq!(events(&world, None).await[0].kind, EventKind::LoggedIn);
}
