//! The schema of the database, one file a migration, each in both directions.
//!
//! An applied migration is never edited: a change is a new file. While a fleet goes from one version to the next, both run
//! on the newer schema: so a migration adds, and what it makes useless goes one version later.

#![expect(
    elided_lifetimes_in_paths,
    reason = "the methods of MigrationTrait leave the lifetime out, and only that spelling matches them"
)]

mod m20261122_000001_accounts;
mod m20261122_000002_files;
mod m20261122_000003_jobs;
mod m20261122_000004_voices;
mod m20261122_000004_web_logins;
mod m20261122_000005_voice_sessions;
mod m20261122_000006_rooms;
mod m20261122_000007_safety;
mod m20261122_000008_calling;
mod m20261122_000009_calls;
mod m20261122_000010_recordings;
mod m20261122_000011_password_resets;
mod m20261122_000012_conversations;
mod m20261122_000013_administration;
mod m20261122_000014_webhooks;
mod m20261122_000015_batches;
mod m20261122_000016_fleet;
mod m20261122_000018_uploads_in_store;
mod m20261122_000019_traces;

use sea_orm_migration::{
    MigrationTrait, MigratorTrait, SchemaManager,
    prelude::{DbErr, Index, IndexCreateStatement, IntoIden, Table},
    sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend},
};

/// The database could not be reached, or refused a step. Steps before it stay applied.
#[derive(Debug)]
pub struct MigrationError(DbErr);

/// Applies every pending migration; others who try at the same time on Postgres wait. A schema that a newer version has
/// made is left as it is. A SQLite file that does not exist is made, if its URL says `?mode=rwc`.
pub async fn up(database_url: &str) -> Result<(), MigrationError> {
    let database = connect(database_url).await?;
    let done = up_alone(&database).await;
    close(database, done).await
}

/// Takes back the last `steps` migrations, and the rows of their tables with them.
pub async fn down(database_url: &str, steps: u32) -> Result<(), MigrationError> {
    let database = connect(database_url).await?;
    let done = Migrator::down(&database, Some(steps)).await;
    close(database, done).await
}

/// The names of the migrations that [`up`] would apply, in order. Changes nothing.
pub async fn pending(database_url: &str) -> Result<Vec<String>, MigrationError> {
    let database = connect(database_url).await?;
    let pending = Migrator::get_pending_migrations_read_only(&database).await;
    let names =
        pending.map(|migrations| migrations.iter().map(|migration| migration.name().to_owned()).collect());
    close(database, names).await
}

impl std::fmt::Display for MigrationError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the database could not be migrated")
    }
}

impl std::error::Error for MigrationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The lock goes with the connection.
async fn up_alone(database: &DatabaseConnection) -> Result<(), DbErr> {
    if database.get_database_backend() == DbBackend::Postgres {
        database.execute_unprepared(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
    }
    if is_newer(database).await? {
        return Ok(());
    }
    Migrator::up(database, None).await
}

/// Whether a newer version has been here: it applied what this one does not know, and all that this one does.
async fn is_newer(database: &DatabaseConnection) -> Result<bool, DbErr> {
    let ours: Vec<_> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let manager = SchemaManager::new(database);
    if !manager.has_table("seaql_migrations").await? {
        return Ok(false);
    }
    let applied = Migrator::get_migration_models(database).await?;
    let is_applied = |name: &String| applied.iter().any(|row| row.version == *name);
    Ok(applied.len() > ours.len() && ours.iter().all(is_applied))
}

/// Among the advisory locks of the database, that of migrations.
const LOCK: i64 = 0x0076_6f78_6d69_6c6c;

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_accounts::Migration),
            Box::new(m20261122_000002_files::Migration),
            Box::new(m20261122_000003_jobs::Migration),
            Box::new(m20261122_000004_voices::Migration),
            Box::new(m20261122_000004_web_logins::Migration),
            Box::new(m20261122_000005_voice_sessions::Migration),
            Box::new(m20261122_000006_rooms::Migration),
            Box::new(m20261122_000007_safety::Migration),
            Box::new(m20261122_000008_calling::Migration),
            Box::new(m20261122_000009_calls::Migration),
            Box::new(m20261122_000010_recordings::Migration),
            Box::new(m20261122_000011_password_resets::Migration),
            Box::new(m20261122_000012_conversations::Migration),
            Box::new(m20261122_000013_administration::Migration),
            Box::new(m20261122_000014_webhooks::Migration),
            Box::new(m20261122_000015_batches::Migration),
            Box::new(m20261122_000016_fleet::Migration),
            Box::new(m20261122_000018_uploads_in_store::Migration),
            Box::new(m20261122_000019_traces::Migration),
        ]
    }
}

async fn connect(database_url: &str) -> Result<DatabaseConnection, MigrationError> {
    let mut options = ConnectOptions::new(database_url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.map_err(MigrationError)
}

async fn close<T>(database: DatabaseConnection, outcome: Result<T, DbErr>) -> Result<T, MigrationError> {
    let closed = database.close().await;
    let value = outcome.map_err(MigrationError)?;
    closed.map_err(MigrationError)?;
    Ok(value)
}

/// An index over `columns` of `table`, in that order.
fn index(name: &str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    index
}

async fn drop_tables(manager: &SchemaManager<'_>, tables: &[&'static str]) -> Result<(), DbErr> {
    for table in tables {
        manager.drop_table(Table::drop().table(table.into_iden()).to_owned()).await?;
    }
    Ok(())
}
