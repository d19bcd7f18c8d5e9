//! Webhooks: whom a job tells of its end, what was said to whom, and the keys that sign it.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index, Table,
        async_trait,
    },
    schema::{
        big_integer, integer, integer_null, json_null, pk_uuid, string, string_null, text,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let callback = Table::alter().table("jobs").add_column(json_null("callback")).to_owned();
        let secrets = Table::create()
            .table("webhook_secrets")
            .col(pk_uuid("user_id"))
            .col(string("secret"))
            .col(timestamp_with_time_zone("created_at"))
            // Signs too, until then.
            .col(string_null("previous"))
            .col(timestamp_with_time_zone_null("previous_until"))
            .foreign_key(&mut inside(("webhook_secrets", "user_id"), "users"))
            .to_owned();
        let deliveries = Table::create()
            .table("webhook_deliveries")
            .col(pk_uuid("id"))
            .col(uuid("owner_id"))
            // The job that ended, which may be gone before the delivery is.
            .col(uuid("job_id"))
            // The job that delivers.
            .col(uuid("run_id"))
            .col(string("event"))
            .col(text("url"))
            .col(text("body"))
            .col(string("status"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut inside(("webhook_deliveries", "owner_id"), "users"))
            .to_owned();
        let attempts = Table::create()
            .table("webhook_attempts")
            .col(uuid("delivery_id"))
            .col(integer("number"))
            .col(timestamp_with_time_zone("started_at"))
            .col(big_integer("duration_ms"))
            .col(integer_null("status_code"))
            .col(string_null("error"))
            .primary_key(Index::create().col("delivery_id").col("number"))
            .foreign_key(&mut inside(("webhook_attempts", "delivery_id"), "webhook_deliveries"))
            .to_owned();
        manager.alter_table(callback).await?;
        for table in [secrets, deliveries, attempts] {
            manager.create_table(table).await?;
        }
        for index in [
            index("webhook_deliveries_of_owner", "webhook_deliveries", &["owner_id", "created_at", "id"]),
            index("webhook_deliveries_of_job", "webhook_deliveries", &["job_id", "created_at", "id"]),
            index("webhook_deliveries_by_age", "webhook_deliveries", &["created_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["webhook_attempts", "webhook_deliveries", "webhook_secrets"]).await?;
        manager.alter_table(Table::alter().table("jobs").drop_column("callback").to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// What goes when the row that it names goes.
fn inside(from: (&'static str, &'static str), to: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from.0, from.1).to(to, "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}
