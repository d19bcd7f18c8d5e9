//! What storage promises, seen through its public door, on a database file and a directory of its own for each test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod accounts;
mod agents;
mod audit;
mod back_end;
mod batches;
mod calls;
mod campaigns;
mod conversations;
mod doors;
mod erase;
mod events;
mod files;
mod jobs;
mod lifecycle;
mod live_names;
mod objects;
mod password_resets;
mod play;
mod projects;
mod questions;
mod queue;
mod recordings;
mod rooms;
mod schema;
#[expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the end-to-end tests share this folder, where it is public"
)]
#[path = "../../../tests/src/servers/mod.rs"]
mod servers;
mod store_faults;
mod sweep;
mod uploads;
mod voices;
mod webhooks;
mod workers;
mod world;
