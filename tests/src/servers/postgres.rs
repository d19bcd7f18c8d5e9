//! Postgres, from Debian's package.

use super::{Account, await_start, directory, free_port, spawn};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A server with nothing in it but an empty database; killed when dropped.
pub struct Postgres {
    programs: PathBuf,
    directory: TempDir,
    port: u16,
    /// Taken where it was killed.
    child: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    pub fn start() -> Self {
        let directory = directory("postgres");
        if is_root() {
            let path = directory.path().as_os_str();
            assert!(Command::new("chown").arg("postgres:").arg(path).status().unwrap().success());
        }
        let mut server = Self {
            programs: programs(),
            directory,
            port: free_port(),
            child: None,
            databases: AtomicU32::new(0),
        };
        let data = server.data();
        let made = ["-D", &data, "-U", "voxmill", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        server.run("initdb", &made);
        server.restart();
        server
    }

    /// Starts it on what is there, as after [`Postgres::kill`].
    pub fn restart(&mut self) {
        let (port, sockets) = (self.port.to_string(), self.directory.path().display().to_string());
        let mut arguments = vec!["-D".to_owned(), self.data(), "-p".to_owned(), port];
        // Nobody needs what it holds after a power cut.
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=500"] {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        arguments.extend(["-k".to_owned(), sockets]);
        let log = self.log();
        let account = if is_root() { Account::Of("postgres") } else { Account::Own };
        self.child = Some(spawn(&self.programs.join("postgres"), &arguments, account, &log));
        await_start(&log, || self.answers());
    }

    /// As a power cut would, but for the cache of the disk.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            // The processes that it forked see it gone; the next start is refused as long as they live.
            let pid = self.directory.path().join("data/postmaster.pid");
            let _ = std::fs::remove_file(pid);
        }
    }

    /// Whether it was started and not killed since.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// The database that is there from the start.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// A new database, as it comes or with all that is in the database of `template`.
    pub fn database(&self, template: Option<&str>) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let from = template.and_then(|url| url.rsplit('/').next()).unwrap_or("template1");
        self.query(&format!("CREATE DATABASE {name} TEMPLATE {from} STRATEGY FILE_COPY"));
        self.url_of(&name)
    }

    /// Runs a statement in the first database, and returns what psql prints of it.
    pub fn query(&self, statement: &str) -> String {
        self.query_in("postgres", statement)
    }

    pub fn query_in(&self, database: &str, statement: &str) -> String {
        let (port, name) = (self.port.to_string(), database);
        let host = ["-h", "127.0.0.1", "-p", &port, "-U", "voxmill", "-d", name, "-v", "ON_ERROR_STOP=1"];
        let mut command = Command::new(self.programs.join("psql"));
        let done = command.args(host).args(["-X", "-q", "-t", "-A", "-c", statement]).output().unwrap();
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://voxmill@127.0.0.1:{}/{database}", self.port)
    }

    fn answers(&self) -> bool {
        let port = self.port.to_string();
        let mut command = Command::new(self.programs.join("pg_isready"));
        let done = command.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", "voxmill"]).status();
        done.unwrap().success()
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Postgres does not run as root, who therefore becomes the user of Debian's package.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let done = command.args(arguments).current_dir("/").output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian has them outside of PATH, in a directory a version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir(Path::new("/usr/lib/postgresql"));
    let versions = versions.expect("Postgres is absent; run: deploy/install-packages.sh");
    let newest = versions.map(|version| version.unwrap().path()).max().unwrap();
    newest.join("bin")
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
