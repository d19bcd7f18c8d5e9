//! What keeps the server safe from its callers: rates of API keys of their own, and the record of what happened to accounts.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, Table, async_trait},
    schema::{integer_null, pk_uuid, string, string_null, text_null, timestamp_with_time_zone, uuid_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let own_rate =
            Table::alter().table("api_keys").add_column(integer_null("requests_per_minute")).to_owned();
        // Names its user without a key to the row: the record outlives the account.
        let security_events = Table::create()
            .table("security_events")
            .col(pk_uuid("id"))
            .col(string("kind"))
            .col(uuid_null("user_id"))
            .col(string_null("client_address"))
            .col(text_null("request_id"))
            .col(timestamp_with_time_zone("created_at"))
            .to_owned();
        manager.alter_table(own_rate).await?;
        manager.create_table(security_events).await?;
        for index in [
            index("security_events_by_age", "security_events", &["created_at", "id"]),
            index("security_events_of_user", "security_events", &["user_id", "created_at", "id"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["security_events"]).await?;
        manager
            .alter_table(Table::alter().table("api_keys").drop_column("requests_per_minute").to_owned())
            .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
