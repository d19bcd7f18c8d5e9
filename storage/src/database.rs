//! The connections to the database, and how they are used.
//!
//! In SQLite reads run side by side and writes queue for one connection: it has one writer anyway, and a fair queue here
//! serves it better than its own polling for the lock would. In Postgres all share one pool, and changes of one owner
//! follow one another by an advisory lock, while those of different owners run side by side.

use crate::{
    clock::Clock,
    error::{Error, Result},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::timeout};
use uuid::Uuid;

const READERS: u32 = 8;
/// How long a statement waits for a connection, and then for another process' lock.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many that two owners hardly ever share one.
const GATES: usize = 1024;
/// How often the clock is set by that of Postgres. What quartz drifts meanwhile is far below the time that statements take.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// What Postgres does with sessions of ours, in milliseconds where no unit is named.
const SESSION: [(&str, &str); 6] = [
    // A process that was stopped in the middle of a transaction must not hold up the rest.
    ("idle_in_transaction_session_timeout", "15s"),
    ("lock_timeout", "30s"),
    ("statement_timeout", "60s"),
    // Nor one whose machine is gone without a word.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_user_timeout", "60000"),
];

#[derive(Clone)]
pub(crate) struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    clock: Clock,
    /// A turn goes through the one that its number says.
    gates: Arc<[Mutex<()>]>,
}

/// Whose changes follow one another. Transactions of different turns may run side by side where the database lets them,
/// so what one reads before it writes must be of its own turn, or locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn(i64);

impl Database {
    /// The tables must exist. SQLite's file must too, unless the URL says `?mode=rwc`. `connections` is the most that
    /// Postgres is asked for.
    pub(crate) async fn open(url: &str, connections: u32, clock: Clock) -> Result<Self> {
        if url.starts_with("sqlite:") {
            // The writer comes first: it puts the file into WAL mode, in which the readers do not block it.
            let writer = connect(url, 1).await?;
            let reader = connect(url, READERS).await?;
            return Ok(Self { reader, writer, clock, gates: gates() });
        }
        let pool = connect(url, connections).await?;
        let database = Self { reader: pool.clone(), writer: pool, clock, gates: gates() };
        database.set_clock().await?;
        tokio::spawn(keep_clock(database.clone()));
        Ok(database)
    }

    /// For statements that change nothing.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For a change that is one statement. Inside a transaction this might wait for itself.
    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// For a change that reads first. Others of the same turn wait for its end, in SQLite everybody does, so nothing but
    /// statements may happen before: no file, no network. Dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self, turn: impl Into<Turn>) -> Result<DatabaseTransaction> {
        self.begin_by("SELECT pg_advisory_xact_lock($1)", turn.into()).await
    }

    /// As [`Database::begin`], for a change that needs to be alone with the rows that it locks, and otherwise only away from
    /// those that began alone: of its kind, many of the same turn run side by side.
    pub(crate) async fn begin_beside(&self, turn: impl Into<Turn>) -> Result<DatabaseTransaction> {
        self.begin_by("SELECT pg_advisory_xact_lock_shared($1)", turn.into()).await
    }

    async fn begin_by(&self, lock: &str, Turn(key): Turn) -> Result<DatabaseTransaction> {
        // Whoever waits for a turn keeps a connection meanwhile. One of each turn may, so that the rest of the connections are
        // there for others.
        let gate = &self.gates[key.unsigned_abs() as usize % self.gates.len()];
        let entered = timeout(PATIENCE, gate.lock()).await.map_err(Error::internal)?;
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.writer.begin_with_options(options).await?;
        if self.is_postgres() {
            let lock = Statement::from_sql_and_values(DbBackend::Postgres, lock, [key.into()]);
            transaction.execute_raw(lock).await?;
        }
        drop(entered);
        Ok(transaction)
    }

    /// Whether other processes may be using it, on other machines.
    pub(crate) fn is_postgres(&self) -> bool {
        self.writer.get_database_backend() == DbBackend::Postgres
    }

    /// By the database's clock, which all processes share.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    async fn set_clock(&self) -> Result<()> {
        let asked = Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp()");
        if let Some(row) = self.reader.query_one_raw(asked).await? {
            self.clock.set(row.try_get_by_index(0)?);
        }
        Ok(())
    }
}

impl<Id: Into<Uuid>> From<Id> for Turn {
    fn from(id: Id) -> Self {
        // The end of our ids is random, the beginning is the time. Two that meet only wait for each other.
        let (_, random) = id.into().as_u64_pair();
        Self(random.cast_signed())
    }
}

impl Turn {
    /// Of what has no id of its own.
    pub(crate) fn named(name: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(name).into();
        Self::from(Uuid::from_slice(&digest[..16]).unwrap_or_default())
    }
}

fn gates() -> Arc<[Mutex<()>]> {
    (0..GATES).map(|_| Mutex::new(())).collect()
}

/// Sets the clock now and then, as long as the process lives. While it cannot be asked for, ours goes on by itself.
async fn keep_clock(database: Database) {
    let mut ticks = tokio::time::interval(CLOCK_CHECK);
    loop {
        ticks.tick().await;
        if let Err(error) = database.set_clock().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "could not ask the database for the time"
            );
        }
    }
}

async fn connect(url: &str, connections: u32) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .pragma("journal_mode", "WAL")
                // What was acknowledged is on the disk, through a power cut too.
                .pragma("synchronous", "FULL")
                .foreign_keys(true)
                .busy_timeout(PATIENCE)
        })
        .map_sqlx_postgres_opts(|options| options.application_name("voxmill").options(SESSION));
    Ok(sea_orm::Database::connect(options).await?)
}
