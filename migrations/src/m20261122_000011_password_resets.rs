//! What lets somebody who has forgotten their password choose another: one token of a user at a time, by its hash.

use crate::drop_tables;
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Table, async_trait},
    schema::{pk_uuid, string_uniq, timestamp_with_time_zone},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let password_resets = Table::create()
            .table("password_resets")
            .col(pk_uuid("user_id"))
            .col(string_uniq("token_hash"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("expires_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("password_resets", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(password_resets).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["password_resets"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
