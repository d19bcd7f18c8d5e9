//! Call logs, and what they add up to.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index,
        IndexOrder, Table, async_trait,
    },
    schema::{
        big_integer, integer, json, pk_uuid, string, string_null, text, text_null, timestamp_with_time_zone,
        uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let call_logs = Table::create()
            .table("call_logs")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            // What a call was made by it keeps when that is deleted, and so do the sums below.
            .col(uuid_null("agent_id"))
            .col(uuid_null("campaign_id"))
            .col(uuid_null("job_id"))
            .col(uuid_null("recording_file_id"))
            .col(string_null("external_id"))
            .col(text_null("import_key"))
            .col(string_null("phone_number"))
            .col(string("status"))
            .col(big_integer("duration_seconds"))
            .col(string_null("sentiment"))
            .col(json("emotions"))
            .col(json("key_phrases"))
            .col(text_null("transcript"))
            .col(text_null("summary"))
            .col(big_integer("cost_micros"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut of_user("call_logs"))
            .foreign_key(
                ForeignKey::create()
                    .from("call_logs", "recording_file_id")
                    .to("files", "id")
                    .on_delete(ForeignKeyAction::SetNull),
            )
            .to_owned();
        // The nil id stands for any agent and any campaign, so that one row a day answers each question.
        let call_days = Table::create()
            .table("call_days")
            .col(uuid("user_id"))
            .col(uuid("agent_id"))
            .col(uuid("campaign_id"))
            // Since 1970-01-01, in UTC.
            .col(integer("day"))
            .col(big_integer("total"))
            .col(big_integer("queued"))
            .col(big_integer("in_progress"))
            .col(big_integer("completed"))
            .col(big_integer("failed"))
            .col(big_integer("no_answer"))
            .col(big_integer("duration_seconds"))
            .col(big_integer("cost_micros"))
            .col(big_integer("positive"))
            .col(big_integer("neutral"))
            .col(big_integer("negative"))
            .primary_key(Index::create().col("user_id").col("agent_id").col("campaign_id").col("day"))
            .foreign_key(&mut of_user("call_days"))
            .to_owned();
        let call_phrases = Table::create()
            .table("call_phrases")
            .col(uuid("user_id"))
            .col(uuid("agent_id"))
            .col(text("phrase"))
            .col(big_integer("calls"))
            .primary_key(Index::create().col("user_id").col("agent_id").col("phrase"))
            .foreign_key(&mut of_user("call_phrases"))
            .to_owned();
        for table in [call_logs, call_days, call_phrases] {
            manager.create_table(table).await?;
        }
        let commonest_phrases = index("call_phrases_by_calls", "call_phrases", &["user_id", "agent_id"])
            .col(("calls", IndexOrder::Desc))
            .col("phrase")
            .to_owned();
        for index in [
            // One for each filter, in the order of the list.
            index("call_logs_of_user", "call_logs", &["user_id", "created_at", "id"]),
            index("call_logs_of_agent", "call_logs", &["user_id", "agent_id", "created_at", "id"]),
            index("call_logs_of_campaign", "call_logs", &["user_id", "campaign_id", "created_at", "id"]),
            index("call_logs_by_status", "call_logs", &["user_id", "status", "created_at", "id"]),
            index("call_logs_of_number", "call_logs", &["user_id", "phone_number", "created_at", "id"]),
            index("call_logs_of_recording", "call_logs", &["recording_file_id"]),
            index("call_logs_imported", "call_logs", &["user_id", "import_key"]).unique().to_owned(),
            commonest_phrases,
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["call_phrases", "call_days", "call_logs"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn of_user(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table, "user_id")
        .to("users", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}
