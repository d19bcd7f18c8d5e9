//! Projects: names under which an owner groups files, jobs and voice sessions. Whoever asks for another's is told so:
//! their document shows 403.

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{ProjectId, UserId},
    page::{NumberedPage, narrow_numbered},
    rows::projects::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, ModelTrait,
    QueryFilter, QueryOrder, Set,
};
use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub owner: UserId,
    pub name: String,
    pub description: Option<String>,
    pub created_at: DateTime<Utc>,
}

pub struct NewProject {
    pub owner: UserId,
    /// Need not be the only one of that name.
    pub name: String,
    pub description: Option<String>,
}

pub struct ProjectChange {
    pub name: Edit<String>,
    pub description: Edit<Option<String>>,
}

/// What becomes of one value.
pub enum Edit<T> {
    Keep,
    Replace(T),
}

#[derive(Clone)]
pub struct Projects {
    database: Database,
}

impl Projects {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The owner's project of that name, the oldest of several; made where there is none.
    pub async fn find_or_create(&self, owner: UserId, name: &str) -> Result<Project> {
        let transaction = self.database.begin(owner).await?;
        let project = find_or_create(&transaction, owner, Named { name, now: self.database.now() }).await?;
        transaction.commit().await?;
        Ok(project)
    }

    pub async fn create(&self, new: NewProject) -> Result<Project> {
        let row = ActiveModel {
            id: ActiveValue::NotSet,
            owner_id: Set(new.owner.into()),
            name: Set(new.name),
            description: Set(new.description),
            created_at: Set(self.database.now()),
        };
        Ok(row.insert(self.database.writer()).await?.into())
    }

    /// [`Error::Forbidden`] where it is another's.
    pub async fn find(&self, owner: UserId, id: ProjectId) -> Result<Project> {
        Ok(owned(self.database.reader(), owner, id).await?.into())
    }

    pub async fn list(&self, owner: UserId, page: &NumberedPage) -> Result<Vec<Project>> {
        let select = Entity::find().filter(Column::OwnerId.eq(owner.as_uuid()));
        let rows = narrow_numbered(select, Column::Id, page).all(self.database.reader()).await?;
        Ok(rows.into_iter().map(Project::from).collect())
    }

    /// [`Error::Forbidden`] where it is another's.
    pub async fn change(&self, owner: UserId, id: ProjectId, change: ProjectChange) -> Result<Project> {
        let transaction = self.database.begin(owner).await?;
        let mut row = owned(&transaction, owner, id).await?.into_active_model();
        if let Edit::Replace(name) = change.name {
            row.name = Set(name);
        }
        if let Edit::Replace(description) = change.description {
            row.description = Set(description);
        }
        let row = row.update(&transaction).await?;
        transaction.commit().await?;
        Ok(row.into())
    }

    /// Its voice sessions go with it; its files and jobs stay, without a project.
    /// [`Error::Forbidden`] where it is another's.
    pub async fn delete(&self, owner: UserId, id: ProjectId) -> Result<()> {
        let transaction = self.database.begin(owner).await?;
        owned(&transaction, owner, id).await?.delete(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}

pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    pub(crate) now: DateTime<Utc>,
}

pub(crate) async fn find_or_create(
    database: &impl ConnectionTrait,
    owner: UserId,
    wanted: Named<'_>,
) -> Result<Project> {
    let found = Entity::find()
        .filter(Column::OwnerId.eq(owner.as_uuid()))
        .filter(Column::Name.eq(wanted.name))
        .order_by_asc(Column::Id)
        .one(database)
        .await?;
    if let Some(row) = found {
        return Ok(row.into());
    }
    let row = ActiveModel {
        id: ActiveValue::NotSet,
        owner_id: Set(owner.into()),
        name: Set(wanted.name.to_owned()),
        description: Set(None),
        created_at: Set(wanted.now),
    };
    Ok(row.insert(database).await?.into())
}

/// [`Error::NotFound`] where it is another's, for what names it is no business of theirs.
pub(crate) async fn find(database: &impl ConnectionTrait, owner: UserId, id: ProjectId) -> Result<Project> {
    let row = Entity::find_by_id(id.0).filter(Column::OwnerId.eq(owner.as_uuid())).one(database).await?;
    row.map(Project::from).ok_or(Error::NotFound)
}

/// [`Error::Forbidden`] where it is another's.
pub(crate) async fn owned(database: &impl ConnectionTrait, owner: UserId, id: ProjectId) -> Result<Model> {
    let row = Entity::find_by_id(id.0).one(database).await?.ok_or(Error::NotFound)?;
    if row.owner_id == owner.as_uuid() { Ok(row) } else { Err(Error::Forbidden) }
}

/// The names of those of `ids` that exist.
pub(crate) async fn names(database: &impl ConnectionTrait, ids: Vec<i64>) -> Result<HashMap<i64, String>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = Entity::find().filter(Column::Id.is_in(ids)).all(database).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

impl From<Model> for Project {
    fn from(row: Model) -> Self {
        Self {
            id: ProjectId(row.id),
            owner: row.owner_id.into(),
            name: row.name,
            description: row.description,
            created_at: row.created_at,
        }
    }
}
