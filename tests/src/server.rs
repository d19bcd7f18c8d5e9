//! The `voxmill` program as a child process.

use crate::fleet::BackEnds;
use crate::servers::files_below;
use crate::user::User;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A start takes migrations and little else.
const START: Duration = Duration::from_secs(60);

/// Names a program of another version, from which every second process is started.
const OTHER_VERSION: &str = "OTHER_VERSION";

/// A running process of the program; killed when dropped.
pub struct Server {
    child: Child,
    /// What it does: `serve`, `api` or `worker`.
    part: String,
    pub url: String,
    data: TempDir,
    settings: Vec<(String, String)>,
    /// The data directory is a disk of its own, which only the server and its children see.
    has_own_disk: bool,
    log: Log,
}

/// What a server has said lately.
type Log = Arc<Mutex<String>>;

impl Server {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings such as `("VOXMILL_QUOTA_BYTES", "1000")`, on the back ends of this run.
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut all = BackEnds::of_this_run().map(BackEnds::settings).unwrap_or_default();
        all.extend(settings.iter().map(|(name, text)| ((*name).into(), (*text).into())));
        Self::start_part("serve", &all)
    }

    /// One process of several.
    pub fn start_part(part: &str, settings: &[(String, String)]) -> Self {
        let data = tempfile::Builder::new().prefix("voxmill-test-").tempdir().unwrap();
        let (mut command, log) = (Command::new(some_version()), Log::default());
        command.arg(part);
        let (child, url) = spawn(command, data.path(), (settings, &log));
        Self {
            child,
            part: part.to_owned(),
            url,
            data,
            settings: settings.to_vec(),
            has_own_disk: false,
            log,
        }
    }

    /// With a data directory that holds no more than so many MiB.
    pub fn start_on_disk_of(mebibytes: u32) -> Self {
        Self::start_part_on_disk_of(mebibytes, "serve", &[])
    }

    pub fn start_part_on_disk_of(mebibytes: u32, part: &str, settings: &[(String, String)]) -> Self {
        let data = tempfile::Builder::new().prefix("voxmill-test-").tempdir().unwrap();
        let mount = "mount -t tmpfs -o size=\"$0\" none \"$1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, &format!("{mebibytes}m")]);
        command.arg(data.path()).arg(program()).arg(part);
        let log = Log::default();
        let (child, url) = spawn(command, data.path(), (settings, &log));
        let (part, settings) = (part.to_owned(), settings.to_vec());
        Self { child, part, url, data, settings, has_own_disk: true, log }
    }

    /// A new user of this server.
    pub async fn user(&self) -> User {
        User::register(&self.url).await
    }

    pub fn data_directory(&self) -> PathBuf {
        let seen = self.data.path().strip_prefix("/").unwrap();
        let root = if self.has_own_disk { format!("/proc/{}/root", self.child.id()) } else { "/".to_owned() };
        Path::new(&root).join(seen)
    }

    /// Leaves so many bytes of room on a disk of its own, rounded down to whole pages. The file that takes the rest.
    pub fn fill_disk(&self, room: u64) -> PathBuf {
        assert!(self.has_own_disk);
        let path = self.data_directory().join("blocker");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 20, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        file.set_len(file.metadata().unwrap().len() - room).unwrap();
        path
    }

    /// The last that it has logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The program with these arguments, on the data of this server.
    pub fn voxmill(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data_directory())
            .envs(self.settings.iter().cloned());
        command
    }

    /// SIGSTOP: nothing of it runs until [`Server::resume`].
    pub fn suspend(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// As a machine that sleeps: its children stop too, until [`Server::wake`].
    pub fn sleep(&self) {
        self.suspend();
        self.children().into_iter().for_each(|child| signal(child, "-STOP"));
    }

    pub fn wake(&self) {
        self.children().into_iter().for_each(|child| signal(child, "-CONT"));
        self.resume();
    }

    /// SIGTERM: it drains.
    pub fn ask_to_end(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, as the kernel or an operator would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit status once it has drained.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        self.ended()
    }

    /// The exit status, once it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Starts again on the same data, at another port.
    pub fn restart(&mut self) {
        let mut command = Command::new(some_version());
        command.arg(&self.part);
        (self.child, self.url) = spawn(command, self.data.path(), (&self.settings, &self.log));
    }

    /// What it was given, if anything.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(name, _)| name == key).map(|(_, text)| text.as_str())
    }

    /// Files below the data directory that hold artifacts or work in progress: what a leak would leave.
    pub fn stored_files(&self) -> Vec<PathBuf> {
        let data = self.data_directory();
        let mut files: Vec<PathBuf> =
            ["objects", "staging", "work"].iter().flat_map(|name| files_below(&data.join(name))).collect();
        let prefix = self.setting("VOXMILL_S3_PREFIX");
        if let (Some(back_ends), Some(prefix)) = (BackEnds::of_this_run(), prefix) {
            files.extend(back_ends.store.files(prefix));
        }
        files
    }

    /// What a counter of its metrics says, summed over the series whose labels hold this.
    pub async fn counted(&self, counter: &str, label: &str) -> u64 {
        let answer = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        let text = answer.error_for_status().unwrap().text().await.unwrap();
        let series = text.lines().filter_map(|line| line.strip_prefix(counter)?.rsplit_once(' '));
        let of_label = series.filter(|(labels, _)| labels.contains(label));
        of_label.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    /// The processes that this server started and that still run.
    pub fn children(&self) -> Vec<u32> {
        let id = self.child.id();
        let listed = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let mut children: Vec<u32> = listed.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        // A child is listed under the thread that started it.
        for task in std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
            let listed = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            children.extend(listed.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        children.sort_unstable();
        children.dedup();
        children
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill {name} {process}");
}

/// Whether a process still runs; one that ended and waits for somebody to ask about it does not.
pub fn is_running(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
    // The state follows the name, which is in brackets and may hold anything.
    !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// The program, as `cargo build --workspace` leaves it beside the tests.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("voxmill");
    assert!(program.exists(), "{} is absent; run: cargo build --workspace", program.display());
    program
}

/// The program, or in turn with it the one of another version, where there is one to stand beside it.
fn some_version() -> PathBuf {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    match std::env::var_os(OTHER_VERSION) {
        Some(other) if STARTED.fetch_add(1, Ordering::Relaxed) % 2 == 1 => other.into(),
        Some(_) | None => program(),
    }
}

/// Starts `command`, which is the program with its part or runs that, and waits until it listens.
fn spawn(
    mut command: Command,
    data: &Path,
    (settings, lately): (&[(String, String)], &Log),
) -> (Child, String) {
    let mut child = command
        .args(["--bind", "127.0.0.1:0", "--data-dir"])
        .arg(data)
        // One address is many users here; a test of the limits sets them on.
        .env("VOXMILL_RATE_LIMITS", "off")
        .envs(settings.iter().cloned())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (found, address) = mpsc::channel();
    let keep = std::env::var_os("TEST_LOG").is_some();
    // Reads to the end, or the server would block on a full pipe.
    let lately = lately.clone();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if keep {
                eprintln!("{line}");
            }
            if let Some((_, rest)) = line.split_once("listening on ") {
                let _ = found.send(Ok(rest.split('"').next().unwrap().to_owned()));
            }
            let mut lately = lately.lock().unwrap();
            if lately.len() > 1 << 20 {
                lately.clear();
            }
            *lately += &line;
            lately.push('\n');
        }
        let _ = found.send(Err(lately.lock().unwrap().clone()));
    });
    match address.recv_timeout(START) {
        Ok(Ok(url)) => (child, url),
        Ok(Err(log)) => panic!("the server did not start:\n{log}"),
        Err(_) => panic!("the server did not start within {START:?}"),
    }
}

/// Asks until `condition` gives something, at most for `limit`.
///
/// # Panics
/// After the limit, with `what`.
pub async fn eventually<T>(what: &str, limit: Duration, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_each(what, Often { every: Duration::from_millis(50), limit }, condition).await
}

/// How often is asked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Often {
    pub every: Duration,
    pub limit: Duration,
}

/// [`eventually`], where to ask takes more than a moment.
///
/// # Panics
/// After the limit, with `what`.
pub async fn eventually_each<T>(
    what: &str,
    often: Often,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let Often { every, limit } = often;
    let deadline = Instant::now() + limit;
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
    }
}
