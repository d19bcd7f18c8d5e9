//! What the storage of a test stands on. These tests are compiled twice, for `fleet` is a link to `it`: once for what one
//! process has within it, once for the servers of a fleet.

use crate::servers::Postgres;
use std::path::Path;
use std::sync::OnceLock;
use tokio::sync::OnceCell;

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
