//! Logins, and the refresh tokens that keep them alive. Each token is used once: when one comes a second time, it was
//! stolen, or the answer to its first use was; either way the whole family ends.

use crate::{
    database::Database,
    error::Result,
    ids::{LoginId, UserId},
    rows::{logins, refresh_tokens},
    secrets, users,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, Set,
    sea_query::Expr,
};
use std::{fmt, time::Duration};

/// Plain text, to be shown to its owner once; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(String);

/// What came of a refresh token.
#[derive(Debug)]
pub enum Rotation {
    /// The token is used up, and `token` follows it.
    Fresh { user: UserId, login: LoginId, token: RefreshToken },
    /// The token was used before: its login is revoked now.
    Reused { user: UserId },
    /// Expired, revoked, its user disabled, or never ours.
    Unknown,
}

#[derive(Clone)]
pub struct Logins {
    database: Database,
}

impl Logins {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Each refresh token of the login lives for `lifetime` from when it is issued.
    pub async fn start(&self, user: UserId, lifetime: Duration) -> Result<(LoginId, RefreshToken)> {
        let now = self.database.now();
        let login = LoginId::new();
        let expires_at = now + lifetime;
        let row = logins::ActiveModel {
            id: Set(login.into()),
            user_id: Set(user.into()),
            created_at: Set(now),
            expires_at: Set(expires_at),
            revoked_at: Set(None),
        };
        let transaction = self.database.begin().await?;
        logins::Entity::insert(row).exec_without_returning(&transaction).await?;
        let token = issue(&transaction, login, Term { from: now, until: expires_at }).await?;
        transaction.commit().await?;
        Ok((login, token))
    }

    pub async fn rotate(&self, plain: &str) -> Result<Rotation> {
        let now = self.database.now();
        let transaction = self.database.begin().await?;
        let hash = secrets::hash(plain);
        let Some(token) = refresh_tokens::Entity::find_by_id(hash).one(&transaction).await? else {
            return Ok(Rotation::Unknown);
        };
        let Some(login) = logins::Entity::find_by_id(token.login_id).one(&transaction).await? else {
            return Ok(Rotation::Unknown);
        };
        if login.revoked_at.is_some() || token.expires_at <= now {
            return Ok(Rotation::Unknown);
        }
        let (id, user) = (LoginId::from(login.id), UserId::from(login.user_id));
        if token.used_at.is_some() {
            revoke(&transaction, logins::Column::Id.eq(login.id), now).await?;
            transaction.commit().await?;
            return Ok(Rotation::Reused { user });
        }
        if !users::is_enabled(&transaction, user).await? {
            return Ok(Rotation::Unknown);
        }
        let expires_at = now + (token.expires_at - token.created_at);
        let mut token = token.into_active_model();
        token.used_at = Set(Some(now));
        token.update(&transaction).await?;
        let mut login = login.into_active_model();
        login.expires_at = Set(expires_at);
        login.update(&transaction).await?;
        let token = issue(&transaction, id, Term { from: now, until: expires_at }).await?;
        transaction.commit().await?;
        Ok(Rotation::Fresh { user, login: id, token })
    }

    /// One that does not exist is fine.
    pub async fn revoke(&self, login: LoginId) -> Result<()> {
        revoke(self.database.writer(), logins::Column::Id.eq(login.as_uuid()), self.database.now()).await
    }

    pub async fn revoke_all(&self, user: UserId) -> Result<()> {
        revoke(self.database.writer(), logins::Column::UserId.eq(user.as_uuid()), self.database.now()).await
    }

    /// False once it is revoked or expired, or its user disabled.
    pub async fn is_live(&self, login: LoginId) -> Result<bool> {
        let reader = self.database.reader();
        let row = logins::Entity::find_by_id(login.as_uuid()).one(reader).await?;
        match row {
            Some(row) if row.revoked_at.is_none() && row.expires_at > self.database.now() => {
                users::is_enabled(reader, row.user_id.into()).await
            }
            Some(_) | None => Ok(false),
        }
    }
}

impl RefreshToken {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RefreshToken(…)")
    }
}

/// Removes the logins that ended before `before`, and their tokens with them.
pub(crate) async fn sweep(database: &Database, before: DateTime<Utc>) -> Result<u64> {
    let swept = logins::Entity::delete_many()
        .filter(logins::Column::ExpiresAt.lt(before))
        .exec(database.writer())
        .await?;
    Ok(swept.rows_affected)
}

struct Term {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

async fn issue(database: &impl ConnectionTrait, login: LoginId, term: Term) -> Result<RefreshToken> {
    let plain = secrets::random_token();
    let row = refresh_tokens::ActiveModel {
        token_hash: Set(secrets::hash(&plain)),
        login_id: Set(login.into()),
        expires_at: Set(term.until),
        used_at: Set(None),
        created_at: Set(term.from),
    };
    refresh_tokens::Entity::insert(row).exec_without_returning(database).await?;
    Ok(RefreshToken(plain))
}

async fn revoke(database: &impl ConnectionTrait, which: Expr, now: DateTime<Utc>) -> Result<()> {
    logins::Entity::update_many()
        .col_expr(logins::Column::RevokedAt, Expr::value(now))
        .filter(which)
        .filter(logins::Column::RevokedAt.is_null())
        .exec(database)
        .await?;
    Ok(())
}
