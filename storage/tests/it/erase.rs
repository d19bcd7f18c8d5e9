//! The end of an account.

use crate::back_end::FLEET;
use crate::webhooks::callback;
use crate::world::{World, audio, idempotency, new_agent, transcribe};
use sea_orm::{ConnectionTrait, Statement};
use serde_json::json;
use std::time::Duration;
use storage::{
    conversations::{NewConversation, NewUtterance, Speaker},
    error::Error,
    ids::{MeetingId, UserId},
    jobs::{NewJob, Renewal},
    live_names::LiveName,
    logins::TokenKind,
    page::Page,
    preferences::Preferences,
    projects::NewProject,
    rooms::{
        NewRoom,
        chunks::NewChunk,
        participants::{Appointment, Role},
    },
    uploads::NewUpload,
    voices::NewVoice,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn an_erased_account_leaves_nothing_behind_and_touches_nobody_else() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let storage = &world.storage;
    let kept = world.file(bob, Some(audio(4.0))).await;
    let sample = world.file(ada, Some(audio(4.0))).await;
    for (owner, sample) in [(ada, sample.id), (bob, kept.id)] {
        let voice = NewVoice {
            owner,
            name: "A voice".into(),
            description: None,
            language: "en".into(),
            gender: None,
            consent: None,
            sample,
            speech_seconds: 3.5,
        };
        storage.voices.create(voice).await.unwrap();
    }
    let upload = NewUpload {
        owner: ada,
        filename: "a".into(),
        content_type: None,
        size_bytes: 3,
        project_name: None,
        sha256: None,
    };
    let upload = storage.uploads.begin(upload).await.unwrap();
    storage.uploads.put_part(&upload, 1, b"abc".as_slice()).await.unwrap();
    storage.projects.find_or_create(ada, "film").await.unwrap();
    let (login, _) = storage.logins.start(ada, TokenKind::Session, DAY).await.unwrap();
    let (_, key) = storage.api_keys.create(ada, "script", None).await.unwrap();
    let agent = world.agent(ada, "Sales").await;
    let campaign = world.campaign(ada, agent).await;
    let theirs = world.agent(bob, "Sales").await;
    let their_campaign = world.campaign(bob, theirs).await;
    storage.users.set_preferences(ada, &Preferences::default()).await.unwrap();
    let job =
        world.submit(NewJob { idempotency: idempotency("key", "print"), ..transcribe(ada, sample.id) }).await;
    let claim = world.claim(job.id).await;

    storage.erase(ada).await.unwrap();

    assert!(matches!(storage.users.get(ada).await, Err(Error::NotFound)));
    assert_eq!(storage.users.by_email("ada@example.org").await.unwrap(), None);
    assert!(!storage.logins.is_live(login).await.unwrap());
    assert_eq!(storage.api_keys.owner_of(&key).await.unwrap(), None);
    assert!(matches!(storage.jobs.find(ada, job.id).await, Err(Error::NotFound)));
    assert!(matches!(storage.jobs.renew(&claim.lease, 50.0, "work").await.unwrap(), Renewal::Lost));
    assert!(matches!(storage.files.find(ada, sample.id).await, Err(Error::NotFound)));
    assert!(matches!(storage.uploads.find_signed(upload.id).await, Err(Error::NotFound)));
    assert!(matches!(storage.agents.find(ada, agent).await, Err(Error::NotFound)));
    assert!(matches!(storage.campaigns.find(ada, campaign).await, Err(Error::NotFound)));
    assert_eq!(storage.campaigns.find(bob, their_campaign).await.unwrap().agent, Some(theirs));
    assert!(matches!(storage.agents.create(new_agent(ada, "Sales")).await, Err(Error::NotFound)));
    assert_eq!(world.parts_left(), 0);
    let objects = world.objects().await;
    assert_eq!(objects.len(), 2, "bob's file and voice: {objects:?}");
    assert_eq!(world.read(&kept).await, b"some bytes");

    assert!(matches!(storage.erase(ada).await, Err(Error::NotFound)));
    let refused = storage.jobs.submit(transcribe(ada, kept.id)).await;
    assert!(matches!(refused, Err(Error::MissingInput { .. } | Error::NotFound)));
    assert!(matches!(storage.files.insert(world.new_file(ada, None).await).await, Err(Error::NotFound)));
    world.user("ada").await;
}

#[tokio::test]
async fn no_table_names_who_was_erased() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let storage = &world.storage;
    // Each is in a session of the other's.
    let (hers, his) = (live(&world, ada).await, live(&world, bob).await);
    for (user, meeting) in [(ada, his), (bob, hers)] {
        let entrance = storage.meetings.entrance(user, meeting).await.unwrap();
        storage.meetings.join(entrance).await.unwrap();
        storage.meetings.say(user, meeting, "Hello".into()).await.unwrap();
    }
    storage.meetings.appoint(bob, his, Appointment { user: ada, role: Role::Host }).await.unwrap();
    let his_recording = storage.recordings.start(ada, his).await.unwrap();
    let her_recording = storage.recordings.start(ada, hers).await.unwrap();
    for recording in [&his_recording, &her_recording] {
        let chunk = NewChunk { number: 0, staged: world.staged(b"chunk").await };
        storage.recordings.put_chunk(ada, recording.id, chunk).await.unwrap();
    }
    let project = NewProject { owner: ada, name: "film".into(), description: None };
    let project = storage.projects.create(project).await.unwrap();
    storage.voice_sessions.start(ada, project.id).await.unwrap();
    let conversation = NewConversation {
        user: Some(ada),
        room: "quickstart".into(),
        system_prompt: String::new(),
        metadata: json!({}),
    };
    let conversation = storage.conversations.start(conversation).await.unwrap();
    let words =
        NewUtterance { role: Speaker::User, text: "Paris".into(), event: String::new(), is_final: true };
    storage.conversations.say(&conversation, words).await.unwrap();
    storage.users.begin_reset("ada@example.org").await.unwrap().unwrap();
    storage.logins.start(ada, TokenKind::Rotating, DAY).await.unwrap();
    storage.api_keys.create(ada, "script", None).await.unwrap();
    storage.users.set_preferences(ada, &Preferences::default()).await.unwrap();
    let name = LiveName { room: "quickstart", identity: "ada" };
    storage.live_names.hold(ada, name, DAY).await.unwrap();
    let sample = world.file(ada, Some(audio(4.0))).await;
    world.submit(NewJob { idempotency: idempotency("key", "print"), ..transcribe(ada, sample.id) }).await;
    let told = world.submit(NewJob { callback: callback(), ..transcribe(ada, sample.id) }).await;
    storage.jobs.cancel(ada, told.id).await.unwrap();
    storage.webhooks.rotate(ada).await.unwrap();
    let before = tables_naming(&world, ada).await;
    for table in
        ["agent_sessions", "chat_messages", "recording_chunks", "rooms", "session_participants", "webhook_"]
    {
        assert!(before.iter().any(|found| found.starts_with(table)), "{table} is not in {before:?}");
    }

    storage.erase(ada).await.unwrap();

    assert_eq!(tables_naming(&world, ada).await, [""; 0]);
    // Of hers and of what hung on it nothing is left; what is his goes on.
    for table in ["utterances", "voice_sessions", "job_inputs", "password_resets", "garbage"] {
        assert_eq!(count(&world, table).await, 0, "{table}");
    }
    let rest = storage.recordings.find(bob, his_recording.id).await.unwrap();
    assert_eq!((rest.started_by, rest.chunks), (None, 1));
    assert_eq!(world.objects().await.len(), 1, "the chunk of his recording");
    assert_eq!(storage.meetings.said(bob, his, &Page::first()).await.unwrap().items, []);
}

/// A live session in a room of the user's.
async fn live(world: &World, owner: UserId) -> MeetingId {
    let room = NewRoom { owner, name: "A room".into(), passcode_hash: None };
    let room = world.storage.rooms.create(room).await.unwrap();
    world.storage.meetings.start(owner, room.id, None).await.unwrap().id
}

/// Each `table.column` that holds the user's id or address, except the audit log, which is to outlive the account.
async fn tables_naming(world: &World, user: UserId) -> Vec<String> {
    let database = sea_orm::Database::connect(&world.config.database_url).await.unwrap();
    let query = async |sql: String| {
        let statement = Statement::from_string(database.get_database_backend(), sql);
        database.query_all_raw(statement).await.unwrap()
    };
    let (id, text) = (user.as_uuid().simple().to_string(), user.to_string());
    let columns = if FLEET {
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'"
    } else {
        "SELECT tables.name, columns.name FROM sqlite_master AS tables, pragma_table_info(tables.name) AS columns \
         WHERE tables.type = 'table'"
    };
    let mut found = vec![];
    for column in query(columns.to_owned()).await {
        let table: String = column.try_get_by_index(0).unwrap();
        let column: String = column.try_get_by_index(1).unwrap();
        if table == "security_events" {
            continue;
        }
        // SQLite keeps ids as bytes.
        let (as_text, bytes) =
            if FLEET { ("::text", "FALSE".to_owned()) } else { ("", format!("\"{column}\" = x'{id}'")) };
        let naming = format!(
            "SELECT 1 FROM \"{table}\" WHERE {bytes} OR \"{column}\"{as_text} LIKE '%{text}%' \
             OR \"{column}\"{as_text} LIKE '%ada@example.org%'"
        );
        if !query(naming).await.is_empty() {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

async fn count(world: &World, table: &str) -> usize {
    let database = sea_orm::Database::connect(&world.config.database_url).await.unwrap();
    let sql = format!("SELECT 1 FROM \"{table}\"");
    let statement = Statement::from_string(database.get_database_backend(), sql);
    database.query_all_raw(statement).await.unwrap().len()
}
