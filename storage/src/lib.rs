//! State: database rows, the bytes of files, and the engine of jobs. Clients of this crate see domain types alone.

pub mod clock;
mod database;
pub mod error;
pub mod events;
pub mod ids;
pub mod objects;
pub mod page;
mod rows;
