//! Migrations go up and down, and storage needs no more and no less than they make.

use crate::world::World;

#[tokio::test]
async fn migrations_go_up_and_down_and_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}?mode=rwc", directory.path().join("voxmill.db").display());
    let all = migrations::pending(&url).await.unwrap();
    assert!(all.is_sorted() && all.len() >= 4, "{all:?}");
    migrations::up(&url).await.unwrap();
    assert_eq!(migrations::pending(&url).await.unwrap(), Vec::<String>::new());
    migrations::up(&url).await.unwrap();
    migrations::down(&url, 1).await.unwrap();
    assert_eq!(migrations::pending(&url).await.unwrap(), all[all.len() - 1..]);
    migrations::down(&url, u32::try_from(all.len()).unwrap() - 1).await.unwrap();
    assert_eq!(migrations::pending(&url).await.unwrap(), all);
    migrations::up(&url).await.unwrap();
    assert!(migrations::up("sqlite:///nowhere/voxmill.db").await.is_err());
}

#[tokio::test]
async fn an_open_storage_answers() {
    let world = World::new().await;
    world.storage.ping().await.unwrap();
    assert!(world.storage.objects.free_bytes().await.unwrap().unwrap() > 0);
}
