//! What keeps the server safe from its callers, and its callers from each other: rates of API keys of their own, the record
//! of what happened to accounts, and who holds which name in a live room.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Index, Table, async_trait},
    schema::{
        integer_null, pk_uuid, string, string_null, text_null, timestamp_with_time_zone, uuid, uuid_null,
    },
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
        let live_names = Table::create()
            .table("live_names")
            .col(string("room"))
            .col(string("identity"))
            .col(uuid("owner_id"))
            .col(timestamp_with_time_zone("expires_at"))
            .primary_key(Index::create().col("room").col("identity"))
            .foreign_key(
                ForeignKey::create()
                    .from("live_names", "owner_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.alter_table(own_rate).await?;
        manager.create_table(security_events).await?;
        manager.create_table(live_names).await?;
        for index in [
            index("security_events_by_age", "security_events", &["created_at", "id"]),
            index("security_events_of_user", "security_events", &["user_id", "created_at", "id"]),
            index("live_names_of_owner", "live_names", &["owner_id"]),
            index("live_names_by_expiry", "live_names", &["expires_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["live_names", "security_events"]).await?;
        manager
            .alter_table(Table::alter().table("api_keys").drop_column("requests_per_minute").to_owned())
            .await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
