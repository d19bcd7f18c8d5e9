//! What the storage of a test stands on. These tests are compiled twice, for `fleet` is a link to `it`: once for what one
//! process has within it, once for the servers of a fleet.

use crate::servers::{Garage, Postgres, Redis, S3, Store};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
use storage::RedisConfig;
use storage::objects::{ObjectsConfig, S3Config, S3Keys};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Whether this is the run on the servers of a fleet.
pub(crate) const FLEET: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"fleet");

/// The URL of a database of the test's own, with the schema of this version.
pub(crate) async fn database(directory: &Path) -> String {
    let url = if FLEET { copy_of_template().await } else { file(directory) };
    if !FLEET {
        migrations::up(&url).await.unwrap();
    }
    url
}

/// A place of the test's own for objects.
pub(crate) fn objects() -> ObjectsConfig {
    if FLEET { ObjectsConfig::S3(bucket(s3().port())) } else { ObjectsConfig::Disk }
}

/// In the bucket of the store that this port leads to, apart from all others.
pub(crate) fn bucket(port: u16) -> S3Config {
    S3Config {
        bucket: S3::BUCKET.into(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: "us-east-1".into(),
        keys: Some(S3Keys { access_key: S3::ACCESS_KEY.into(), secret_key: S3::SECRET_KEY.into() }),
        prefix: format!("of/{}", Uuid::new_v4().simple()),
        public_endpoint: None,
        patience: Duration::from_secs(20),
    }
}

/// Keys of the test's own.
pub(crate) fn redis() -> Option<RedisConfig> {
    static REDIS: OnceLock<Redis> = OnceLock::new();
    let prefix = || format!("of:{}", Uuid::new_v4().simple());
    FLEET.then(|| RedisConfig { url: REDIS.get_or_init(Redis::start).url(), prefix: prefix() })
}

/// One for all tests of this process: Garage, where there is one, else one that is made of files.
pub(crate) fn s3() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| match std::env::var_os(Garage::PROGRAM) {
        Some(_) => Store::Garage(Garage::start()),
        None => Store::Folder(S3::start()),
    })
}

fn file(directory: &Path) -> String {
    format!("sqlite://{}?mode=rwc", directory.join("voxmill.db").display())
}

/// Migrations take a second; a copy of what they make takes less.
async fn copy_of_template() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let template = TEMPLATE
        .get_or_init(async || {
            let url = postgres().database(None);
            migrations::up(&url).await.unwrap();
            url
        })
        .await;
    let template = template.clone();
    tokio::task::spawn_blocking(move || postgres().database(Some(&template))).await.unwrap()
}

/// One for all tests of this process.
fn postgres() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(Postgres::start)
}
