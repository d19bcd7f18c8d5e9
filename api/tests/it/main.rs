//! The API through its HTTP door, over real storage on SQLite in a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod admin;
mod agents;
mod audit;
mod auth;
mod batches;
mod bearer_auth;
mod calls;
mod campaigns;
mod client;
mod cookie_auth;
mod doubles;
mod edge;
mod files;
mod fixture;
mod history;
mod jobs;
mod limits;
mod live;
mod me;
mod openapi;
mod password_reset;
mod processes;
mod projects;
mod recordings;
mod rooms;
mod server;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the end-to-end tests share these files, where they are public"
)]
mod servers;
mod uploads;
mod users;
mod voices;
mod webhooks;
