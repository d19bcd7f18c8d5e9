//! Conversations with the voice agent.

use crate::world::World;
use futures_util::future::join_all;
use serde_json::json;
use storage::{
    conversations::{Conversation, NewConversation, NewUtterance, Speaker, Window},
    error::{Conflict, Error},
    ids::{ConversationId, UserId},
    page::Page,
};

#[tokio::test]
async fn a_conversation_is_kept_as_it_was() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let conversations = &world.storage.conversations;
    let started = start(&world, Some(ada), "quickstart").await;
    assert_eq!((started.user, started.utterances, started.ended_at), (Some(ada), 0, None));
    let greeting = conversations.say(&started, final_text(Speaker::Agent, "Grüße 👋")).await.unwrap();
    world.pass(1);
    conversations.say(&started, final_text(Speaker::User, "Paris")).await.unwrap();
    world.pass(1);
    let speech = NewUtterance { event: "speech_started".into(), ..final_text(Speaker::Agent, "") };
    conversations.say(&started, speech).await.unwrap();
    let ended = conversations.end(&started).await.unwrap();
    assert_eq!(conversations.find(ada, started.id).await.unwrap(), ended);
    assert_eq!((ended.utterances, ended.ended_at.is_some()), (3, true));
    assert_eq!(ended.metadata, json!({"user_id": "user-123"}));
    let said = conversations.said(&ended).await.unwrap();
    assert_eq!(said[0], greeting);
    assert_eq!(
        (said[1].text.as_str(), said[1].role, said[2].event.as_str()),
        ("Paris", Speaker::User, "speech_started")
    );

    for over in [
        conversations.say(&started, final_text(Speaker::User, "late")).await.map(|_| ()),
        conversations.end(&started).await.map(|_| ()),
    ] {
        assert!(matches!(over, Err(Error::Conflict(Conflict::ConversationOver))));
    }
}

#[tokio::test]
async fn of_two_ends_at_once_one_counts() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let started = start(&world, Some(ada), "quickstart").await;
    let ends = join_all((0..4).map(|_| world.storage.conversations.end(&started))).await;
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
    let says = join_all(
        (0..4).map(|_| world.storage.conversations.say(&started, final_text(Speaker::User, "late"))),
    );
    assert!(says.await.iter().all(Result::is_err));
    assert_eq!(world.storage.conversations.find(ada, started.id).await.unwrap().utterances, 0);
}

#[tokio::test]
async fn conversations_are_their_users_and_come_newest_first() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let conversations = &world.storage.conversations;
    let mut started = vec![];
    for room in ["one", "two", "three"] {
        started.insert(0, start(&world, Some(ada), room).await);
        world.pass(1);
    }
    let guests = start(&world, None, "one").await;
    let window =
        async |user, limit, offset| conversations.window(user, Window { limit, offset }).await.unwrap();
    assert_eq!(window(ada, 100, 0).await, (3, started.clone()));
    assert_eq!(window(ada, 1, 1).await, (3, vec![started[1].clone()]));
    assert_eq!(window(ada, 10, u64::MAX).await, (3, vec![]));
    assert_eq!(window(bob, 10, 0).await, (0, vec![]));
    assert_eq!(conversations.list(ada, &Page::first()).await.unwrap().items, started);
    for (user, id) in [(bob, started[0].id), (ada, guests.id), (ada, ConversationId::new())] {
        assert!(matches!(conversations.find(user, id).await, Err(Error::NotFound)));
    }

    conversations.say(&guests, final_text(Speaker::User, "hello")).await.unwrap();
    world.storage.sweep().await.unwrap();
    assert_eq!(conversations.said(&guests).await.unwrap().len(), 1);
    world.pass(24 * 3600 + 1);
    world.storage.sweep().await.unwrap();
    assert_eq!(conversations.said(&guests).await.unwrap(), []);
    assert_eq!(window(ada, 100, 0).await.0, 3);
}

async fn start(world: &World, user: Option<UserId>, room: &str) -> Conversation {
    let new = NewConversation {
        user,
        room: room.to_owned(),
        system_prompt: "You are a friendly travel assistant.".to_owned(),
        metadata: json!({"user_id": "user-123"}),
    };
    world.storage.conversations.start(new).await.unwrap()
}

fn final_text(role: Speaker, text: &str) -> NewUtterance {
    NewUtterance { role, text: text.to_owned(), event: String::new(), is_final: true }
}
