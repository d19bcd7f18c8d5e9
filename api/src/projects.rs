//! Projects: names under which a user groups files, jobs and voice sessions. Another's answers 403, as its document
//! shows.

use std::sync::Arc;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::ids::ProjectId;
use storage::page::{LARGEST_PAGE, NumberedPage};
use storage::projects::{Edit, NewProject, Project, ProjectChange};

use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::dto::Done;
use crate::dto::projects::{ProjectObject, ProjectPatch, ProjectText};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

pub(crate) struct ProjectsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum CreatedProject {
    /// The project exists now
    #[oai(status = 201)]
    Created(Json<ProjectObject>),
}

#[OpenApi(prefix_path = "/api/v1/projects", tag = "Tag::Projects")]
impl ProjectsApi {
    /// List projects, newest first
    #[oai(path = "/", method = "get", operation_id = "list_projects")]
    async fn list(
        &self,
        caller: Caller,
        /// Most projects to list; 1000 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        /// Only projects with a smaller id: the last of the page before.
        before: Query<Option<i64>>,
    ) -> Result<Json<Vec<ProjectObject>>> {
        let owner = self.number(&caller).await?;
        let page = numbered_page(limit.0, before.0);
        let projects = self.app.services.storage.projects.list(caller.user, &page).await?;
        Ok(Json(projects.into_iter().map(|project| ProjectObject::new(project, owner)).collect()))
    }

    /// Make a project
    #[oai(path = "/", method = "post", operation_id = "create_project")]
    async fn create(&self, caller: Caller, body: Body<ProjectText>) -> Result<CreatedProject> {
        let ProjectText { name, description } = body.value;
        check_name(&name)?;
        let new = NewProject { owner: caller.user, name, description };
        let project = self.app.services.storage.projects.create(new).await?;
        Ok(CreatedProject::Created(self.show(&caller, project).await?))
    }

    /// Get a project
    #[oai(path = "/:project_id", method = "get", operation_id = "get_project")]
    async fn get(&self, caller: Caller, project_id: Path<i64>) -> Result<Json<ProjectObject>> {
        let id = ProjectId(project_id.0);
        let project = self.app.services.storage.projects.find(caller.user, id).await?;
        self.show(&caller, project).await
    }

    /// Replace a project
    ///
    /// Without a description it has none afterwards.
    #[oai(path = "/:project_id", method = "put", operation_id = "replace_project")]
    async fn replace(
        &self,
        caller: Caller,
        project_id: Path<i64>,
        body: Body<ProjectText>,
    ) -> Result<Json<ProjectObject>> {
        let ProjectText { name, description } = body.value;
        check_name(&name)?;
        let change = ProjectChange { name: Edit::Replace(name), description: Edit::Replace(description) };
        self.change(&caller, ProjectId(project_id.0), change).await
    }

    /// Change a project
    ///
    /// What is absent stays as it is.
    #[oai(path = "/:project_id", method = "patch", operation_id = "update_project")]
    async fn update(
        &self,
        caller: Caller,
        project_id: Path<i64>,
        body: Body<ProjectPatch>,
    ) -> Result<Json<ProjectObject>> {
        let ProjectPatch { name, description } = body.value;
        name.as_deref().map_or(Ok(()), check_name)?;
        let change = ProjectChange {
            name: name.map_or(Edit::Keep, Edit::Replace),
            description: description.map_or(Edit::Keep, |text| Edit::Replace(Some(text))),
        };
        self.change(&caller, ProjectId(project_id.0), change).await
    }

    /// Delete a project
    ///
    /// Its voice sessions go with it; its files and jobs stay.
    #[oai(path = "/:project_id", method = "delete", operation_id = "delete_project")]
    async fn delete(&self, caller: Caller, project_id: Path<i64>) -> Result<Done> {
        self.app.services.storage.projects.delete(caller.user, ProjectId(project_id.0)).await?;
        Ok(Done::NoContent)
    }
}

impl ProjectsApi {
    async fn change(
        &self,
        caller: &Caller,
        id: ProjectId,
        change: ProjectChange,
    ) -> Result<Json<ProjectObject>> {
        let project = self.app.services.storage.projects.change(caller.user, id, change).await?;
        self.show(caller, project).await
    }

    async fn show(&self, owner: &Caller, project: Project) -> Result<Json<ProjectObject>> {
        Ok(Json(ProjectObject::new(project, self.number(owner).await?)))
    }

    async fn number(&self, caller: &Caller) -> Result<i64> {
        Ok(self.app.services.storage.users.get(caller.user).await?.number)
    }
}

/// The document's lists are whole; ours end somewhere.
pub(crate) fn numbered_page(limit: Option<u64>, before: Option<i64>) -> NumberedPage {
    NumberedPage { limit: limit.unwrap_or(LARGEST_PAGE), before }
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() { Err(ApiError::invalid("name", "must not be blank")) } else { Ok(()) }
}
