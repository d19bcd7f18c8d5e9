//! The end of an account.

use crate::world::{World, audio, idempotency, new_agent, transcribe};
use std::time::Duration;
use storage::{
    error::Error,
    jobs::{NewJob, Renewal},
    logins::TokenKind,
    preferences::Preferences,
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
    let parts = std::fs::read_dir(world.config.data_directory.join("uploads")).unwrap();
    assert_eq!(parts.count(), 0);
    let objects = world.objects().await;
    assert_eq!(objects.len(), 2, "bob's file and voice: {objects:?}");
    assert_eq!(world.read(&kept).await, b"some bytes");

    assert!(matches!(storage.erase(ada).await, Err(Error::NotFound)));
    let refused = storage.jobs.submit(transcribe(ada, kept.id)).await;
    assert!(matches!(refused, Err(Error::MissingInput { .. } | Error::NotFound)));
    assert!(matches!(storage.files.insert(world.new_file(ada, None).await).await, Err(Error::NotFound)));
    world.user("ada").await;
}
