//! The back ends of a fleet, and processes of the program that share them.

use crate::server::Server;
use crate::servers::{FaultProxy, Garage, Postgres, Redis, S3, Store};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set to `fleet`, it has every test run on the servers of a fleet instead of what one process has within it.
pub const BACK_ENDS: &str = "TEST_BACK_ENDS";

/// Postgres, Redis and an S3 store; killed when dropped.
pub struct BackEnds {
    pub postgres: Postgres,
    pub redis: Redis,
    pub store: Store,
    made: AtomicU32,
}

impl BackEnds {
    /// With a store in this process.
    pub fn start() -> Self {
        Self::on(Store::Folder(S3::start()))
    }

    /// With one that people run.
    pub fn start_with_garage() -> Self {
        Self::on(Store::Garage(Garage::start()))
    }

    fn on(store: Store) -> Self {
        Self { postgres: Postgres::start(), redis: Redis::start(), store, made: AtomicU32::new(0) }
    }

    /// Those that all tests of this process share: nobody stops them.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<BackEnds> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The shared ones, if all tests of this process are to run on them.
    pub fn of_this_run() -> Option<&'static Self> {
        let wanted = std::env::var(BACK_ENDS).is_ok_and(|back_ends| back_ends == "fleet");
        wanted.then(Self::shared)
    }

    /// The settings of processes that share a new, empty database and places of their own in Redis and S3.
    pub fn settings(&self) -> Vec<(String, String)> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let database = self.postgres.database(None);
        let name = format!("test-{number}");
        [
            ("VOXMILL_DATABASE_URL", database),
            ("VOXMILL_REDIS_URL", self.redis.url()),
            ("VOXMILL_REDIS_PREFIX", name.clone()),
            ("VOXMILL_S3_ENDPOINT", self.store.endpoint()),
            ("VOXMILL_S3_BUCKET", S3::BUCKET.to_owned()),
            ("VOXMILL_S3_ACCESS_KEY", S3::ACCESS_KEY.to_owned()),
            ("VOXMILL_S3_SECRET_KEY", S3::SECRET_KEY.to_owned()),
            ("VOXMILL_S3_PREFIX", format!("{name}/")),
        ]
        .map(|(key, text)| (key.to_owned(), text))
        .into()
    }
}

/// Processes over one database, each with a data directory of its own.
pub struct Fleet {
    settings: Vec<(String, String)>,
}

impl Fleet {
    /// With the settings of [`BackEnds::settings`].
    pub fn new(settings: Vec<(String, String)>) -> Self {
        let fleet = Self { settings };
        fleet.with("VOXMILL_TOKEN_SECRET", &"t".repeat(32)).with("VOXMILL_URL_SECRET", &"u".repeat(32))
    }

    pub fn with(mut self, key: &str, text: &str) -> Self {
        self.settings.push((key.to_owned(), text.to_owned()));
        self
    }

    /// # Panics
    /// Where it is not set.
    pub fn setting(&self, key: &str) -> &str {
        self.settings.iter().rev().find(|(name, _)| name == key).map(|(_, text)| text.as_str()).unwrap()
    }

    pub fn api(&self) -> Server {
        self.api_with(&[])
    }

    pub fn api_with(&self, settings: &[(&str, &str)]) -> Server {
        Server::start_part("api", &self.settings_and(settings))
    }

    pub fn worker(&self) -> Server {
        self.worker_with(&[])
    }

    pub fn worker_with(&self, settings: &[(&str, &str)]) -> Server {
        Server::start_part("worker", &self.settings_and(settings))
    }

    /// A worker whose data directory holds no more than so many MiB.
    pub fn worker_on_disk_of(&self, mebibytes: u32) -> Server {
        Server::start_part_on_disk_of(mebibytes, "worker", &self.settings)
    }

    fn settings_and(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let more = more.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        self.settings.iter().cloned().chain(more).collect()
    }
}

/// The settings of a process whose machine's clock is wrong by so much, such as `+10m`, but for the one that only ever
/// goes on.
///
/// # Panics
/// Where the library is absent.
pub fn off_by(time: &str) -> [(&'static str, &str); 3] {
    // Debian's, of any machine.
    const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";
    let settings = [("LD_PRELOAD", LIBRARY), ("FAKETIME", time), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let date = Command::new("date").arg("+%s").envs(settings).output().unwrap();
    let shown: i64 = String::from_utf8(date.stdout).unwrap().trim().parse().unwrap();
    let is_wrong = (shown - chrono::Utc::now().timestamp()).abs() > 60;
    assert!(is_wrong, "faketime is absent; run: deploy/install-packages.sh");
    settings
}

/// The ways of one process to the back ends, each of which may break.
pub struct Ways {
    pub postgres: FaultProxy,
    pub redis: FaultProxy,
    pub s3: FaultProxy,
    settings: [(&'static str, String); 3],
}

impl Ways {
    pub fn to(back_ends: &BackEnds, fleet: &Fleet) -> Self {
        let by = |key, port: u16| {
            let proxy = FaultProxy::start(port);
            let (from, to) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", proxy.port()));
            (proxy, (key, fleet.setting(key).replace(&from, &to)))
        };
        let (postgres, of_postgres) = by("VOXMILL_DATABASE_URL", back_ends.postgres.port());
        let (redis, of_redis) = by("VOXMILL_REDIS_URL", back_ends.redis.port());
        let (s3, of_s3) = by("VOXMILL_S3_ENDPOINT", back_ends.store.port());
        Self { postgres, redis, s3, settings: [of_postgres, of_redis, of_s3] }
    }

    /// For the process that is to go by them.
    pub fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(key, text)| (*key, text.as_str())).collect()
    }
}
