//! Processes that share the database: the workers that live, and who has which duty.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, Table, async_trait},
    schema::{json, string, text, timestamp_with_time_zone},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let workers = Table::create()
            .table("workers")
            .col(string("name").primary_key())
            .col(string("version"))
            .col(string("device"))
            // Of each kind of job, how many at once.
            .col(json("slots"))
            // The names of those that are installed.
            .col(json("models"))
            .col(timestamp_with_time_zone("started_at"))
            .col(timestamp_with_time_zone("seen_at"))
            .to_owned();
        let duties = Table::create()
            .table("duties")
            .col(string("name").primary_key())
            .col(text("holder"))
            .col(timestamp_with_time_zone("held_until"))
            .to_owned();
        for table in [workers, duties] {
            manager.create_table(table).await?;
        }
        manager.create_index(index("workers_by_sight", "workers", &["seen_at"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["duties", "workers"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
