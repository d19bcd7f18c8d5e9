//! Voice sessions: stretches of recording inside a project, started and then finished. Several of one project may run
//! at once. They belong to whom their project belongs to, and like it tell others so.

use crate::{
    database::Database,
    error::{Error, Result},
    ids::{ProjectId, UserId, VoiceSessionId},
    page::{NumberedPage, narrow_numbered},
    projects,
    rows::{
        projects as project_rows,
        voice_sessions::{ActiveModel, Column, Entity, Model},
    },
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait, Set, sea_query::Expr,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceSession {
    pub id: VoiceSessionId,
    pub project: ProjectId,
    pub started_at: DateTime<Utc>,
    /// None while it runs.
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Clone)]
pub struct VoiceSessions {
    database: Database,
}

impl VoiceSessions {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// [`Error::Forbidden`] where the project is another's.
    pub async fn start(&self, owner: UserId, project: ProjectId) -> Result<VoiceSession> {
        let transaction = self.database.begin(owner).await?;
        let project = projects::owned(&transaction, owner, project).await?;
        let row = ActiveModel {
            id: ActiveValue::NotSet,
            project_id: Set(project.id),
            started_at: Set(self.database.now()),
            finished_at: Set(None),
        };
        let row = row.insert(&transaction).await?;
        transaction.commit().await?;
        Ok(row.into())
    }

    /// [`Error::Forbidden`] where the session is another's, [`Error::Input`] where it is finished already.
    pub async fn finish(&self, owner: UserId, id: VoiceSessionId) -> Result<VoiceSession> {
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        // A clock that was put back makes no session end before it began.
        let finished_at = self.database.now().max(row.started_at);
        let finished = Entity::update_many()
            .col_expr(Column::FinishedAt, Expr::value(finished_at))
            .filter(Column::Id.eq(id.0))
            .filter(Column::FinishedAt.is_null())
            .exec(&transaction)
            .await?;
        if finished.rows_affected == 0 {
            return Err(Error::input("session_id", "names a session that is finished already"));
        }
        transaction.commit().await?;
        Ok(Model { finished_at: Some(finished_at), ..row }.into())
    }

    /// Those of the project. [`Error::Forbidden`] where it is another's.
    pub async fn list(
        &self,
        owner: UserId,
        project: ProjectId,
        page: &NumberedPage,
    ) -> Result<Vec<VoiceSession>> {
        let reader = self.database.reader();
        let project = projects::owned(reader, owner, project).await?;
        let select = Entity::find().filter(Column::ProjectId.eq(project.id));
        let rows = narrow_numbered(select, Column::Id, page).all(reader).await?;
        Ok(rows.into_iter().map(VoiceSession::from).collect())
    }

    /// Those of all projects that `owner` owns.
    pub async fn list_all(&self, owner: UserId, page: &NumberedPage) -> Result<Vec<VoiceSession>> {
        let projects = project_rows::Entity::find()
            .select_only()
            .column(project_rows::Column::Id)
            .filter(project_rows::Column::OwnerId.eq(owner.as_uuid()))
            .into_query();
        let select = Entity::find().filter(Column::ProjectId.in_subquery(projects));
        let rows = narrow_numbered(select, Column::Id, page).all(self.database.reader()).await?;
        Ok(rows.into_iter().map(VoiceSession::from).collect())
    }
}

impl VoiceSession {
    /// Whole seconds, rounded down. None while it runs.
    pub fn duration_seconds(&self) -> Option<i64> {
        self.finished_at.map(|finished_at| (finished_at - self.started_at).num_seconds())
    }
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: VoiceSessionId) -> Result<Model> {
    let row = Entity::find_by_id(id.0).one(database).await?.ok_or(Error::NotFound)?;
    projects::owned(database, owner, ProjectId(row.project_id)).await?;
    Ok(row)
}

impl From<Model> for VoiceSession {
    fn from(row: Model) -> Self {
        Self {
            id: VoiceSessionId(row.id),
            project: ProjectId(row.project_id),
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}
