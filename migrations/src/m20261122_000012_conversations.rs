//! Conversations with the voice agent, and what was said in them.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Table,
        async_trait,
    },
    schema::{
        boolean, integer, json, pk_uuid, string, text, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let agent_sessions = Table::create()
            .table("agent_sessions")
            .col(pk_uuid("id"))
            // Of a guest where there is none.
            .col(uuid_null("user_id"))
            .col(text("room"))
            .col(text("system_prompt"))
            .col(json("metadata"))
            .col(integer("utterance_count").default(0))
            .col(timestamp_with_time_zone("started_at"))
            .col(timestamp_with_time_zone_null("ended_at"))
            .foreign_key(&mut inside(("agent_sessions", "user_id"), "users"))
            .to_owned();
        let utterances = Table::create()
            .table("utterances")
            .col(pk_uuid("id"))
            .col(uuid("session_id"))
            .col(string("role"))
            .col(text("text"))
            .col(string("event"))
            .col(boolean("is_final"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut inside(("utterances", "session_id"), "agent_sessions"))
            .to_owned();
        for table in [agent_sessions, utterances] {
            manager.create_table(table).await?;
        }
        for index in [
            index("agent_sessions_by_age", "agent_sessions", &["user_id", "started_at", "id"]),
            index("utterances_by_age", "utterances", &["session_id", "created_at", "id"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["utterances", "agent_sessions"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// What goes when the row that it names goes.
fn inside(from: (&'static str, &'static str), to: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from.0, from.1).to(to, "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}
