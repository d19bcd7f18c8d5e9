//! The API through its HTTP door, over real storage on SQLite in a directory of its own.

mod auth;
mod client;
mod doubles;
mod edge;
mod files;
mod jobs;
mod openapi;
mod uploads;
mod voices;
