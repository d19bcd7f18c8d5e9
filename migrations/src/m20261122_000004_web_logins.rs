//! Logins that are kept in other ways than by tokens that follow one another, and what users of voice agents prefer.

use crate::drop_tables;
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Table, async_trait},
    schema::{json, pk_uuid, string, text, timestamp_with_time_zone},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let kind =
            Table::alter().table("refresh_tokens").add_column(string("kind").default("rotating")).to_owned();
        let preferences = Table::create()
            .table("preferences")
            .col(pk_uuid("user_id"))
            .col(string("preferred_voice"))
            .col(string("preferred_language"))
            .col(json("favorite_topics"))
            .col(text("system_prompt_override"))
            .col(timestamp_with_time_zone("updated_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("preferences", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.alter_table(kind).await?;
        manager.create_table(preferences).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["preferences"]).await?;
        manager.alter_table(Table::alter().table("refresh_tokens").drop_column("kind").to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
