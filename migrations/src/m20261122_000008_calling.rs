//! Agents, and the campaigns in which they call.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Table, async_trait},
    schema::{
        integer, json, pk_uuid, string, string_len, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let agents = Table::create()
            .table("agents")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(string_len("name", 255))
            .col(text_null("description"))
            .col(string("llm_provider"))
            .col(string("llm_model"))
            .col(string("stt_provider"))
            .col(string("tts_provider"))
            .col(text("system_prompt"))
            .col(string("language"))
            .col(json("voice_parameters"))
            .col(string("status"))
            // Name and description in small letters: the databases fold those of ASCII alone.
            .col(text("search_text"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("agents", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        let campaigns = Table::create()
            .table("campaigns")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(uuid_null("agent_id"))
            .col(string_len("name", 255))
            .col(json("phone_numbers"))
            .col(string("status"))
            .col(timestamp_with_time_zone_null("start_time"))
            .col(timestamp_with_time_zone_null("end_time"))
            .col(integer("max_concurrent_calls"))
            .col(timestamp_with_time_zone_null("launched_at"))
            .col(timestamp_with_time_zone_null("paused_at"))
            .col(timestamp_with_time_zone_null("completed_at"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("campaigns", "user_id")
                    .to("users", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            // A campaign outlives its agent, and may be given another.
            .foreign_key(
                ForeignKey::create()
                    .from("campaigns", "agent_id")
                    .to("agents", "id")
                    .on_delete(ForeignKeyAction::SetNull),
            )
            .to_owned();
        for table in [agents, campaigns] {
            manager.create_table(table).await?;
        }
        for index in [
            index("agents_name", "agents", &["user_id", "name"]).unique().to_owned(),
            index("agents_of_user", "agents", &["user_id", "created_at", "id"]),
            index("campaigns_of_user", "campaigns", &["user_id", "created_at", "id"]),
            index("campaigns_of_agent", "campaigns", &["agent_id", "created_at", "id"]),
            index("campaigns_by_end", "campaigns", &["status", "end_time"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["campaigns", "agents"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
