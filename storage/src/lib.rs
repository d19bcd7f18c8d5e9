//! State: database rows, the bytes of files, and the engine of jobs. Clients of this crate see domain types alone.

pub mod api_keys;
pub mod clock;
mod database;
pub mod error;
pub mod events;
pub mod files;
mod garbage;
pub mod ids;
pub mod logins;
pub mod objects;
pub mod page;
pub mod projects;
mod rows;
mod secrets;
pub mod users;
