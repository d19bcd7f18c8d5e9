//! Migrations go up and down, and storage needs no more and no less than they make.

use crate::servers::Postgres;
use crate::world::World;
use futures_util::future::try_join_all;
use sea_orm::ConnectionTrait as _;
use storage::page::Page;

#[tokio::test]
async fn migrations_of_sqlite_go_up_and_down_and_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("voxmill.db").display());
    up_and_down_and_up_again(&url).await;
    assert!(migrations::up("sqlite:///nowhere/voxmill.db").await.is_err());
}

#[tokio::test]
async fn migrations_of_postgres_go_up_and_down_and_up_again() {
    let postgres = Postgres::start();
    up_and_down_and_up_again(&postgres.url()).await;
}

/// From nothing, and from every schema that there was before.
async fn up_and_down_and_up_again(url: &str) {
    let all = migrations::pending(url).await.unwrap();
    assert!(all.is_sorted() && all.len() >= 4, "{all:?}");
    migrations::up(url).await.unwrap();
    assert_eq!(migrations::pending(url).await.unwrap(), Vec::<String>::new());
    migrations::up(url).await.unwrap();
    for steps in 1..=all.len() {
        migrations::down(url, u32::try_from(steps).unwrap()).await.unwrap();
        assert_eq!(migrations::pending(url).await.unwrap(), all[all.len() - steps..]);
        migrations::up(url).await.unwrap();
    }
    assert_eq!(migrations::pending(url).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_open_storage_answers() {
    let world = World::new().await;
    world.storage.ping().await.unwrap();
    world.storage.objects.ping().await.unwrap();
}

/// As in a fleet that goes from one version to the next, and back.
#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_as_it_is() {
    let world = World::new().await;
    let database = sea_orm::Database::connect(&world.config.database_url).await.unwrap();
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29991231_000001_wings', 1)";
    database.execute_unprepared(newer).await.unwrap();
    migrations::up(&world.config.database_url).await.unwrap();
    world.user("ada").await;
}

#[tokio::test]
async fn those_who_migrate_at_once_wait_for_each_other() {
    let postgres = Postgres::start();
    let url = postgres.url();
    try_join_all((0..4).map(|_| migrations::up(&url))).await.unwrap();
    assert_eq!(migrations::pending(&url).await.unwrap(), Vec::<String>::new());
}

/// Rows of the schema before are there in the one after it.
#[tokio::test]
async fn a_migration_keeps_what_is_there() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let (key, _) = world.storage.api_keys.create(ada, "script", None).await.unwrap();
    let url = world.config.database_url.clone();
    migrations::down(&url, 1).await.unwrap();
    migrations::up(&url).await.unwrap();
    assert_eq!(world.storage.users.get(ada).await.unwrap().id, ada);
    assert_eq!(world.storage.api_keys.list(ada, &Page::first()).await.unwrap().items[0].id, key.id);
}
