//! Logins, and the tokens that keep them alive. A rotating token is used once: when one comes a second time, it was
//! stolen, or the answer to its first use was; either way the whole family ends.

use crate::{
    database::{Database, Turn},
    error::{Error, Result},
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

/// How long after its standing token a login ends: access tokens that were fetched at the last moment live so long.
const AFTER_STANDING: Duration = Duration::from_secs(24 * 3600);

/// Plain text, to be shown to its owner once; only its hash is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginToken(String);

/// What a token of a login is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A refresh token that is used once, and followed by another.
    Rotating,
    /// A refresh token that holds until it expires.
    Standing,
    /// The credential of a browser: good for requests, and for no refresh.
    Session,
}

/// What came of a refresh token.
#[derive(Debug)]
pub enum Rotation {
    /// The token is used up, and `token` follows it.
    Fresh { user: UserId, login: LoginId, token: LoginToken },
    /// The token holds on.
    Standing { user: UserId, login: LoginId },
    /// The token was used before: its login is revoked now.
    Reused { user: UserId },
    /// Expired, revoked, its user disabled, not for refreshing, or never ours.
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

    /// Each token of the login lives for `lifetime` from when it is issued.
    pub async fn start(
        &self,
        user: UserId,
        kind: TokenKind,
        lifetime: Duration,
    ) -> Result<(LoginId, LoginToken)> {
        let now = self.database.now();
        let login = LoginId::new();
        let until = now + lifetime;
        let row = logins::ActiveModel {
            id: Set(login.into()),
            user_id: Set(user.into()),
            created_at: Set(now),
            expires_at: Set(match kind {
                TokenKind::Rotating | TokenKind::Session => until,
                TokenKind::Standing => until + AFTER_STANDING,
            }),
            revoked_at: Set(None),
        };
        let transaction = self.database.begin(user).await?;
        logins::Entity::insert(row).exec_without_returning(&transaction).await?;
        let token = issue(&transaction, login, Term { kind, from: now, until }).await?;
        transaction.commit().await?;
        Ok((login, token))
    }

    /// Uses a refresh token.
    pub async fn rotate(&self, plain: &str) -> Result<Rotation> {
        let now = self.database.now();
        let transaction = self.database.begin(Turn::named(plain)).await?;
        let Some((token, login)) = find(&transaction, plain, now).await? else {
            return Ok(Rotation::Unknown);
        };
        let (id, user) = (LoginId::from(login.id), UserId::from(login.user_id));
        if token.used_at.is_some() {
            revoke(&transaction, logins::Column::Id.eq(login.id), now).await?;
            transaction.commit().await?;
            return Ok(Rotation::Reused { user });
        }
        if !users::is_enabled(&transaction, user).await? {
            return Ok(Rotation::Unknown);
        }
        match TokenKind::parse(&token.kind)? {
            TokenKind::Rotating => {}
            TokenKind::Standing => return Ok(Rotation::Standing { user, login: id }),
            TokenKind::Session => return Ok(Rotation::Unknown),
        }
        let until = now + (token.expires_at - token.created_at);
        let mut token = token.into_active_model();
        token.used_at = Set(Some(now));
        token.update(&transaction).await?;
        let mut login = login.into_active_model();
        login.expires_at = Set(until);
        login.update(&transaction).await?;
        let term = Term { kind: TokenKind::Rotating, from: now, until };
        let token = issue(&transaction, id, term).await?;
        transaction.commit().await?;
        Ok(Rotation::Fresh { user, login: id, token })
    }

    /// Whose session this is; none once it is revoked or expired, or its user disabled.
    pub async fn session(&self, plain: &str) -> Result<Option<(UserId, LoginId)>> {
        let reader = self.database.reader();
        let Some((token, login)) = find(reader, plain, self.database.now()).await? else { return Ok(None) };
        let user = UserId::from(login.user_id);
        let holds = match TokenKind::parse(&token.kind)? {
            TokenKind::Session => users::is_enabled(reader, user).await?,
            TokenKind::Rotating | TokenKind::Standing => false,
        };
        Ok(holds.then_some((user, LoginId::from(login.id))))
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

impl TokenKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rotating => "rotating",
            Self::Standing => "standing",
            Self::Session => "session",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Rotating, Self::Standing, Self::Session]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::internal(format!("the row has the unknown kind {text}")))
    }
}

impl LoginToken {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LoginToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LoginToken(…)")
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
    kind: TokenKind,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

async fn issue(database: &impl ConnectionTrait, login: LoginId, term: Term) -> Result<LoginToken> {
    let plain = secrets::random_token();
    let row = refresh_tokens::ActiveModel {
        token_hash: Set(secrets::hash(&plain)),
        login_id: Set(login.into()),
        kind: Set(term.kind.as_str().to_owned()),
        expires_at: Set(term.until),
        used_at: Set(None),
        created_at: Set(term.from),
    };
    refresh_tokens::Entity::insert(row).exec_without_returning(database).await?;
    Ok(LoginToken(plain))
}

/// The token and its login, used or not; none where either has run out or was revoked.
async fn find(
    database: &impl ConnectionTrait,
    plain: &str,
    now: DateTime<Utc>,
) -> Result<Option<(refresh_tokens::Model, logins::Model)>> {
    let token = refresh_tokens::Entity::find_by_id(secrets::hash(plain)).one(database).await?;
    let Some(token) = token.filter(|token| token.expires_at > now) else { return Ok(None) };
    let login = logins::Entity::find_by_id(token.login_id).one(database).await?;
    Ok(login.filter(|login| login.revoked_at.is_none()).map(|login| (token, login)))
}

/// Ends those of the logins that have not ended yet.
pub(crate) async fn revoke(database: &impl ConnectionTrait, which: Expr, now: DateTime<Utc>) -> Result<()> {
    logins::Entity::update_many()
        .col_expr(logins::Column::RevokedAt, Expr::value(now))
        .filter(which)
        .filter(logins::Column::RevokedAt.is_null())
        .exec(database)
        .await?;
    Ok(())
}
