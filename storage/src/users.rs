//! Accounts.

use crate::{
    database::Database,
    error::{Conflict, Error, Result},
    ids::UserId,
    page::{Keys, Listing, Page, Position, listing, narrow},
    rows::users::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
    Set, SqlErr,
};

#[derive(Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    /// Counts up from 1; never used twice.
    pub number: i64,
    /// Case-folded.
    pub email: String,
    pub password_hash: String,
    pub display_name: String,
    pub first_name: String,
    pub last_name: String,
    pub role: Role,
    pub picture_url: Option<String>,
    pub disabled: bool,
    /// The user's own, or the default.
    pub quota_bytes: u64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    User,
    Admin,
}

pub struct NewUser {
    pub email: String,
    pub password_hash: String,
    /// Splits at its first space into first and last name.
    pub display_name: String,
}

#[derive(Clone)]
pub struct Users {
    database: Database,
    default_quota_bytes: u64,
}

impl Users {
    pub(crate) fn new(database: Database, default_quota_bytes: u64) -> Self {
        Self { database, default_quota_bytes }
    }

    /// [`Conflict::EmailTaken`] where the address has an account, in whatever case.
    pub async fn create(&self, new: NewUser) -> Result<User> {
        let now = self.database.now();
        let (first_name, last_name) = split_name(&new.display_name);
        let row = ActiveModel {
            number: ActiveValue::NotSet,
            id: Set(UserId::new().into()),
            email: Set(fold(&new.email)),
            password_hash: Set(new.password_hash),
            first_name: Set(first_name.to_owned()),
            last_name: Set(last_name.to_owned()),
            display_name: Set(new.display_name),
            role: Set(Role::User.as_str().to_owned()),
            picture_url: Set(None),
            disabled_at: Set(None),
            quota_bytes: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        };
        match row.insert(self.database.writer()).await {
            Ok(row) => self.user(row),
            Err(cause) if matches!(cause.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                Err(Conflict::EmailTaken.into())
            }
            Err(cause) => Err(cause.into()),
        }
    }

    pub async fn by_email(&self, email: &str) -> Result<Option<User>> {
        let row = by_email(self.database.reader(), email).await?;
        row.map(|row| self.user(row)).transpose()
    }

    pub async fn get(&self, id: UserId) -> Result<User> {
        self.user(find(self.database.reader(), id).await?)
    }

    pub async fn set_role(&self, email: &str, role: Role) -> Result<User> {
        let transaction = self.database.begin().await?;
        let mut row = by_email(&transaction, email).await?.ok_or(Error::NotFound)?.into_active_model();
        row.role = Set(role.as_str().to_owned());
        row.updated_at = Set(self.database.now());
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        self.user(row)
    }

    /// A disabled user's logins and keys are as if they did not exist, until it is enabled again.
    pub async fn set_access(&self, id: UserId, access: Access) -> Result<User> {
        let transaction = self.database.begin().await?;
        let now = self.database.now();
        let mut row = find(&transaction, id).await?.into_active_model();
        row.disabled_at = Set(match access {
            Access::Enabled => None,
            Access::Disabled => Some(now),
        });
        row.updated_at = Set(now);
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        self.user(row)
    }

    /// Of all users, so for admins only.
    pub async fn list(&self, page: &Page) -> Result<Listing<User>> {
        let keys = Keys { created_at: Column::CreatedAt, id: Column::Id };
        let rows = narrow(Entity::find(), keys, page)?.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(|row| self.user(row))
    }

    fn user(&self, row: Model) -> Result<User> {
        Ok(User {
            id: row.id.into(),
            number: row.number,
            email: row.email,
            password_hash: row.password_hash,
            display_name: row.display_name,
            first_name: row.first_name,
            last_name: row.last_name,
            role: Role::parse(&row.role)?,
            picture_url: row.picture_url,
            disabled: row.disabled_at.is_some(),
            quota_bytes: quota(row.quota_bytes, self.default_quota_bytes),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Enabled,
    Disabled,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::User, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::internal(format!("the row has the unknown role {text}")))
    }
}

/// The hash stays out of logs.
impl std::fmt::Debug for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("User").field("id", &self.id).field("role", &self.role).finish_non_exhaustive()
    }
}

/// [`Error::NotFound`] where there is none.
pub(crate) async fn find(database: &impl ConnectionTrait, id: UserId) -> Result<Model> {
    let row = Entity::find().filter(Column::Id.eq(id.as_uuid())).one(database).await?;
    row.ok_or(Error::NotFound)
}

/// Whether the account exists and is not disabled.
pub(crate) async fn is_enabled(database: &impl ConnectionTrait, id: UserId) -> Result<bool> {
    match find(database, id).await {
        Ok(row) => Ok(row.disabled_at.is_none()),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn quota(own: Option<i64>, default: u64) -> u64 {
    own.and_then(|own| u64::try_from(own).ok()).unwrap_or(default)
}

async fn by_email(database: &impl ConnectionTrait, email: &str) -> Result<Option<Model>> {
    Ok(Entity::find().filter(Column::Email.eq(fold(email))).one(database).await?)
}

fn fold(email: &str) -> String {
    email.trim().to_lowercase()
}

fn split_name(name: &str) -> (&str, &str) {
    name.split_once(' ').unwrap_or((name, ""))
}
