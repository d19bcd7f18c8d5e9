//! Rates of API keys of their own.

use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, Table, async_trait},
    schema::integer_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let own_rate =
            Table::alter().table("api_keys").add_column(integer_null("requests_per_minute")).to_owned();
        manager.alter_table(own_rate).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .alter_table(Table::alter().table("api_keys").drop_column("requests_per_minute").to_owned())
            .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
