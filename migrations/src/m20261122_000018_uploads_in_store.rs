//! What an object store calls an upload whose parts it has.

use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, Table, async_trait},
    schema::text_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(Table::alter().table("uploads").add_column(text_null("store_name")).to_owned())
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("uploads").drop_column("store_name").to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
