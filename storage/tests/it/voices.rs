//! Voice profiles.

use crate::world::{World, audio};
use storage::{
    error::Error,
    ids::{FileId, UserId, VoiceId},
    voices::{Gender, NewVoice, VoiceFilter},
};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn a_profile_outlives_its_sample_and_is_its_owners() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let voices = &world.storage.voices;
    let sample = world.file(ada, Some(audio(4.0))).await;
    let voice = voices.create(new_voice(ada, sample.id, "en")).await.unwrap();
    assert_eq!(
        (voice.gender, voice.sample, voice.media.clone()),
        (Some(Gender::Female), Some(sample.id), sample.media)
    );
    assert_eq!(world.storage.files.usage(ada).await.unwrap().used_bytes, 20);
    world.storage.files.delete(ada, sample.id).await.unwrap();

    assert_eq!(voices.find(ada, voice.id).await.unwrap(), voice);
    let mut bytes = String::new();
    let mut reader = world.storage.objects.open(&voice.object_key, None).await.unwrap();
    reader.read_to_string(&mut bytes).await.unwrap();
    assert_eq!(bytes, "some bytes");

    assert!(matches!(voices.find(bob, voice.id).await, Err(Error::NotFound)));
    assert!(matches!(voices.delete(bob, voice.id).await, Err(Error::NotFound)));
    assert_eq!(voices.list(bob, &VoiceFilter::default()).await.unwrap(), []);
    voices.delete(ada, voice.id).await.unwrap();
    assert!(matches!(voices.find(ada, voice.id).await, Err(Error::NotFound)));
    assert!(matches!(voices.find(ada, VoiceId::new()).await, Err(Error::NotFound)));
    assert_eq!(world.objects().await, Vec::<String>::new());
}

#[tokio::test]
async fn profiles_are_filtered_and_need_a_sample_of_their_owner() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let sample = world.audio(ada).await;
    let voices = &world.storage.voices;
    let english = voices.create(new_voice(ada, sample, "en")).await.unwrap();
    let other = NewVoice { gender: None, ..new_voice(ada, sample, "de") };
    let german = voices.create(other).await.unwrap();
    let list = async |language: Option<&str>, gender| {
        let filter = VoiceFilter { language: language.map(str::to_owned), gender };
        voices.list(ada, &filter).await.unwrap().into_iter().map(|voice| voice.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, [german.id, english.id]);
    assert_eq!(list(Some("de"), None).await, [german.id]);
    assert_eq!(list(None, Some(Gender::Female)).await, [english.id]);
    assert_eq!(list(Some("de"), Some(Gender::Female)).await, []);
    for (owner, sample) in [(bob, sample), (ada, FileId::new())] {
        let refused = voices.create(new_voice(owner, sample, "en")).await;
        assert!(matches!(refused, Err(Error::MissingInput { field }) if field == "audio_sample_id"));
    }
}

fn new_voice(owner: UserId, sample: FileId, language: &str) -> NewVoice {
    NewVoice {
        owner,
        name: "A voice".into(),
        description: None,
        language: language.into(),
        gender: Some(Gender::Female),
        consent: Some(serde_json::json!({"by": "Ada"})),
        sample,
        speech_seconds: 3.5,
    }
}
