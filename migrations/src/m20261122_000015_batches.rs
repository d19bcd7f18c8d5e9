//! The jobs that were submitted together.

use crate::index;
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, Index, async_trait},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let jobs_of_batch = index("jobs_of_batch", "jobs", &["batch_id", "owner_id", "created_at", "id"]);
        manager.create_index(jobs_of_batch).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("jobs_of_batch").table("jobs").to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
