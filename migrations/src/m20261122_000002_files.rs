//! Files, and uploads that come in parts.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Index, Table, async_trait},
    schema::{
        big_integer, big_integer_null, integer, json_null, pk_uuid, string, string_null, string_uniq, text,
        text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let files = Table::create()
            .table("files")
            .col(pk_uuid("id"))
            .col(uuid("owner_id"))
            .col(big_integer_null("project_id"))
            .col(text("filename"))
            .col(string("content_type"))
            .col(string("kind"))
            .col(big_integer("size_bytes"))
            .col(string("sha256"))
            .col(json_null("media"))
            .col(string_uniq("object_key"))
            .col(uuid_null("job_id"))
            .col(integer("position"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("expires_at"))
            .foreign_key(ForeignKey::create().from("files", "owner_id").to("users", "id"))
            .foreign_key(
                ForeignKey::create()
                    .from("files", "project_id")
                    .to("projects", "id")
                    .on_delete(ForeignKeyAction::SetNull),
            )
            .to_owned();
        let uploads = Table::create()
            .table("uploads")
            .col(pk_uuid("id"))
            .col(uuid("owner_id"))
            .col(text("filename"))
            .col(string_null("content_type"))
            .col(big_integer("size_bytes"))
            .col(big_integer("part_size"))
            .col(text_null("project_name"))
            .col(string_null("sha256"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("expires_at"))
            .foreign_key(ForeignKey::create().from("uploads", "owner_id").to("users", "id"))
            .to_owned();
        let upload_parts = Table::create()
            .table("upload_parts")
            .col(uuid("upload_id"))
            .col(integer("number"))
            .col(big_integer("size_bytes"))
            .col(string("sha256"))
            .primary_key(Index::create().col("upload_id").col("number"))
            .foreign_key(
                ForeignKey::create()
                    .from("upload_parts", "upload_id")
                    .to("uploads", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        for table in [files, uploads, upload_parts] {
            manager.create_table(table).await?;
        }
        for index in [
            index("files_of_owner", "files", &["owner_id", "created_at", "id"]),
            // Covers the sum that the quota asks for.
            index("files_usage", "files", &["owner_id", "size_bytes"]),
            index("files_of_job", "files", &["job_id", "position"]),
            index("files_by_expiry", "files", &["expires_at"]),
            index("uploads_of_owner", "uploads", &["owner_id", "size_bytes"]),
            index("uploads_by_expiry", "uploads", &["expires_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["upload_parts", "uploads", "files"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
