//! The connections to the database, and how they are used: reads run side by side, writes queue for one connection.
//! SQLite has one writer anyway, and a fair queue here serves it better than its own polling for the lock would.

use crate::{clock::Clock, error::Result};
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectOptions, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use std::time::Duration;

const READERS: u32 = 8;
/// How long a statement waits for a connection, and then for another process' lock.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    clock: Clock,
}

impl Database {
    /// The tables must exist. SQLite's file must too, unless the URL says `?mode=rwc`.
    pub(crate) async fn open(url: &str, clock: Clock) -> Result<Self> {
        // The writer comes first: it puts the file into WAL mode, in which the readers do not block it.
        let writer = connect(url, 1).await?;
        let reader = connect(url, READERS).await?;
        Ok(Self { reader, writer, clock })
    }

    /// For statements that change nothing.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For a change that is one statement. Inside a transaction this would wait for itself.
    pub(crate) fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// For a change that reads first. Holds the only writer, so nothing but statements may happen before its end:
    /// no file, no network. Dropped without a commit, it is rolled back.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(self.writer.begin_with_options(options).await?)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
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
        });
    Ok(sea_orm::Database::connect(options).await?)
}
