//! The servers that a fleet stands on, from Debian's packages and crates.io: real ones, each of a test's own, gone with it.
//!
//! The tests of storage take this folder in by its path, for no crate of ours may stand between them.

mod fault_proxy;
mod garage;
mod postgres;
mod process;
mod redis;
mod s3;
mod store;

pub use self::redis::Redis;
pub use fault_proxy::{Fault, FaultProxy, Way};
pub use garage::Garage;
pub use postgres::Postgres;
pub use s3::S3;
pub use store::{Store, files_below};

use process::{Account, await_start, directory, free_port, spawn};
