//! The media steps through their public door: a real child process for each operation, on real media.
//! Inputs are made by the `ffmpeg` program, and results are checked by `ffprobe`: neither is part of the product.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what went wrong by ending there")]

mod harness;
mod hostile;
mod lifecycle;
mod picture;
mod sound;
