//! A Postgres server of its own for a test, from Debian's package.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Stopped and removed when dropped.
pub(crate) struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let directory = run(Path::new("mktemp"), &["-d", "/tmp/voxmill-postgres-XXXXXX"]);
        let server = Self { programs: programs(), directory: directory.trim().into() };
        let (data, directory) = (server.data(), server.directory.display());
        run(&server.programs.join("initdb"), &["-D", &data, "-U", "voxmill", "-A", "trust", "--no-sync"]);
        // Reached by its socket alone. Nobody needs what it holds after a power cut.
        let options = format!("-k {directory} -c listen_addresses= -c fsync=off");
        let log = format!("{directory}/log");
        run(&server.programs.join("pg_ctl"), &["-D", &data, "-w", "-l", &log, "-o", &options, "start"]);
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://voxmill@localhost/postgres?host={}", self.directory.display())
    }

    fn data(&self) -> String {
        self.directory.join("data").display().to_string()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run(&self.programs.join("pg_ctl"), &["-D", &self.data(), "-m", "immediate", "stop"]);
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Debian has them outside of PATH, in a directory a version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let versions = versions.expect("Postgres is absent; run: deploy/install-packages.sh");
    let newest = versions.map(|version| version.unwrap().path()).max().unwrap();
    newest.join("bin")
}

/// What the program printed. Postgres does not run as root, who therefore becomes the user of Debian's package.
fn run(program: &Path, arguments: &[&str]) -> String {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    let done = command.args(arguments).current_dir("/").output().unwrap();
    assert!(done.status.success(), "{program:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
