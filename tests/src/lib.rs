//! The harness of the end-to-end tests: the real binary, started on data of its own, and a user of its HTTP API.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and panics")]

pub mod document;
pub mod fleet;
pub mod receiver;
pub mod server;
pub mod servers;
pub mod storm;
pub mod user;

use std::path::PathBuf;

/// The real recordings that the tests work on. They are not part of the project; a test that needs them says so and
/// ends where they are absent.
pub fn shared_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is absent", path.display());
    None
}

/// The root of the project.
pub fn project_root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
