//! What a job is: its kinds, parameters, stages, states, failures and results.
//!
//! The default build is pure: values and functions, no input or output. The feature `steps` adds [`media`],
//! which does the media work itself.

pub mod failure;
pub mod languages;
#[cfg(feature = "steps")]
pub mod media;
pub mod media_info;
pub mod parameters;
pub mod questions;
pub mod retry;
pub mod stage;
pub mod state;
pub mod subtitles;
pub mod trace;
pub mod transcript;
pub mod word_error;
