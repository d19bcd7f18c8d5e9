//! Rooms, their sessions, who takes part in them and what is said.

use crate::world::World;
use futures_util::future::join_all;
use storage::{
    error::{Conflict, Error, Result},
    ids::{MeetingId, RoomId, UserId},
    page::Page,
    rooms::{
        Door, NewRoom, Room, RoomChange,
        meetings::{Meeting, MeetingStatus},
        participants::{Appointment, Participant, Role},
    },
};

#[tokio::test]
async fn a_room_is_its_owners_and_found_by_its_code() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let rooms = &world.storage.rooms;
    let (first, second) = (room(&world, ada).await, room(&world, ada).await);
    assert_ne!(first.unique_code, second.unique_code);
    assert!(matches!(rooms.by_code("").await, Err(Error::NotFound)));
    assert_eq!(rooms.list(ada, &Page::first()).await.unwrap().items, [second.clone(), first.clone()]);
    assert_eq!(rooms.list(bob, &Page::first()).await.unwrap().items, []);

    assert!(matches!(rooms.find(bob, first.id).await, Err(Error::NotFound)));
    assert!(matches!(rooms.delete(bob, first.id).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.meetings.start(bob, first.id, None).await, Err(Error::NotFound)));
    let meeting = start(&world, ada, &first).await;
    join(&world, bob, meeting.id).await.unwrap();
    assert_eq!(rooms.find(bob, first.id).await.unwrap(), first, "who took part may see it");
    assert!(matches!(rooms.delete(bob, first.id).await, Err(Error::Forbidden)));
    assert!(matches!(rooms.change(bob, first.id, opened()).await, Err(Error::Forbidden)));
    assert!(matches!(rooms.find(bob, second.id).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_code_is_easy_to_read_aloud_and_found_however_it_is_written() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    for _ in 0..20 {
        let room = room(&world, ada).await;
        let code = room.unique_code.as_str();
        let groups: Vec<_> = code.split('-').map(str::len).collect();
        assert_eq!(groups, [3, 3, 3], "{code}");
        assert!(code.chars().all(|character| "-CDFHJKMNPQRTWXY34679".contains(character)), "{code}");
        for written in [code.to_lowercase(), code.replace('-', ""), format!(" {} ", code.replace('-', " "))] {
            assert_eq!(world.storage.rooms.by_code(&written).await.unwrap(), room, "{written}");
        }
    }
}

#[tokio::test]
async fn a_room_is_locked_and_opened() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let room = room(&world, ada).await;
    let change = async |door| world.storage.rooms.change(ada, room.id, RoomChange { name: None, door }).await;
    let refused = change(Door::StillLocked).await;
    assert!(matches!(refused, Err(Error::Input { field, .. }) if field == "passcode"));
    assert!(change(Door::Locked("hash".into())).await.unwrap().is_private);
    assert!(change(Door::AsBefore).await.unwrap().is_private);
    assert!(change(Door::StillLocked).await.unwrap().is_private);
    assert!(!change(Door::Open).await.unwrap().is_private);
    world.pass(5);
    let name = Some("another".to_owned());
    let change = RoomChange { name, door: Door::AsBefore };
    let renamed = world.storage.rooms.change(ada, room.id, change).await.unwrap();
    assert_eq!((renamed.name.as_str(), renamed.is_private), ("another", false));
    assert!(renamed.updated_at > room.updated_at && renamed.created_at == room.created_at);
}

#[tokio::test]
async fn a_session_takes_each_step_once_and_in_order() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let room = room(&world, ada).await;
    let meetings = &world.storage.meetings;
    let at = world.clock.now() + std::time::Duration::from_secs(3600);
    let planned = meetings.schedule(ada, room.id, at).await.unwrap();
    assert_eq!((planned.status, planned.scheduled_start_time), (MeetingStatus::Scheduled, Some(at)));
    assert_conflict(meetings.end(ada, planned.id).await, Conflict::SessionNotLive);
    let live = meetings.start(ada, room.id, Some(planned.id)).await.unwrap();
    assert_eq!((live.id, live.status), (planned.id, MeetingStatus::Live));
    assert!(live.actual_start_time.is_some() && live.actual_end_time.is_none());
    assert_eq!(meetings.live(&room).await.unwrap(), Some(live.clone()));
    assert_conflict(meetings.start(ada, room.id, None).await, Conflict::RoomLive);
    assert_conflict(meetings.cancel(ada, live.id).await, Conflict::SessionNotScheduled);

    let other = meetings.schedule(ada, room.id, at).await.unwrap();
    assert_conflict(meetings.start(ada, room.id, Some(other.id)).await, Conflict::RoomLive);
    let ended = meetings.end(ada, live.id).await.unwrap();
    assert_eq!(ended.status, MeetingStatus::Ended);
    assert!(ended.actual_end_time >= ended.actual_start_time);
    assert_conflict(meetings.end(ada, live.id).await, Conflict::SessionNotLive);
    assert_conflict(meetings.start(ada, room.id, Some(live.id)).await, Conflict::SessionNotScheduled);
    let cancelled = meetings.cancel(ada, other.id).await.unwrap();
    assert_eq!((cancelled.status, cancelled.actual_start_time), (MeetingStatus::Cancelled, None));
    assert_conflict(meetings.start(ada, room.id, Some(other.id)).await, Conflict::SessionNotScheduled);
    assert_eq!(meetings.live(&room).await.unwrap(), None);
    let listed = meetings.list(ada, room.id, &Page::first()).await.unwrap().items;
    assert_eq!(listed, [cancelled, ended]);
}

#[tokio::test]
async fn a_session_of_another_room_is_none_of_this_one() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (one, other) = (room(&world, ada).await, room(&world, ada).await);
    let at = world.clock.now();
    let planned = world.storage.meetings.schedule(ada, other.id, at).await.unwrap();
    for id in [planned.id, MeetingId::new()] {
        let refused = world.storage.meetings.start(ada, one.id, Some(id)).await;
        assert!(matches!(refused, Err(Error::MissingInput { field }) if field == "sessionId"));
    }
    let nowhere = world.storage.meetings.start(ada, RoomId::new(), None).await;
    assert!(matches!(nowhere, Err(Error::NotFound)));
}

#[tokio::test]
async fn of_many_clicks_at_once_one_counts() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let room = room(&world, ada).await;
    let meetings = &world.storage.meetings;
    let at = world.clock.now();
    let (one, two) = (
        meetings.schedule(ada, room.id, at).await.unwrap().id,
        meetings.schedule(ada, room.id, at).await.unwrap().id,
    );
    let clicks = [None, Some(one), Some(two), None, Some(one)];
    let started = join_all(clicks.map(|scheduled| meetings.start(ada, room.id, scheduled))).await;
    let live = only(started);
    let ended = join_all((0..5).map(|_| meetings.end(ada, live.id))).await;
    assert_eq!(only(ended).status, MeetingStatus::Ended);
    let planned = meetings.schedule(ada, room.id, at).await.unwrap().id;
    let (started, cancelled) =
        tokio::join!(meetings.start(ada, room.id, Some(planned)), meetings.cancel(ada, planned));
    only(vec![started, cancelled]);
}

#[tokio::test]
async fn who_joins_leaves_and_comes_back_is_who_they_were() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await;
    let meetings = &world.storage.meetings;
    let joined = join(&world, bob, meeting.id).await.unwrap();
    assert_eq!((joined.role, joined.leave_time, joined.is_sharing_screen), (Role::Participant, None, false));
    let appointment = Appointment { user: bob, role: Role::Moderator };
    meetings.appoint(ada, meeting.id, appointment).await.unwrap();
    meetings.share_screen(bob, meeting.id).await.unwrap();
    world.pass(60);
    meetings.leave(bob, meeting.id).await.unwrap();
    let left = find(&world, bob, meeting.id).await;
    assert!(left.leave_time > Some(joined.join_time) && !left.is_sharing_screen);
    world.pass(60);
    meetings.leave(bob, meeting.id).await.unwrap();
    assert_eq!(find(&world, bob, meeting.id).await, left, "twice is once");
    assert_conflict(meetings.say(bob, meeting.id, "psst".into()).await, Conflict::NotJoined);
    assert_conflict(meetings.share_screen(bob, meeting.id).await, Conflict::NotJoined);

    let back = join(&world, bob, meeting.id).await.unwrap();
    let expected = Participant { role: Role::Moderator, leave_time: None, ..joined };
    assert_eq!(back, expected);
    assert_eq!(join(&world, bob, meeting.id).await.unwrap(), expected, "once more is fine");
    meetings.end(ada, meeting.id).await.unwrap();
    assert!(find(&world, bob, meeting.id).await.leave_time.is_some());
    assert!(find(&world, ada, meeting.id).await.leave_time.is_some());
    assert_conflict(join(&world, bob, meeting.id).await, Conflict::SessionNotLive);
    meetings.leave(bob, meeting.id).await.unwrap();
}

#[tokio::test]
async fn a_passcode_that_changed_since_it_was_given_opens_nothing() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await;
    let lock = async |hash: &str| {
        let change = RoomChange { name: None, door: Door::Locked(hash.into()) };
        world.storage.rooms.change(ada, room.id, change).await.unwrap();
    };
    let meetings = &world.storage.meetings;
    let open = meetings.entrance(bob, meeting.id).await.unwrap();
    assert_eq!(open.passcode_hash, None);
    lock("one").await;
    assert!(matches!(meetings.join(open).await, Err(Error::Forbidden)));
    let known = meetings.entrance(bob, meeting.id).await.unwrap();
    assert_eq!(known.passcode_hash.as_deref(), Some("one"));
    lock("two").await;
    assert!(matches!(meetings.join(known).await, Err(Error::Forbidden)));
    assert_eq!(meetings.entrance(ada, meeting.id).await.unwrap().passcode_hash, None, "it is her room");
    assert!(matches!(meetings.entrance(bob, MeetingId::new()).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn hosts_give_roles_and_the_owner_keeps_theirs() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await.id;
    let meetings = &world.storage.meetings;
    join(&world, bob, meeting).await.unwrap();
    let appoint = async |host, user, role| meetings.appoint(host, meeting, Appointment { user, role }).await;
    assert!(matches!(appoint(bob, bob, Role::Host).await, Err(Error::Forbidden)));
    assert!(matches!(appoint(eve, bob, Role::Host).await, Err(Error::NotFound)));
    assert!(matches!(appoint(ada, eve, Role::Host).await, Err(Error::NotFound)));
    assert_eq!(appoint(ada, bob, Role::Host).await.unwrap().role, Role::Host);
    assert_conflict(appoint(bob, ada, Role::Participant).await, Conflict::OwnerIsHost);
    assert_eq!(appoint(bob, ada, Role::Host).await.unwrap().role, Role::Host);
    assert!(matches!(meetings.end(eve, meeting).await, Err(Error::NotFound)));
    let clicks = tokio::join!(meetings.end(ada, meeting), meetings.end(bob, meeting));
    only(vec![clicks.0, clicks.1]);
    assert_conflict(appoint(ada, bob, Role::Moderator).await, Conflict::SessionNotLive);
}

#[tokio::test]
async fn one_screen_is_shared_at_a_time() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await.id;
    let meetings = &world.storage.meetings;
    for user in [bob, eve] {
        join(&world, user, meeting).await.unwrap();
    }
    assert_conflict(meetings.stop_sharing(bob, meeting).await, Conflict::ScreenFree);
    let shares = join_all([ada, bob, eve].map(|user| meetings.share_screen(user, meeting))).await;
    let sharer = only(shares).user;
    assert!(meetings.share_screen(sharer, meeting).await.unwrap().is_sharing_screen, "once more is fine");
    meetings.stop_sharing(ada, meeting).await.unwrap();

    meetings.share_screen(bob, meeting).await.unwrap();
    assert_conflict(meetings.share_screen(eve, meeting).await, Conflict::ScreenTaken);
    assert!(matches!(meetings.stop_sharing(eve, meeting).await, Err(Error::Forbidden)));
    meetings.appoint(ada, meeting, Appointment { user: eve, role: Role::Moderator }).await.unwrap();
    let stopped = meetings.stop_sharing(eve, meeting).await.unwrap();
    assert_eq!((stopped.user, stopped.is_sharing_screen), (bob, false));
    assert!(meetings.share_screen(eve, meeting).await.unwrap().is_sharing_screen);
    meetings.end(ada, meeting).await.unwrap();
    assert!(!find(&world, eve, meeting).await.is_sharing_screen);
    assert_conflict(meetings.stop_sharing(eve, meeting).await, Conflict::SessionNotLive);
}

#[tokio::test]
async fn what_is_said_is_read_in_pages_by_who_was_there() {
    let world = World::new().await;
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await.id;
    let meetings = &world.storage.meetings;
    join(&world, bob, meeting).await.unwrap();
    for (user, text) in [(ada, "one"), (bob, "two"), (ada, "three 😀")] {
        let message = meetings.say(user, meeting, text.into()).await.unwrap();
        assert_eq!((message.user, message.text.as_str()), (user, text));
    }
    assert!(matches!(meetings.say(eve, meeting, "hm".into()).await, Err(Error::NotFound)));
    assert!(matches!(meetings.said(eve, meeting, &Page::first()).await, Err(Error::NotFound)));
    meetings.end(ada, meeting).await.unwrap();
    assert_conflict(meetings.say(bob, meeting, "late".into()).await, Conflict::SessionNotLive);

    let page = meetings.said(bob, meeting, &Page { limit: 2, cursor: None }).await.unwrap();
    assert_eq!(page.items.iter().map(|message| &message.text).collect::<Vec<_>>(), ["three 😀", "two"]);
    let rest = meetings.said(bob, meeting, &Page { limit: 2, cursor: page.next_cursor }).await.unwrap();
    assert_eq!((rest.items.len(), rest.items[0].text.as_str(), rest.next_cursor), (1, "one", None));
}

#[tokio::test]
async fn a_deleted_room_takes_everything_with_it() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let room = room(&world, ada).await;
    let meeting = start(&world, ada, &room).await.id;
    join(&world, bob, meeting).await.unwrap();
    world.storage.meetings.say(bob, meeting, "hello".into()).await.unwrap();
    world.storage.rooms.delete(ada, room.id).await.unwrap();
    assert!(matches!(world.storage.rooms.find(ada, room.id).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.meetings.said(bob, meeting, &Page::first()).await, Err(Error::NotFound)));
    assert!(matches!(world.storage.meetings.end(ada, meeting).await, Err(Error::NotFound)));
}

async fn room(world: &World, owner: UserId) -> Room {
    let new = NewRoom { owner, name: "A room".into(), passcode_hash: None };
    world.storage.rooms.create(new).await.unwrap()
}

fn opened() -> RoomChange {
    RoomChange { name: None, door: Door::Open }
}

async fn start(world: &World, owner: UserId, room: &Room) -> Meeting {
    world.storage.meetings.start(owner, room.id, None).await.unwrap()
}

async fn join(world: &World, user: UserId, meeting: MeetingId) -> Result<Participant> {
    let entrance = world.storage.meetings.entrance(user, meeting).await?;
    world.storage.meetings.join(entrance).await
}

async fn find(world: &World, user: UserId, meeting: MeetingId) -> Participant {
    let listed = world.storage.meetings.participants(user, meeting, &Page::first()).await.unwrap();
    listed.items.into_iter().find(|participant| participant.user == user).unwrap()
}

/// The one that came about; the others were in conflict with it.
#[track_caller]
fn only<T: std::fmt::Debug>(outcomes: Vec<Result<T>>) -> T {
    let refused = |outcome: &Result<T>| matches!(outcome, Ok(_) | Err(Error::Conflict(_)));
    assert!(outcomes.iter().all(refused), "{outcomes:?}");
    let mut done: Vec<T> = outcomes.into_iter().filter_map(Result::ok).collect();
    assert_eq!(done.len(), 1, "{done:?}");
    done.remove(0)
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T>, expected: Conflict) {
    assert!(matches!(&outcome, Err(Error::Conflict(conflict)) if *conflict == expected), "{outcome:?}");
}
