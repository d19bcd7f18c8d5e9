//! The servers that a fleet stands on, from Debian's packages and crates.io: real ones, each of a test's own, gone with it.
//!
//! The tests of storage take this folder in by its path, for no crate of ours may stand between them.

mod fault_proxy;
mod postgres;
mod s3;

pub use fault_proxy::{Fault, FaultProxy, Way};
pub use postgres::Postgres;
pub use s3::S3;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);

/// Starts a server that is killed when this process ends, however it ends. The threads of tests come and go, and the
/// kernel counts the end of the one that started it: so one that never ends does.
fn spawn(program: &Path, arguments: &[String], account: Account<'_>, log: &Path) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Account::Of(name) = account {
        command.args(["--reuid", name, "--regid", name, "--init-groups"]);
    }
    let log = std::fs::File::create(log).unwrap();
    command.arg(program).args(arguments).current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let (started, child) = mpsc::channel();
    std::thread::spawn(move || {
        started.send(command.spawn()).unwrap();
        loop {
            std::thread::park();
        }
    });
    child.recv().unwrap().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Who runs a server.
enum Account<'a> {
    Own,
    Of(&'a str),
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until it is so.
///
/// # Panics
/// After [`START`], with the server's log.
fn await_start(log: &Path, is_up: impl Fn() -> bool) {
    let deadline = Instant::now() + START;
    while !is_up() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "it does not answer within {START:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
