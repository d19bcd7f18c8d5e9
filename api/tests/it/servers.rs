//! The real servers that tests need, out of the folder of the end-to-end tests.

#[path = "../../../tests/src/servers/process.rs"]
mod process;
#[path = "../../../tests/src/servers/redis.rs"]
mod redis;

use process::{Account, await_start, free_port, spawn};

pub(crate) use self::redis::Redis;
