//! Passwords that were forgotten: whoever reads the mail of an account may choose another. A user has one token at a time,
//! good for once and for a short time.

use crate::{
    database::Turn,
    error::Result,
    ids::UserId,
    logins,
    rows::{logins as login_rows, password_resets, users as user_rows},
    secrets,
    users::{User, Users},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set,
    sea_query::{Expr, OnConflict},
};
use std::fmt;

/// How long a token is good.
pub const RESET_LIFETIME: chrono::Duration = chrono::Duration::hours(1);

/// Plain text, for the owner of the account alone; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct ResetToken(String);

impl Users {
    /// A token for the account with this address, in place of the one before. None where there is no such account or it
    /// is disabled.
    pub async fn begin_reset(&self, email: &str) -> Result<Option<(User, ResetToken)>> {
        let Some(user) = self.by_email(email).await?.filter(|user| !user.disabled) else { return Ok(None) };
        let now = self.database.now();
        let plain = secrets::random_token();
        let row = password_resets::ActiveModel {
            user_id: Set(user.id.into()),
            token_hash: Set(secrets::hash(&plain)),
            created_at: Set(now),
            expires_at: Set(now + RESET_LIFETIME),
        };
        password_resets::Entity::insert(row)
            .on_conflict(
                OnConflict::column(password_resets::Column::UserId)
                    .update_columns([
                        password_resets::Column::TokenHash,
                        password_resets::Column::CreatedAt,
                        password_resets::Column::ExpiresAt,
                    ])
                    .to_owned(),
            )
            .exec_without_returning(self.database.writer())
            .await?;
        Ok(Some((user, ResetToken(plain))))
    }

    /// Whether the token would be taken now.
    pub async fn is_reset(&self, plain: &str) -> Result<bool> {
        let found = find(self.database.reader(), plain, self.database.now()).await?;
        Ok(found.is_some())
    }

    /// Uses the token, sets the password, and ends every login of the user. None, and nothing is changed, where the token
    /// was used, has run out, or never was one.
    pub async fn finish_reset(&self, plain: &str, new_hash: String) -> Result<Option<UserId>> {
        let now = self.database.now();
        let transaction = self.database.begin(Turn::named(plain)).await?;
        let Some(user) = find(&transaction, plain, now).await? else { return Ok(None) };
        let used = password_resets::Entity::delete_many()
            .filter(password_resets::Column::TokenHash.eq(secrets::hash(plain)))
            .exec(&transaction)
            .await?;
        let changed = user_rows::Entity::update_many()
            .col_expr(user_rows::Column::PasswordHash, Expr::value(new_hash))
            .col_expr(user_rows::Column::UpdatedAt, Expr::value(now))
            .filter(user_rows::Column::Id.eq(user.as_uuid()))
            .filter(user_rows::Column::DisabledAt.is_null())
            .exec(&transaction)
            .await?;
        if used.rows_affected == 0 || changed.rows_affected == 0 {
            return Ok(None);
        }
        logins::revoke(&transaction, login_rows::Column::UserId.eq(user.as_uuid()), now).await?;
        transaction.commit().await?;
        Ok(Some(user))
    }
}

impl ResetToken {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ResetToken(…)")
    }
}

/// Voids the token of a user, who knows their password after all.
pub(crate) async fn discard(database: &impl ConnectionTrait, user: UserId) -> Result<()> {
    password_resets::Entity::delete_by_id(user.as_uuid()).exec(database).await?;
    Ok(())
}

/// Removes the tokens that have run out. Returns how many.
pub(crate) async fn sweep(database: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<u64> {
    let swept = password_resets::Entity::delete_many()
        .filter(password_resets::Column::ExpiresAt.lte(now))
        .exec(database)
        .await?;
    Ok(swept.rows_affected)
}

/// Whose token this is, while it is good.
async fn find(database: &impl ConnectionTrait, plain: &str, now: DateTime<Utc>) -> Result<Option<UserId>> {
    let row = password_resets::Entity::find()
        .filter(password_resets::Column::TokenHash.eq(secrets::hash(plain)))
        .filter(password_resets::Column::ExpiresAt.gt(now))
        .one(database)
        .await?;
    Ok(row.map(|row| row.user_id.into()))
}
