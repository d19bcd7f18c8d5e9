//! What storage promises, seen through its public door, on a database file and a directory of its own for each test.

mod accounts;
mod files;
mod jobs;
mod lifecycle;
mod sweep;
mod uploads;
mod voices;
mod world;
