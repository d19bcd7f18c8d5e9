//! Servers as child processes that end with this one.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);

/// A directory for a server's data. One that all tests of a process share is never dropped, so those of processes that
/// have ended go here.
pub(super) fn directory(server: &str) -> TempDir {
    let prefix = format!("voxmill-{server}-");
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.split_once('-'));
        let is_over = |(owner, _): (&str, &str)| {
            owner.parse().is_ok_and(|owner: u32| !Path::new(&format!("/proc/{owner}")).exists())
        };
        if owner.is_some_and(is_over) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{prefix}{}-", std::process::id())).tempdir().unwrap()
}

/// Starts a server that is killed when this process ends, however it ends. The threads of tests come and go, and the
/// kernel counts the end of the one that started it: so one that never ends does.
pub(super) fn spawn(program: &Path, arguments: &[String], account: Account<'_>, log: &Path) -> Child {
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
pub(super) enum Account<'a> {
    Own,
    Of(&'a str),
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until it is so.
///
/// # Panics
/// After [`START`], with the server's log.
pub(super) fn await_start(log: &Path, is_up: impl Fn() -> bool) {
    let deadline = Instant::now() + START;
    while !is_up() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "it does not answer within {START:?}:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
