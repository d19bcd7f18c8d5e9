//! Redis, from Debian's package.

use super::{Account, await_start, free_port, spawn};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::TempDir;

/// An empty server that keeps nothing on disk; killed when dropped.
pub struct Redis {
    directory: TempDir,
    port: u16,
    tls_port: Option<u16>,
    /// Taken where it was killed.
    child: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("voxmill-redis-").tempdir().unwrap();
        let mut server = Self { directory, port: free_port(), tls_port: None, child: None };
        server.restart();
        server
    }

    /// One that listens over TLS besides, as `localhost`: see [`Redis::tls_url`].
    pub fn start_with_tls() -> Self {
        let mut server = Self::absent();
        server.tls_port = Some(free_port());
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            // What openssl makes of itself may sign others, and rustls takes no server by such.
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(server.directory.path().join("key.pem"))
            .arg("-out")
            .arg(server.certificate())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.restart();
        server
    }

    /// A server that nobody started yet; [`Redis::restart`] does.
    pub fn absent() -> Self {
        let mut server = Self::start();
        server.kill();
        server
    }

    /// Starts it at the same port with nothing in it, as after [`Redis::kill`].
    pub fn restart(&mut self) {
        let directory = self.directory.path().display().to_string();
        let port = self.port.to_string();
        let settings =
            ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &directory];
        let mut arguments: Vec<String> = settings.into_iter().map(str::to_owned).collect();
        if let Some(port) = self.tls_port {
            let certificate = self.certificate().display().to_string();
            let (port, key) = (port.to_string(), format!("{directory}/key.pem"));
            let settings = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
            arguments.extend(settings.map(str::to_owned));
            arguments
                .extend(["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"].map(str::to_owned));
        }
        let log = self.log();
        self.child = Some(spawn(Path::new("redis-server"), &arguments, Account::Own, &log));
        await_start(&log, || self.run(&["PING"]).is_some_and(|answer| answer == "PONG"));
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Of [`Redis::start_with_tls`]; whoever connects must trust [`Redis::certificate`].
    pub fn tls_url(&self) -> Option<String> {
        self.tls_port.map(|port| format!("rediss://localhost:{port}"))
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// Forgets all that is in it.
    pub fn flush(&self) {
        self.cli(&["FLUSHALL"]);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGSTOP: who is connected stays so, and gets no answer until [`Redis::resume`].
    pub fn suspend(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Answers nobody for so long.
    pub fn pause(&self, duration: Duration) {
        self.cli(&["CLIENT", "PAUSE", &duration.as_millis().to_string()]);
    }

    /// What redis-cli prints for a command.
    pub fn cli(&self, command: &[&str]) -> String {
        self.run(command).unwrap_or_else(|| panic!("{command:?} failed"))
    }

    fn run(&self, command: &[&str]) -> Option<String> {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port, "-e"]).args(command).output().unwrap();
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap().trim_end().to_owned())
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().map(Child::id).expect("it runs").to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
