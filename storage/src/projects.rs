//! Projects: names under which an owner groups files and jobs.

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{ProjectId, UserId},
    rows::projects::{ActiveModel, Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, Set,
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
        let transaction = self.database.begin().await?;
        let project = find_or_create(&transaction, owner, Named { name, now: self.database.now() }).await?;
        transaction.commit().await?;
        Ok(project)
    }

    pub async fn find(&self, owner: UserId, id: ProjectId) -> Result<Project> {
        find(self.database.reader(), owner, id).await
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

pub(crate) async fn find(database: &impl ConnectionTrait, owner: UserId, id: ProjectId) -> Result<Project> {
    let row = Entity::find_by_id(id.0).filter(Column::OwnerId.eq(owner.as_uuid())).one(database).await?;
    row.map(Project::from).ok_or(Error::NotFound)
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
