//! What the doors beside `/api/v1` add to an account: other kinds of logins, names, preferences, another password.

use crate::accounts::access;
use crate::world::World;
use futures_util::future::try_join_all;
use std::time::Duration;
use storage::{
    error::{Conflict, Error},
    ids::UserId,
    logins::{Rotation, TokenKind},
    preferences::Preferences,
    users::{Access, Name, NewPassword, NewUser, UserChange},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_standing_token_holds_until_it_expires_or_is_revoked() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let logins = &world.storage.logins;
    let (login, token) = logins.start(ada, TokenKind::Standing, 2 * DAY).await.unwrap();
    let (other, revoked) = logins.start(ada, TokenKind::Standing, 2 * DAY).await.unwrap();
    for _ in 0..3 {
        let Rotation::Standing { user, login: of } = logins.rotate(token.as_str()).await.unwrap() else {
            panic!("it holds")
        };
        assert_eq!((user, of), (ada, login));
    }
    assert_eq!(logins.session(token.as_str()).await.unwrap(), None, "it is no credential");
    logins.revoke(other).await.unwrap();
    assert!(matches!(logins.rotate(revoked.as_str()).await.unwrap(), Rotation::Unknown));
    world.clock.advance(2 * DAY);
    assert!(matches!(logins.rotate(token.as_str()).await.unwrap(), Rotation::Unknown));
    assert!(logins.is_live(login).await.unwrap(), "what it fetched last lives for a day");
    world.clock.advance(DAY);
    assert!(!logins.is_live(login).await.unwrap());
}

#[tokio::test]
async fn a_session_is_a_credential_and_no_refresh_token() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (logins, users) = (&world.storage.logins, &world.storage.users);
    let (login, token) = logins.start(ada, TokenKind::Session, 14 * DAY).await.unwrap();
    let (_, refresh) = logins.start(ada, TokenKind::Rotating, DAY).await.unwrap();
    assert_eq!(logins.session(token.as_str()).await.unwrap(), Some((ada, login)));
    assert_eq!(logins.session(refresh.as_str()).await.unwrap(), None);
    assert_eq!(logins.session("nonsense").await.unwrap(), None);
    assert!(matches!(logins.rotate(token.as_str()).await.unwrap(), Rotation::Unknown));
    users.administer(ada, access(Access::Disabled)).await.unwrap();
    assert_eq!(logins.session(token.as_str()).await.unwrap(), None);
    users.administer(ada, access(Access::Enabled)).await.unwrap();
    let (ended, gone) = logins.start(ada, TokenKind::Session, 14 * DAY).await.unwrap();
    logins.revoke(ended).await.unwrap();
    assert_eq!(logins.session(gone.as_str()).await.unwrap(), None);
    world.clock.advance(14 * DAY);
    assert_eq!(logins.session(token.as_str()).await.unwrap(), None);
}

#[tokio::test]
async fn a_name_has_three_spellings() {
    let world = World::new().await;
    let users = &world.storage.users;
    for (number, (name, first, last, display)) in [
        (Name::full("Ada de Lovelace"), "Ada", "de Lovelace", "Ada de Lovelace"),
        (Name::full("Cher"), "Cher", "", "Cher"),
        (Name::parts("Mary Ann", "Lee"), "Mary Ann", "Lee", "Mary Ann Lee"),
        (Name::parts("Cher", ""), "Cher", "", "Cher"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("user{number}@example.org");
        let user = users.create(NewUser { email, password_hash: "hash".into(), name }).await.unwrap();
        assert_eq!((user.first_name.as_str(), user.last_name.as_str()), (first, last));
        assert_eq!(user.display_name, display);
    }
}

#[tokio::test]
async fn an_account_changes_its_name_and_its_address_but_takes_nobodys() {
    let world = World::new().await;
    let (ada, _) = (world.user("ada").await, world.user("bob").await);
    let users = &world.storage.users;
    let name = UserChange { name: Some(Name::full("Ada Byron")), ..UserChange::default() };
    let changed = users.change(ada, name).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.email.as_str()), ("Ada Byron", "ada@example.org"));
    assert_eq!((changed.first_name.as_str(), changed.last_name.as_str()), ("Ada", "Byron"));
    let to = |email: &str| UserChange { email: Some(email.into()), ..UserChange::default() };
    let taken = users.change(ada, to("BOB@example.org")).await;
    assert!(matches!(taken, Err(Error::Conflict(Conflict::EmailTaken))));
    assert_eq!(users.change(ada, to("Ada@Example.com")).await.unwrap().email, "ada@example.com");
    assert_eq!(users.by_email("ada@example.org").await.unwrap(), None);
    assert_eq!(users.change(ada, to("ada@example.com")).await.unwrap().display_name, "Ada Byron");
    let nobody = users.change(UserId::new(), UserChange::default()).await;
    assert!(matches!(nobody, Err(Error::NotFound)));
}

#[tokio::test]
async fn another_password_ends_every_other_login() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (logins, users) = (&world.storage.logins, &world.storage.users);
    let (kept, token) = logins.start(ada, TokenKind::Session, DAY).await.unwrap();
    let (other, refresh) = logins.start(ada, TokenKind::Rotating, DAY).await.unwrap();
    let (bobs, _) = logins.start(bob, TokenKind::Rotating, DAY).await.unwrap();
    let change = |old: &str, new: &str, keep| {
        let new = NewPassword { old_hash: old.into(), new_hash: new.into(), keep };
        users.change_password(ada, new)
    };
    assert!(!change("not the hash", "new", None).await.unwrap());
    assert!(logins.is_live(other).await.unwrap());
    assert!(change("hash", "new", Some(kept)).await.unwrap());
    assert!(logins.is_live(kept).await.unwrap() && logins.is_live(bobs).await.unwrap());
    assert!(logins.session(token.as_str()).await.unwrap().is_some());
    assert!(!logins.is_live(other).await.unwrap());
    assert!(matches!(logins.rotate(refresh.as_str()).await.unwrap(), Rotation::Unknown));
    assert_eq!(users.get(ada).await.unwrap().password_hash, "new");

    let outcomes = try_join_all((0..8).map(|_| change("new", "newer", None))).await.unwrap();
    assert_eq!(outcomes.iter().filter(|changed| **changed).count(), 1);
    assert!(!logins.is_live(kept).await.unwrap());
}

#[tokio::test]
async fn preferences_are_the_usual_ones_until_they_are_set() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let users = &world.storage.users;
    assert_eq!(users.preferences(ada).await.unwrap(), Preferences::default());
    let mut wanted = Preferences {
        preferred_voice: "nova".into(),
        preferred_language: "es".into(),
        favorite_topics: vec!["travel".into(), "技術".into()],
        system_prompt_override: "Be kind.".into(),
    };
    users.set_preferences(ada, &wanted).await.unwrap();
    assert_eq!(users.preferences(ada).await.unwrap(), wanted);
    wanted.favorite_topics.clear();
    try_join_all((0..4).map(|_| users.set_preferences(ada, &wanted))).await.unwrap();
    assert_eq!(users.preferences(ada).await.unwrap(), wanted);
    assert_eq!(users.preferences(bob).await.unwrap(), Preferences::default());
    assert!(matches!(users.set_preferences(UserId::new(), &wanted).await, Err(Error::NotFound)));
}
