//! The servers that a fleet stands on, from Debian's packages and crates.io: real ones, each of a test's own, gone with it.
//!
//! The tests of storage take this folder in by its path, for no crate of ours may stand between them.

mod postgres;
mod process;
mod redis;

pub use self::redis::Redis;
pub use postgres::Postgres;

use process::{Account, await_start, free_port, spawn};
