//! End to end: the real binary, real engines, real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod accounts;
mod bad_input;
mod batch;
mod chain;
mod clients;
mod command_line;
mod conformance;
mod faults;
mod fleet;
mod fleet_faults;
mod full_disk;
mod hostile;
mod house;
mod isolation;
mod media;
mod object_store;
mod password_reset;
mod questions;
mod recordings;
mod redis;
mod traces;
mod webhooks;
