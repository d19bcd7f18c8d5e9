//! Jobs, the files they read, and the keys that make a submit idempotent.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, Index, IndexOrder, Table, async_trait,
    },
    schema::{
        big_integer, big_integer_null, double, integer, json, json_null, pk_uuid, string, string_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let jobs = Table::create()
            .table("jobs")
            .col(pk_uuid("id"))
            .col(uuid("owner_id"))
            .col(string("kind"))
            .col(integer("priority"))
            .col(string("state"))
            .col(json("parameters"))
            .col(big_integer("turn"))
            .col(integer("attempt"))
            .col(integer("crashes"))
            .col(integer("max_attempts"))
            .col(timestamp_with_time_zone("run_after"))
            .col(timestamp_with_time_zone_null("queued_at"))
            .col(string_null("lease_owner"))
            .col(timestamp_with_time_zone_null("lease_until"))
            .col(big_integer("lease_epoch"))
            .col(timestamp_with_time_zone_null("cancel_requested_at"))
            .col(double("progress"))
            .col(string_null("stage"))
            .col(big_integer("version"))
            .col(json_null("result"))
            .col(json_null("error"))
            .col(big_integer_null("project_id"))
            .col(uuid_null("parent_id"))
            .col(uuid_null("batch_id"))
            .col(string_null("request_id"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .foreign_key(ForeignKey::create().from("jobs", "owner_id").to("users", "id"))
            .foreign_key(
                ForeignKey::create()
                    .from("jobs", "project_id")
                    .to("projects", "id")
                    .on_delete(ForeignKeyAction::SetNull),
            )
            .to_owned();
        let job_inputs = Table::create()
            .table("job_inputs")
            .col(uuid("job_id"))
            .col(uuid("file_id"))
            .primary_key(Index::create().col("job_id").col("file_id"))
            .foreign_key(
                ForeignKey::create()
                    .from("job_inputs", "job_id")
                    .to("jobs", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        let idempotency_keys = Table::create()
            .table("idempotency_keys")
            .col(uuid("owner_id"))
            .col(string("key"))
            .col(string("fingerprint"))
            .col(uuid("job_id"))
            .col(timestamp_with_time_zone("created_at"))
            .primary_key(Index::create().col("owner_id").col("key"))
            .to_owned();
        for table in [jobs, job_inputs, idempotency_keys] {
            manager.create_table(table).await?;
        }
        // The order of dispatch, and run_after so that jobs that wait for a retry are passed over inside the index.
        let due = Index::create()
            .name("jobs_due")
            .table("jobs")
            .col("state")
            .col("kind")
            .col(("priority", IndexOrder::Desc))
            .col("turn")
            .col("created_at")
            .col("id")
            .col("run_after")
            .to_owned();
        for index in [
            due,
            // The next moment anything is due; also old finished jobs, which are due no later than they finished.
            index("jobs_by_run_after", "jobs", &["state", "run_after"]),
            index("jobs_of_owner", "jobs", &["owner_id", "created_at", "id"]),
            // How many jobs an owner has in a state, and the owner's last turn.
            index("jobs_of_owner_by_state", "jobs", &["owner_id", "state", "kind", "priority", "turn"]),
            index("job_inputs_of_file", "job_inputs", &["file_id"]),
            index("idempotency_keys_by_age", "idempotency_keys", &["created_at"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["idempotency_keys", "job_inputs", "jobs"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
