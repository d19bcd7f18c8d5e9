//! The media child alone, for this crate's own tests. The product's is a subcommand of its one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    pipeline::media::child_main()
}
