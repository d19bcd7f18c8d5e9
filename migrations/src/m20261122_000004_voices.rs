//! Voice profiles.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{DbErr, DeriveMigrationName, ForeignKey, Table, async_trait},
    schema::{
        big_integer, double, json_null, pk_uuid, string, string_null, string_uniq, text, text_null,
        timestamp_with_time_zone, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let voice_profiles = Table::create()
            .table("voice_profiles")
            .col(pk_uuid("id"))
            .col(uuid("owner_id"))
            .col(text("name"))
            .col(text_null("description"))
            .col(string("language"))
            .col(string_null("gender"))
            .col(json_null("consent"))
            .col(string_uniq("object_key"))
            .col(big_integer("size_bytes"))
            .col(uuid_null("sample_file_id"))
            .col(double("speech_seconds"))
            .col(json_null("media"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(ForeignKey::create().from("voice_profiles", "owner_id").to("users", "id"))
            .to_owned();
        manager.create_table(voice_profiles).await?;
        manager
            .create_index(index(
                "voice_profiles_of_owner",
                "voice_profiles",
                &["owner_id", "created_at", "id"],
            ))
            .await?;
        manager
            .create_index(index("voice_profiles_usage", "voice_profiles", &["owner_id", "size_bytes"]))
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["voice_profiles"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
