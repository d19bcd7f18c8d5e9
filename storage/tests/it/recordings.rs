//! Recordings of sessions, and the chunks that they come in.

use crate::world::{QUOTA, RETENTION, World, audio, transcribe};
use futures_util::future::join_all;
use pipeline::failure::Failure;
use storage::{
    error::{Conflict, Error, Result},
    files::{FileKind, NewFile},
    ids::{MeetingId, RecordingId, RoomId, UserId},
    page::Page,
    rooms::{
        NewRoom,
        chunks::{Assembled, MOST_CHUNKS, NewChunk},
        participants::{Appointment, Role},
        recordings::{Recording, RecordingStatus},
        settling::Settled,
    },
};

#[tokio::test]
async fn one_recording_of_a_session_runs_at_a_time() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    let started = join_all((0..4).map(|_| recordings.start(ada, meeting))).await;
    let (won, lost): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|refused| conflict(refused) == Conflict::RecordingRuns));

    assert_eq!(conflict(recordings.resume(ada, meeting).await), Conflict::NotPaused);
    assert_eq!(recordings.pause(ada, meeting).await.unwrap().status, RecordingStatus::Paused);
    assert_eq!(conflict(recordings.pause(ada, meeting).await), Conflict::NotRecording);
    assert_eq!(conflict(recordings.start(ada, meeting).await), Conflict::RecordingRuns);
    assert_eq!(recordings.resume(ada, meeting).await.unwrap().status, RecordingStatus::Recording);

    let stops = join_all((0..4).map(|_| recordings.stop(ada, meeting))).await;
    assert_eq!(stops.iter().filter(|stopped| stopped.is_ok()).count(), 1);
    let stopped = stops.into_iter().find_map(Result::ok).unwrap();
    assert!(stopped.stopped_at.is_some());
    assert_eq!(recordings.claim(None).await.unwrap(), None, "whoever stops it holds it");
    for refused in [recordings.pause(ada, meeting).await, recordings.stop(ada, meeting).await] {
        assert_eq!(conflict(refused), Conflict::NotRecording);
    }
    assert_eq!(conflict(recordings.slot(ada, stopped.id, 0).await.map(|_| ())), Conflict::RecordingStopped);
    assert_eq!(conflict(put(&world, ada, stopped.id, 0, b"a").await), Conflict::RecordingStopped);
    assert_eq!(world.objects().await, [""; 0]);
    world.storage.recordings.start(ada, meeting).await.unwrap();
    assert_eq!(recordings.list(ada, meeting, &Page::first()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn a_recording_is_its_hosts_and_seen_by_who_takes_part() {
    let (world, ada, meeting) = live().await;
    let (bob, eve) = (world.user("bob").await, world.user("eve").await);
    let recordings = &world.storage.recordings;
    let recording = recordings.start(ada, meeting).await.unwrap();
    let tries = async |user: UserId| {
        vec![
            recordings.start(user, meeting).await.map(|_| ()),
            recordings.pause(user, meeting).await.map(|_| ()),
            recordings.resume(user, meeting).await.map(|_| ()),
            recordings.stop(user, meeting).await.map(|_| ()),
            recordings.slot(user, recording.id, 0).await.map(|_| ()),
            put(&world, user, recording.id, 0, b"a").await.map(|_| ()),
        ]
    };
    assert!(tries(eve).await.iter().all(|refused| matches!(refused, Err(Error::NotFound))));
    assert!(matches!(recordings.find(eve, recording.id).await, Err(Error::NotFound)));
    assert!(matches!(recordings.list(eve, meeting, &Page::first()).await, Err(Error::NotFound)));
    assert!(matches!(recordings.find(ada, RecordingId::new()).await, Err(Error::NotFound)));

    let entrance = world.storage.meetings.entrance(bob, meeting).await.unwrap();
    world.storage.meetings.join(entrance).await.unwrap();
    assert!(tries(bob).await.iter().all(|refused| matches!(refused, Err(Error::Forbidden))));
    assert_eq!(recordings.find(bob, recording.id).await.unwrap(), recording);
    assert_eq!(
        recordings.list(bob, meeting, &Page::first()).await.unwrap().items,
        std::slice::from_ref(&recording)
    );

    let host = Appointment { user: bob, role: Role::Host };
    world.storage.meetings.appoint(ada, meeting, host).await.unwrap();
    put(&world, bob, recording.id, 0, b"a").await.unwrap();
    assert_eq!(used(&world, ada).await, 1, "it takes room of who owns the room");
    assert_eq!(used(&world, bob).await, 0);
}

#[tokio::test]
async fn chunks_come_in_any_order_and_the_last_of_a_number_counts() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    let recording = recordings.start(ada, meeting).await.unwrap();
    for (number, bytes) in [(2, "cc"), (0, "xxxx"), (1, ""), (0, "aaa")] {
        put(&world, ada, recording.id, number, bytes.as_bytes()).await.unwrap();
    }
    let seen = recordings.find(ada, recording.id).await.unwrap();
    assert_eq!((seen.chunks, seen.size_bytes, used(&world, ada).await), (3, 5, 5));
    assert_eq!(world.objects().await.len(), 3, "what was replaced is gone");
    let refused = put(&world, ada, recording.id, MOST_CHUNKS, b"a").await;
    assert!(matches!(refused, Err(Error::Input { field, .. }) if field == "number"));

    let stopped = recordings.stop(ada, meeting).await.unwrap();
    let Assembled::Whole(staged) = recordings.assemble(&stopped).await.unwrap() else { panic!("not whole") };
    assert_eq!(std::fs::read(staged.path()).unwrap(), b"aaacc");
}

#[tokio::test]
async fn a_recording_becomes_one_file_whoever_makes_it() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    recordings.start(ada, meeting).await.unwrap();
    let recording = recordings.stop(ada, meeting).await.unwrap();
    let make = async || {
        let new = world.new_file(ada, Some(audio(1.0))).await;
        world.storage.files.insert_recorded(new, &recording).await
    };
    let (one, other) = tokio::join!(make(), make());
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    let file = one.or(other).unwrap();
    assert_eq!(world.objects().await, [file.object_key.as_str()]);
    assert_eq!(recordings.find(ada, recording.id).await.unwrap().file, Some(file.id));

    // Whoever held it died: another goes on with the file that there is.
    world.pass(1801);
    let claimed = recordings.claim(Some(meeting)).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.file), (recording.id, Some(file.id)));
    let job = world.submit(transcribe(ada, file.id)).await;
    let settled = recordings.settle(&claimed, Settled::Job(job.id)).await.unwrap();
    assert_eq!((settled.job, settled.failure), (Some(job.id), None));
    world.pass(1801);
    assert_eq!(recordings.claim(None).await.unwrap(), None);
    // Its owner may delete the file; the recording is not made again.
    world.storage.jobs.cancel(ada, job.id).await.unwrap();
    world.storage.files.delete(ada, file.id).await.unwrap();
    assert_eq!(recordings.claim(None).await.unwrap(), None);
    assert_eq!(recordings.find(ada, recording.id).await.unwrap().file, None);
}

#[tokio::test]
async fn what_failed_is_mended_and_stopped_again() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    let recording = recordings.start(ada, meeting).await.unwrap();
    put(&world, ada, recording.id, 1, b"b").await.unwrap();
    let stopped = recordings.stop(ada, meeting).await.unwrap();
    let Assembled::Missing(missing) = recordings.assemble(&stopped).await.unwrap() else { panic!() };
    assert_eq!(missing, [0]);
    let failure = Failure::permanent("chunks_missing", "0");
    recordings.fail(&stopped, &failure).await.unwrap();
    let failed = recordings.find(ada, recording.id).await.unwrap();
    assert_eq!((failed.status, failed.failure), (RecordingStatus::Failed, Some(failure.clone())));
    world.pass(1801);
    assert_eq!(recordings.claim(None).await.unwrap(), None);

    put(&world, ada, recording.id, 0, b"a").await.unwrap();
    let again = recordings.stop(ada, meeting).await.unwrap();
    assert_eq!((again.status, again.failure.is_none()), (RecordingStatus::Stopped, true));
    assert_eq!(again.stopped_at, stopped.stopped_at);
    assert!(matches!(recordings.assemble(&again).await.unwrap(), Assembled::Whole(_)));

    // Nobody mends it: it takes room until the retention is over.
    recordings.fail(&again, &failure).await.unwrap();
    world.storage.sweep().await.unwrap();
    assert_eq!((world.objects().await.len(), used(&world, ada).await), (2, 2));
    world.pass(RETENTION.as_secs() + 1);
    world.storage.sweep().await.unwrap();
    assert_eq!((world.objects().await.len(), used(&world, ada).await), (0, 0));
    let stopped = recordings.stop(ada, meeting).await.unwrap();
    assert_eq!((stopped.chunks, stopped.size_bytes), (0, 0));
    assert!(matches!(recordings.assemble(&stopped).await.unwrap(), Assembled::Nothing));
}

#[tokio::test]
async fn silence_stops_a_recording_but_not_a_pause() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    let recording = recordings.start(ada, meeting).await.unwrap();
    world.pass(299);
    put(&world, ada, recording.id, 0, b"a").await.unwrap();
    world.pass(299);
    assert_eq!(recordings.stop_silent().await.unwrap(), 0);
    recordings.pause(ada, meeting).await.unwrap();
    world.pass(3600);
    assert_eq!(recordings.stop_silent().await.unwrap(), 0);
    recordings.resume(ada, meeting).await.unwrap();
    world.pass(299);
    assert_eq!(recordings.stop_silent().await.unwrap(), 0);
    world.pass(1);
    assert_eq!(recordings.stop_silent().await.unwrap(), 1);
    let claimed = recordings.claim(None).await.unwrap().unwrap();
    assert_eq!((claimed.id, claimed.status), (recording.id, RecordingStatus::Stopped));
    assert!(matches!(recordings.assemble(&claimed).await.unwrap(), Assembled::Whole(_)), "nothing is lost");
    assert_eq!(recordings.claim(None).await.unwrap(), None, "it is held");
    recordings.release(&claimed).await.unwrap();
    assert_eq!(recordings.claim(None).await.unwrap(), None, "not at once");
    world.pass(61);
    assert_eq!(recordings.claim(None).await.unwrap().unwrap().id, recording.id);
}

#[tokio::test]
async fn the_end_of_a_session_stops_its_recording() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    recordings.start(ada, meeting).await.unwrap();
    recordings.pause(ada, meeting).await.unwrap();
    world.storage.meetings.end(ada, meeting).await.unwrap();
    assert_eq!(recordings.claim(Some(MeetingId::new())).await.unwrap(), None);
    let claimed = recordings.claim(Some(meeting)).await.unwrap().unwrap();
    assert_eq!((claimed.status, claimed.owner), (RecordingStatus::Stopped, ada));
    assert_eq!(conflict(recordings.start(ada, meeting).await), Conflict::SessionNotLive);
}

#[tokio::test]
async fn a_recording_must_fit_and_its_file_takes_its_room() {
    let (world, ada, meeting) = live().await;
    let recordings = &world.storage.recordings;
    let recording = recordings.start(ada, meeting).await.unwrap();
    let most = vec![7; usize::try_from(QUOTA).unwrap() - 1];
    put(&world, ada, recording.id, 0, &most).await.unwrap();
    let refused = put(&world, ada, recording.id, 1, b"ab").await;
    assert!(matches!(refused, Err(Error::QuotaExceeded { .. })));
    put(&world, ada, recording.id, 0, &most).await.unwrap();
    put(&world, ada, recording.id, 1, b"a").await.unwrap();
    let stopped = recordings.stop(ada, meeting).await.unwrap();
    let Assembled::Whole(staged) = recordings.assemble(&stopped).await.unwrap() else { panic!() };
    let new = NewFile { staged, kind: FileKind::Audio, ..world.new_file(ada, Some(audio(1.0))).await };
    let file = world.storage.files.insert_recorded(new, &stopped).await.unwrap();
    assert_eq!((file.size_bytes, used(&world, ada).await), (QUOTA, QUOTA));
    world.storage.sweep().await.unwrap();
    assert_eq!(world.objects().await, [file.object_key.as_str()]);
}

#[tokio::test]
async fn a_room_takes_its_recordings_with_it_but_not_their_files() {
    let (world, ada, room, meeting) = live_room().await;
    let recordings = &world.storage.recordings;
    recordings.start(ada, meeting).await.unwrap();
    let stopped = recordings.stop(ada, meeting).await.unwrap();
    let file = world.new_file(ada, Some(audio(1.0))).await;
    let file = world.storage.files.insert_recorded(file, &stopped).await.unwrap();
    let another = recordings.start(ada, meeting).await.unwrap();
    put(&world, ada, another.id, 0, b"a").await.unwrap();
    world.storage.rooms.delete(ada, room).await.unwrap();
    world.storage.sweep().await.unwrap();
    assert_eq!(world.objects().await, [file.object_key.as_str()]);
    assert_eq!(used(&world, ada).await, file.size_bytes);
    assert!(matches!(recordings.find(ada, another.id).await, Err(Error::NotFound)));
}

/// A world, a user, and a live session of a room of theirs.
async fn live() -> (World, UserId, MeetingId) {
    let (world, user, _, meeting) = live_room().await;
    (world, user, meeting)
}

async fn live_room() -> (World, UserId, RoomId, MeetingId) {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let new = NewRoom { owner: ada, name: "A room".into(), passcode_hash: None };
    let room = world.storage.rooms.create(new).await.unwrap();
    let meeting = world.storage.meetings.start(ada, room.id, None).await.unwrap();
    (world, ada, room.id, meeting.id)
}

async fn put(world: &World, user: UserId, id: RecordingId, number: u32, bytes: &[u8]) -> Result<Recording> {
    let staged = world.staged(bytes).await;
    world.storage.recordings.put_chunk(user, id, NewChunk { number, staged }).await
}

async fn used(world: &World, owner: UserId) -> u64 {
    world.storage.files.usage(owner).await.unwrap().used_bytes
}

#[track_caller]
fn conflict<T: std::fmt::Debug>(outcome: Result<T>) -> Conflict {
    match outcome {
        Err(Error::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}
