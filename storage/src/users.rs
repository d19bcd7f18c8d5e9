//! Accounts.

use crate::{
    database::{Database, Turn},
    error::{Conflict, Error, Result},
    ids::{LoginId, UserId},
    logins::revoke as end_logins,
    page::{Keys, Listing, Page, Position, listing, narrow},
    password_resets,
    rows::{
        logins,
        users::{ActiveModel, Column, Entity, Model},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, QueryFilter, Set, SqlErr, sea_query::Expr,
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

/// One name in its three spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    display: String,
    first: String,
    last: String,
}

pub struct NewUser {
    pub email: String,
    pub password_hash: String,
    pub name: Name,
}

/// What of an account is to be another; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    pub email: Option<String>,
    pub name: Option<Name>,
}

pub struct NewPassword {
    /// Of the password that its owner has shown to know.
    pub old_hash: String,
    pub new_hash: String,
    /// The login that goes on.
    pub keep: Option<LoginId>,
}

#[derive(Clone)]
pub struct Users {
    pub(crate) database: Database,
    default_quota_bytes: u64,
}

impl Users {
    pub(crate) fn new(database: Database, default_quota_bytes: u64) -> Self {
        Self { database, default_quota_bytes }
    }

    /// [`Conflict::EmailTaken`] where the address has an account, in whatever case.
    pub async fn create(&self, new: NewUser) -> Result<User> {
        let now = self.database.now();
        let row = ActiveModel {
            number: ActiveValue::NotSet,
            id: Set(UserId::new().into()),
            email: Set(fold(&new.email)),
            password_hash: Set(new.password_hash),
            first_name: Set(new.name.first),
            last_name: Set(new.name.last),
            display_name: Set(new.name.display),
            role: Set(Role::User.as_str().to_owned()),
            picture_url: Set(None),
            disabled_at: Set(None),
            quota_bytes: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let row = row.insert(self.database.writer()).await.map_err(email_taken)?;
        self.user(row)
    }

    pub async fn by_email(&self, email: &str) -> Result<Option<User>> {
        let row = by_email(self.database.reader(), email).await?;
        row.map(|row| self.user(row)).transpose()
    }

    pub async fn get(&self, id: UserId) -> Result<User> {
        self.user(find(self.database.reader(), id).await?)
    }

    /// [`Conflict::EmailTaken`] where another account has the address.
    pub async fn change(&self, id: UserId, change: UserChange) -> Result<User> {
        let transaction = self.database.begin(id).await?;
        let mut row = find(&transaction, id).await?.into_active_model();
        if let Some(email) = change.email {
            row.email = Set(fold(&email));
        }
        if let Some(name) = change.name {
            row.first_name = Set(name.first);
            row.last_name = Set(name.last);
            row.display_name = Set(name.display);
        }
        row.updated_at = Set(self.database.now());
        let row = row.update(&transaction).await.map_err(email_taken)?;
        transaction.commit().await?;
        self.user(row)
    }

    /// Ends every other login at once, and voids what would set yet another password. False, and nothing is changed, where the password is another by now.
    pub async fn change_password(&self, id: UserId, new: NewPassword) -> Result<bool> {
        let now = self.database.now();
        let transaction = self.database.begin(id).await?;
        let changed = Entity::update_many()
            .col_expr(Column::PasswordHash, Expr::value(new.new_hash))
            .col_expr(Column::UpdatedAt, Expr::value(now))
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::PasswordHash.eq(new.old_hash))
            .exec(&transaction)
            .await?;
        if changed.rows_affected == 0 {
            return Ok(false);
        }
        let mut others = logins::Column::UserId.eq(id.as_uuid());
        if let Some(keep) = new.keep {
            others = others.and(logins::Column::Id.ne(keep.as_uuid()));
        }
        end_logins(&transaction, others, now).await?;
        password_resets::discard(&transaction, id).await?;
        transaction.commit().await?;
        Ok(true)
    }

    pub async fn set_role(&self, email: &str, role: Role) -> Result<User> {
        let transaction = self.database.begin(Turn::named(email)).await?;
        let mut row = by_email(&transaction, email).await?.ok_or(Error::NotFound)?.into_active_model();
        row.role = Set(role.as_str().to_owned());
        row.updated_at = Set(self.database.now());
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        self.user(row)
    }

    /// A disabled user's logins and keys are as if they did not exist, until it is enabled again. A quota above
    /// `i64::MAX` is [`Error::Input`].
    pub async fn administer(&self, id: UserId, change: Administered) -> Result<User> {
        let transaction = self.database.begin(id).await?;
        let now = self.database.now();
        let mut row = find(&transaction, id).await?.into_active_model();
        match change.access {
            Some(Access::Enabled) => row.disabled_at = Set(None),
            Some(Access::Disabled) => row.disabled_at = Set(Some(now)),
            None => {}
        }
        if let Some(bytes) = change.quota_bytes {
            let bytes = i64::try_from(bytes).map_err(|_| Error::input("quota_bytes", "is too large"))?;
            row.quota_bytes = Set(Some(bytes));
        }
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

impl Name {
    /// Splits at its first space into first and last name.
    pub fn full(name: &str) -> Self {
        let (first, last) = name.split_once(' ').unwrap_or((name, ""));
        Self { display: name.to_owned(), first: first.to_owned(), last: last.to_owned() }
    }

    /// Joined, they are the display name.
    pub fn parts(first: &str, last: &str) -> Self {
        let display = format!("{first} {last}").trim().to_owned();
        Self { display, first: first.to_owned(), last: last.to_owned() }
    }
}

/// What an administrator makes of an account; what is none stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Administered {
    pub access: Option<Access>,
    pub quota_bytes: Option<u64>,
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

/// The address is the only thing that must be unique and comes from outside.
fn email_taken(cause: DbErr) -> Error {
    match cause.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Conflict::EmailTaken.into(),
        Some(_) | None => cause.into(),
    }
}
