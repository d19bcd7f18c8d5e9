//! The back ends of a fleet, and processes of the program that share them.

use crate::server::Server;
use crate::servers::{Postgres, Redis, S3};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Set to `fleet`, it has every test run on the servers of a fleet instead of what one process has within it.
pub const BACK_ENDS: &str = "TEST_BACK_ENDS";

/// Postgres, Redis and an S3 store; killed when dropped.
pub struct BackEnds {
    pub postgres: Postgres,
    pub redis: Redis,
    pub s3: S3,
    made: AtomicU32,
}

impl BackEnds {
    pub fn start() -> Self {
        Self { postgres: Postgres::start(), redis: Redis::start(), s3: S3::start(), made: AtomicU32::new(0) }
    }

    /// Those that all tests of this process share, if they are to.
    pub fn of_this_run() -> Option<&'static Self> {
        static SHARED: OnceLock<BackEnds> = OnceLock::new();
        let wanted = std::env::var(BACK_ENDS).is_ok_and(|back_ends| back_ends == "fleet");
        wanted.then(|| SHARED.get_or_init(Self::start))
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
            ("VOXMILL_S3_ENDPOINT", self.s3.endpoint()),
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
        self.start("api", settings)
    }

    pub fn worker(&self) -> Server {
        self.worker_with(&[])
    }

    pub fn worker_with(&self, settings: &[(&str, &str)]) -> Server {
        self.start("worker", settings)
    }

    fn start(&self, part: &str, settings: &[(&str, &str)]) -> Server {
        let mut all = self.settings.clone();
        all.extend(settings.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())));
        Server::start_part(part, &all)
    }
}
