//! Passwords that were forgotten.

use crate::world::World;
use std::time::Duration;
use storage::{
    logins::TokenKind,
    users::{Access, Administered, NewPassword},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_token_sets_the_password_once_and_ends_every_login() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let storage = &world.storage;
    let (login, _) = storage.logins.start(ada, TokenKind::Standing, DAY).await.unwrap();
    let (others, _) = storage.logins.start(bob, TokenKind::Session, DAY).await.unwrap();
    let (user, token) = storage.users.begin_reset(" ADA@example.org").await.unwrap().unwrap();
    assert_eq!((user.id, format!("{token:?}")), (ada, "ResetToken(…)".to_owned()));
    assert!(storage.logins.is_live(login).await.unwrap(), "to ask changes nothing");
    assert!(storage.users.is_reset(token.as_str()).await.unwrap());

    let finish = |hash: &str| storage.users.finish_reset(token.as_str(), hash.to_owned());
    let (one, other) = tokio::join!(finish("one"), finish("other"));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.is_some() != other.is_some(), "{one:?} {other:?}");
    let hash = storage.users.get(ada).await.unwrap().password_hash;
    assert_eq!(hash, if one.is_some() { "one" } else { "other" });
    assert!(!storage.logins.is_live(login).await.unwrap());
    assert!(storage.logins.is_live(others).await.unwrap());
    assert!(!storage.users.is_reset(token.as_str()).await.unwrap());
}

#[tokio::test]
async fn a_token_is_void_after_an_hour_another_or_a_change_of_the_password() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let users = &world.storage.users;
    let begin = async || users.begin_reset("ada@example.org").await.unwrap().unwrap().1;
    let refused = async |token: &str| {
        assert!(!users.is_reset(token).await.unwrap());
        assert_eq!(users.finish_reset(token, "new".into()).await.unwrap(), None);
    };
    let (first, second) = (begin().await, begin().await);
    refused(first.as_str()).await;
    world.pass(3599);
    assert!(users.is_reset(second.as_str()).await.unwrap());
    world.pass(1);
    refused(second.as_str()).await;
    world.storage.sweep().await.unwrap();

    let third = begin().await;
    let new = NewPassword { old_hash: "hash".into(), new_hash: "other".into(), keep: None };
    assert!(users.change_password(ada, new).await.unwrap());
    refused(third.as_str()).await;

    let fourth = begin().await;
    let disabled = Administered { access: Some(Access::Disabled), ..Administered::default() };
    users.administer(ada, disabled).await.unwrap();
    assert_eq!(users.finish_reset(fourth.as_str(), "new".into()).await.unwrap(), None);
    assert!(users.begin_reset("ada@example.org").await.unwrap().is_none());
    assert!(users.begin_reset("nobody@example.org").await.unwrap().is_none());
    for nonsense in ["", "a", &"f".repeat(64)] {
        refused(nonsense).await;
    }
    assert_eq!(users.get(ada).await.unwrap().password_hash, "other");
}
