//! Rooms, the sessions held in them, who takes part, and what is said.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        ConditionalStatement, DbErr, DeriveMigrationName, Expr, ExprTrait, ForeignKey, ForeignKeyAction,
        ForeignKeyCreateStatement, Index, Table, async_trait,
    },
    schema::{
        boolean, pk_uuid, string, string_len, string_len_uniq, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rooms = Table::create()
            .table("rooms")
            .col(pk_uuid("id"))
            .col(string_len("name", 255))
            .col(string_len_uniq("unique_code", 50))
            .col(uuid("owner_id"))
            .col(boolean("is_private").default(false))
            .col(text_null("passcode_hash"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .foreign_key(&mut inside(("rooms", "owner_id"), "users"))
            .to_owned();
        let sessions = Table::create()
            .table("sessions")
            .col(pk_uuid("id"))
            .col(uuid("room_id"))
            .col(string("status"))
            .col(timestamp_with_time_zone_null("scheduled_start_time"))
            .col(timestamp_with_time_zone_null("actual_start_time"))
            .col(timestamp_with_time_zone_null("actual_end_time"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .foreign_key(&mut inside(("sessions", "room_id"), "rooms"))
            .to_owned();
        let session_participants = Table::create()
            .table("session_participants")
            .col(uuid("session_id"))
            .col(uuid("user_id"))
            .col(string("role"))
            .col(timestamp_with_time_zone("join_time"))
            .col(timestamp_with_time_zone_null("leave_time"))
            .col(boolean("is_sharing_screen").default(false))
            .primary_key(Index::create().col("session_id").col("user_id"))
            .foreign_key(&mut inside(("session_participants", "session_id"), "sessions"))
            .foreign_key(&mut inside(("session_participants", "user_id"), "users"))
            .to_owned();
        let chat_messages = Table::create()
            .table("chat_messages")
            .col(pk_uuid("id"))
            .col(uuid("session_id"))
            .col(uuid("user_id"))
            .col(text("message"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut inside(("chat_messages", "session_id"), "sessions"))
            .foreign_key(&mut inside(("chat_messages", "user_id"), "users"))
            .to_owned();
        for table in [rooms, sessions, session_participants, chat_messages] {
            manager.create_table(table).await?;
        }
        // Two things that no two requests at once may bring about, whoever else looked before.
        let one_live_session = index("sessions_live", "sessions", &["room_id"])
            .unique()
            .and_where(Expr::col("status").eq("LIVE"))
            .to_owned();
        let one_sharer = index("session_participants_sharing", "session_participants", &["session_id"])
            .unique()
            .and_where(Expr::col("is_sharing_screen").eq(true))
            .to_owned();
        for index in [
            index("idx_rooms_owner_id", "rooms", &["owner_id"]),
            index("idx_sessions_room_id", "sessions", &["room_id"]),
            index("idx_chat_messages_session_id", "chat_messages", &["session_id"]),
            index("chat_messages_by_age", "chat_messages", &["session_id", "created_at", "id"]),
            index("chat_messages_of_user", "chat_messages", &["user_id"]),
            index("session_participants_of_user", "session_participants", &["user_id"]),
            one_live_session,
            one_sharer,
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["chat_messages", "session_participants", "sessions", "rooms"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// What goes when the row that it names goes.
fn inside(from: (&'static str, &'static str), to: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from.0, from.1).to(to, "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}
