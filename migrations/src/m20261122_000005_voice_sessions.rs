//! Voice sessions: stretches of recording inside a project.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Index, IntoIden, IntoTableRef, Table,
        async_trait,
    },
    schema::{big_integer, big_pk_auto, timestamp_with_time_zone, timestamp_with_time_zone_null},
};

/// What a deleted project is looked up by in the tables that keep their rows.
const OF_PROJECT: [(&str, &str); 2] = [("files_of_project", "files"), ("jobs_of_project", "jobs")];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let voice_sessions = Table::create()
            .table("voice_sessions")
            .col(big_pk_auto("id"))
            .col(big_integer("project_id"))
            .col(timestamp_with_time_zone("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("voice_sessions", "project_id")
                    .to("projects", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(voice_sessions).await?;
        manager
            .create_index(index("voice_sessions_of_project", "voice_sessions", &["project_id", "id"]))
            .await?;
        for (name, table) in OF_PROJECT {
            manager.create_index(index(name, table, &["project_id"])).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, table) in OF_PROJECT {
            let index = Index::drop().name(name).table(table.into_iden().into_table_ref()).to_owned();
            manager.drop_index(index).await?;
        }
        drop_tables(manager, &["voice_sessions"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
