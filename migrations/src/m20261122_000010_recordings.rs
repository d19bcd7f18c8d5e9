//! Recordings of sessions, and the chunks that they come in until they are files.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        ConditionalStatement, DbErr, DeriveMigrationName, Expr, ExprTrait, ForeignKey, ForeignKeyAction,
        ForeignKeyCreateStatement, Index, Table, async_trait,
    },
    schema::{
        big_integer, integer, json_null, pk_uuid, string, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let recordings = Table::create()
            .table("recordings")
            .col(pk_uuid("id"))
            .col(uuid("session_id"))
            .col(uuid_null("started_by"))
            .col(string("status"))
            .col(uuid_null("file_id"))
            .col(uuid_null("job_id"))
            .col(json_null("failure"))
            .col(integer("chunks").default(0))
            .col(big_integer("size_bytes").default(0))
            .col(timestamp_with_time_zone("started_at"))
            .col(timestamp_with_time_zone_null("stopped_at"))
            // When the last chunk came, or when the first may.
            .col(timestamp_with_time_zone("last_chunk_at"))
            // Until then somebody makes a file of it.
            .col(timestamp_with_time_zone_null("held_until"))
            // When there was nothing left to make of it.
            .col(timestamp_with_time_zone_null("settled_at"))
            .foreign_key(&mut key(("recordings", "session_id"), "sessions", ForeignKeyAction::Cascade))
            .foreign_key(&mut key(("recordings", "started_by"), "users", ForeignKeyAction::SetNull))
            .foreign_key(&mut key(("recordings", "file_id"), "files", ForeignKeyAction::SetNull))
            .foreign_key(&mut key(("recordings", "job_id"), "jobs", ForeignKeyAction::SetNull))
            .to_owned();
        let recording_chunks = Table::create()
            .table("recording_chunks")
            .col(uuid("recording_id"))
            .col(integer("number"))
            .col(uuid("owner_id"))
            .col(big_integer("size_bytes"))
            .col(string("object_key"))
            .primary_key(Index::create().col("recording_id").col("number"))
            .foreign_key(&mut key(
                ("recording_chunks", "recording_id"),
                "recordings",
                ForeignKeyAction::Cascade,
            ))
            .foreign_key(&mut key(("recording_chunks", "owner_id"), "users", ForeignKeyAction::Cascade))
            .to_owned();
        for table in [recordings, recording_chunks] {
            manager.create_table(table).await?;
        }
        // What no two requests at once may bring about, whoever else looked before.
        let one_running = index("recordings_running", "recordings", &["session_id"])
            .unique()
            .and_where(Expr::col("status").is_in(["RECORDING", "PAUSED"]))
            .to_owned();
        // Few at a time, and looked for all the time.
        let unsettled = index("recordings_unsettled", "recordings", &["status", "last_chunk_at"])
            .and_where(Expr::col("settled_at").is_null())
            .to_owned();
        for index in [
            index("recordings_by_age", "recordings", &["session_id", "started_at", "id"]),
            index("recordings_of_file", "recordings", &["file_id"]),
            index("recordings_of_job", "recordings", &["job_id"]),
            index("recordings_of_user", "recordings", &["started_by"]),
            index("recording_chunks_of_owner", "recording_chunks", &["owner_id", "size_bytes"]),
            index("recording_chunks_by_object", "recording_chunks", &["object_key"]),
            unsettled,
            one_running,
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["recording_chunks", "recordings"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn key(
    from: (&'static str, &'static str),
    to: &'static str,
    when_gone: ForeignKeyAction,
) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(from.0, from.1).to(to, "id").on_delete(when_gone).to_owned()
}
