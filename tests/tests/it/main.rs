//! End to end: the real binary, real engines, real files.

mod accounts;
mod chain;
mod command_line;
mod faults;
mod hostile;
mod house;
mod media;
