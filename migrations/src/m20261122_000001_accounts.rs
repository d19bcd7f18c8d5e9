//! Accounts, their logins and API keys, and projects.

use crate::{drop_tables, index};
use sea_orm_migration::{
    MigrationTrait, SchemaManager,
    prelude::{
        DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Table,
        async_trait,
    },
    schema::{
        big_integer_null, big_pk_auto, pk_uuid, string, string_uniq, text, text_null,
        timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_uniq,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The number is the primary key, because only there does SQLite count up without using a number twice.
        let users = Table::create()
            .table("users")
            .col(big_pk_auto("number"))
            .col(uuid_uniq("id"))
            .col(string_uniq("email"))
            .col(text("password_hash"))
            .col(text("display_name"))
            .col(text("first_name"))
            .col(text("last_name"))
            .col(string("role"))
            .col(text_null("picture_url"))
            .col(timestamp_with_time_zone_null("disabled_at"))
            .col(big_integer_null("quota_bytes"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("updated_at"))
            .to_owned();
        let logins = Table::create()
            .table("logins")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone("expires_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .foreign_key(&mut of_user("logins", "user_id"))
            .to_owned();
        let refresh_tokens = Table::create()
            .table("refresh_tokens")
            .col(string("token_hash").primary_key())
            .col(uuid("login_id"))
            .col(timestamp_with_time_zone("expires_at"))
            .col(timestamp_with_time_zone_null("used_at"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("refresh_tokens", "login_id")
                    .to("logins", "id")
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        let api_keys = Table::create()
            .table("api_keys")
            .col(pk_uuid("id"))
            .col(uuid("user_id"))
            .col(text("name"))
            .col(string_uniq("key_hash"))
            .col(string("prefix"))
            .col(timestamp_with_time_zone_null("expires_at"))
            .col(timestamp_with_time_zone_null("last_used_at"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut of_user("api_keys", "user_id"))
            .to_owned();
        let projects = Table::create()
            .table("projects")
            .col(big_pk_auto("id"))
            .col(uuid("owner_id"))
            .col(string("name"))
            .col(text_null("description"))
            .col(timestamp_with_time_zone("created_at"))
            .foreign_key(&mut of_user("projects", "owner_id"))
            .to_owned();
        // Objects whose rows are gone. The sweeper deletes the bytes, then the row.
        let garbage = Table::create()
            .table("garbage")
            .col(string("object_key").primary_key())
            .col(timestamp_with_time_zone("created_at"))
            .to_owned();
        for table in [users, logins, refresh_tokens, api_keys, projects, garbage] {
            manager.create_table(table).await?;
        }
        for index in [
            index("users_by_age", "users", &["created_at", "id"]),
            index("logins_of_user", "logins", &["user_id"]),
            index("logins_by_expiry", "logins", &["expires_at"]),
            index("refresh_tokens_of_login", "refresh_tokens", &["login_id"]),
            index("api_keys_of_user", "api_keys", &["user_id", "created_at", "id"]),
            index("projects_of_owner", "projects", &["owner_id", "name", "id"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["garbage", "projects", "api_keys", "refresh_tokens", "logins", "users"]).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// What belongs to a user and means nothing without them.
fn of_user(table: &'static str, column: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(table, column).to("users", "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}
