//! Users, logins and API keys.

use crate::world::{QUOTA, World};
use std::num::NonZeroU32;
use std::time::Duration;
use storage::{
    error::{Conflict, Error},
    ids::{ApiKeyId, LoginId, UserId},
    logins::{LoginToken, Rotation, TokenKind},
    page::Page,
    users::{Access, Name, NewUser, Role},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn an_account_is_found_by_its_address_in_any_case() {
    let world = World::new().await;
    let new = |email: &str| NewUser {
        email: email.into(),
        password_hash: "hash".into(),
        name: Name::full("Ada de Lovelace"),
    };
    let ada = world.storage.users.create(new(" Ada@Example.org ")).await.unwrap();
    assert_eq!((ada.number, ada.role, ada.quota_bytes, ada.disabled), (1, Role::User, QUOTA, false));
    assert_eq!((ada.email.as_str(), ada.display_name.as_str()), ("ada@example.org", "Ada de Lovelace"));
    assert_eq!((ada.first_name.as_str(), ada.last_name.as_str()), ("Ada", "de Lovelace"));
    let again = world.storage.users.create(new("ADA@EXAMPLE.ORG")).await;
    assert!(matches!(again, Err(Error::Conflict(Conflict::EmailTaken))));
    assert_eq!(world.storage.users.by_email("adA@example.org").await.unwrap(), Some(ada.clone()));
    assert_eq!(world.storage.users.get(ada.id).await.unwrap(), ada);
    assert_eq!(world.storage.users.by_email("nobody@example.org").await.unwrap(), None);
    assert!(matches!(world.storage.users.get(UserId::new()).await, Err(Error::NotFound)));

    let promoted = world.storage.users.set_role("ADA@example.org", Role::Admin).await.unwrap();
    assert_eq!(promoted.role, Role::Admin);
    assert!(matches!(
        world.storage.users.set_role("nobody@example.org", Role::Admin).await,
        Err(Error::NotFound)
    ));
}

#[tokio::test]
async fn users_are_numbered_and_listed_newest_first() {
    let world = World::new().await;
    for name in ["a", "b", "c"] {
        world.user(name).await;
    }
    let first = world.storage.users.list(&Page { limit: 2, cursor: None }).await.unwrap();
    assert_eq!(first.items.iter().map(|user| user.number).collect::<Vec<_>>(), [3, 2]);
    let rest = world.storage.users.list(&Page { limit: 2, cursor: first.next_cursor }).await.unwrap();
    assert_eq!(rest.items.iter().map(|user| user.number).collect::<Vec<_>>(), [1]);
    assert_eq!(rest.next_cursor, None);
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_a_second_use_ends_the_login() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let logins = &world.storage.logins;
    let (login, first) = logins.start(user, TokenKind::Rotating, 14 * DAY).await.unwrap();
    let (other, _) = logins.start(user, TokenKind::Rotating, 14 * DAY).await.unwrap();
    assert!(logins.is_live(login).await.unwrap());

    let second = fresh(&world, &first, (user, login)).await;
    let third = fresh(&world, &second, (user, login)).await;
    assert!(
        matches!(logins.rotate(first.as_str()).await.unwrap(), Rotation::Reused { user: whose } if whose == user)
    );
    assert!(!logins.is_live(login).await.unwrap());
    assert!(logins.is_live(other).await.unwrap(), "another login of the user goes on");
    for token in [&first, &second, &third] {
        assert!(matches!(logins.rotate(token.as_str()).await.unwrap(), Rotation::Unknown));
    }
    assert!(matches!(logins.rotate("nonsense").await.unwrap(), Rotation::Unknown));
    assert!(!logins.is_live(LoginId::new()).await.unwrap());
}

#[tokio::test]
async fn of_two_uses_at_once_only_one_is_fresh() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let (_, token) = world.storage.logins.start(user, TokenKind::Rotating, DAY).await.unwrap();
    let uses = (0..8).map(|_| world.storage.logins.rotate(token.as_str()));
    let outcomes = futures_util::future::try_join_all(uses).await.unwrap();
    let fresh = outcomes.iter().filter(|outcome| matches!(outcome, Rotation::Fresh { .. })).count();
    assert_eq!(fresh, 1);
}

#[tokio::test]
async fn a_login_lives_as_long_as_it_is_used() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let (login, token) = world.storage.logins.start(user, TokenKind::Rotating, 2 * DAY).await.unwrap();
    world.clock.advance(DAY);
    let token = fresh(&world, &token, (user, login)).await;
    world.clock.advance(DAY + Duration::from_secs(60));
    let token = fresh(&world, &token, (user, login)).await;
    world.clock.advance(2 * DAY);
    assert!(!world.storage.logins.is_live(login).await.unwrap());
    assert!(matches!(world.storage.logins.rotate(token.as_str()).await.unwrap(), Rotation::Unknown));
}

#[tokio::test]
async fn logout_and_disabling_bite_at_once() {
    let world = World::new().await;
    let user = world.user("ada").await;
    let logins = &world.storage.logins;
    let (first, first_token) = logins.start(user, TokenKind::Rotating, DAY).await.unwrap();
    let (second, second_token) = logins.start(user, TokenKind::Rotating, DAY).await.unwrap();
    logins.revoke(first).await.unwrap();
    logins.revoke(first).await.unwrap();
    assert!(!logins.is_live(first).await.unwrap());
    assert!(matches!(logins.rotate(first_token.as_str()).await.unwrap(), Rotation::Unknown));

    let (_, key) = world.storage.api_keys.create(user, "script", None).await.unwrap();
    assert!(world.storage.users.set_access(user, Access::Disabled).await.unwrap().disabled);
    assert!(!logins.is_live(second).await.unwrap());
    assert!(matches!(logins.rotate(second_token.as_str()).await.unwrap(), Rotation::Unknown));
    assert_eq!(world.storage.api_keys.owner_of(&key).await.unwrap(), None);
    world.storage.users.set_access(user, Access::Enabled).await.unwrap();
    assert!(logins.is_live(second).await.unwrap());

    logins.revoke_all(user).await.unwrap();
    assert!(!logins.is_live(second).await.unwrap());
    let shown = format!("{second_token:?}");
    assert!(!shown.contains(second_token.as_str()), "a token stays out of logs");
}

#[tokio::test]
async fn an_api_key_opens_until_it_expires_or_is_deleted() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let keys = &world.storage.api_keys;
    let expires_at = world.clock.now() + DAY;
    let (key, plain) = keys.create(ada, "script", Some(expires_at)).await.unwrap();
    let (kept, kept_plain) = keys.create(ada, "other", None).await.unwrap();
    assert!(plain.starts_with("vx_") && plain.starts_with(&key.prefix) && key.prefix.len() < 16);
    assert_eq!(keys.owner_of(&plain).await.unwrap(), Some(ada));
    assert_eq!(keys.owner_of("vx_nonsense").await.unwrap(), None);

    let listed = keys.list(ada, &Page::first()).await.unwrap().items;
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [kept.id, key.id]);
    let used = listed[1].last_used_at.unwrap();
    world.pass(30);
    keys.owner_of(&plain).await.unwrap();
    let listed = keys.list(ada, &Page::first()).await.unwrap().items;
    assert_eq!(listed[1].last_used_at, Some(used), "uses within a minute are one");
    assert_eq!(listed[0].last_used_at, None);
    assert_eq!(keys.list(bob, &Page::first()).await.unwrap().items, []);

    assert!(matches!(keys.delete(bob, kept.id).await, Err(Error::NotFound)));
    assert!(matches!(keys.delete(ada, ApiKeyId::new()).await, Err(Error::NotFound)));
    keys.delete(ada, kept.id).await.unwrap();
    assert_eq!(keys.owner_of(&kept_plain).await.unwrap(), None);
    world.clock.advance(DAY);
    assert_eq!(keys.owner_of(&plain).await.unwrap(), None);
}

#[tokio::test]
async fn an_api_key_may_have_a_rate_of_its_own() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let keys = &world.storage.api_keys;
    let (key, plain) = keys.create(ada, "script", None).await.unwrap();
    assert_eq!(keys.opened_by(&plain).await.unwrap().unwrap().requests_per_minute, None);
    let rate = NonZeroU32::new(600).unwrap();
    keys.set_rate(ada, key.id, rate).await.unwrap();
    assert_eq!(keys.opened_by(&plain).await.unwrap().unwrap().requests_per_minute, Some(rate));
    assert_eq!(keys.list(ada, &Page::first()).await.unwrap().items[0].requests_per_minute, Some(rate));
    assert!(matches!(keys.set_rate(bob, key.id, rate).await, Err(Error::NotFound)));
    assert!(matches!(keys.set_rate(ada, key.id, NonZeroU32::MAX).await, Err(Error::Input { .. })));
}

#[track_caller]
fn expect_fresh(rotation: Rotation, expected: (UserId, LoginId)) -> LoginToken {
    match rotation {
        Rotation::Fresh { user, login, token } => {
            assert_eq!((user, login), expected);
            token
        }
        Rotation::Standing { .. } | Rotation::Reused { .. } | Rotation::Unknown => panic!("{rotation:?}"),
    }
}

async fn fresh(world: &World, token: &LoginToken, expected: (UserId, LoginId)) -> LoginToken {
    expect_fresh(world.storage.logins.rotate(token.as_str()).await.unwrap(), expected)
}
