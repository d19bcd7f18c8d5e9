//! Jobs after they were accepted: how far they are, and what their owner wants of them.

use std::sync::Arc;

use chrono::Utc;
use futures_util::stream::BoxStream;
use pipeline::state::JobState;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{EventStream, Json};
use poem_openapi::{ApiResponse, OpenApi};
use storage::ids::{BatchId, JobId, ProjectId, UserId};
use storage::jobs::{Job, JobFilter};
use uuid::Uuid;

use crate::app::{App, Links};
use crate::caller::Caller;
use crate::dto::jobs::{JobKind, JobObject, JobStatus, JobView};
use crate::dto::{Listed, page};
use crate::error::Result;
use crate::events::{self, Watched};
use crate::tags::Tag;

pub(crate) struct JobsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Followed {
    /// The changes as they come
    #[oai(status = 200)]
    Changes(EventStream<BoxStream<'static, JobObject>>),
    /// The job has ended, and the client has seen it
    #[oai(status = 204)]
    Ended,
}

#[OpenApi(prefix_path = "/api/v1/process", tag = "Tag::Processing")]
impl JobsApi {
    /// Get the status of a job
    #[oai(path = "/status/:job_id", method = "get", operation_id = "get_job")]
    async fn status(&self, caller: Caller, job_id: Path<Uuid>) -> Result<Json<JobObject>> {
        let job = self.app.services.storage.jobs.find(caller.user, JobId::from(job_id.0)).await?;
        self.show(job, &caller).await
    }

    /// List jobs, newest first
    #[oai(path = "/jobs", method = "get", operation_id = "list_jobs")]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a filter of the query, and the library takes them so"
    )]
    async fn list(
        &self,
        caller: Caller,
        status: Query<Option<JobStatus>>,
        kind: Query<Option<JobKind>>,
        /// Id of a project.
        project: Query<Option<i64>>,
        /// Id of a batch.
        batch: Query<Option<Uuid>>,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<JobObject>>> {
        let filter = JobFilter {
            status: status.0.map(Into::into),
            kind: kind.0.map(Into::into),
            project: project.0.map(ProjectId),
            batch: batch.0.map(BatchId::from),
        };
        let page = page(limit.0, cursor.0);
        let jobs = self.app.services.storage.jobs.list(caller.user, &filter, &page).await?;
        let mut items = vec![];
        for job in jobs.items {
            items.push(view(&self.app, job).await?.show(&caller.links));
        }
        Ok(Json(Listed { items, next_cursor: jobs.next_cursor }))
    }

    /// Stop a job
    ///
    /// One that runs stops within two seconds.
    #[oai(path = "/jobs/:job_id/cancel", method = "post", operation_id = "cancel_job")]
    async fn cancel(&self, caller: Caller, job_id: Path<Uuid>) -> Result<Json<JobObject>> {
        let job = self.app.services.storage.jobs.cancel(caller.user, JobId::from(job_id.0)).await?;
        self.show(job, &caller).await
    }

    /// Run a failed job again
    #[oai(path = "/jobs/:job_id/retry", method = "post", operation_id = "retry_job")]
    async fn retry(&self, caller: Caller, job_id: Path<Uuid>) -> Result<Json<JobObject>> {
        let job = self.app.services.storage.jobs.retry(caller.user, JobId::from(job_id.0)).await?;
        self.show(job, &caller).await
    }

    /// Follow a job
    ///
    /// An event at every change, with the job as its data; the last is that of its end, after which the answer is 204.
    #[oai(path = "/jobs/:job_id/events", method = "get", operation_id = "follow_job")]
    async fn events(
        &self,
        caller: Caller,
        job_id: Path<Uuid>,
        /// The last event that the client has seen.
        #[oai(name = "Last-Event-ID")]
        last: Header<Option<String>>,
    ) -> Result<Followed> {
        let watched = Watched { app: self.app.clone(), caller, job: JobId::from(job_id.0) };
        let seen = last.0.and_then(|id| id.trim().parse().ok());
        Ok(match events::follow(watched, seen).await? {
            Some(changes) => Followed::Changes(changes),
            None => Followed::Ended,
        })
    }
}

impl JobsApi {
    async fn show(&self, job: Job, caller: &Caller) -> Result<Json<JobObject>> {
        Ok(Json(view(&self.app, job).await?.show(&caller.links)))
    }
}

impl JobView {
    pub(crate) fn show(self, links: &Links) -> JobObject {
        JobObject::new(self, links, Utc::now())
    }
}

/// The job of this owner as it is now.
pub(crate) async fn find(app: &App, owner: UserId, job: JobId) -> Result<JobView> {
    view(app, app.services.storage.jobs.find(owner, job).await?).await
}

pub(crate) async fn view(app: &App, job: Job) -> Result<JobView> {
    let jobs = &app.services.storage.jobs;
    let outputs = match job.state {
        JobState::Completed => jobs.outputs(&job).await?,
        JobState::Waiting | JobState::Queued | JobState::Running | JobState::Failed | JobState::Cancelled => {
            vec![]
        }
    };
    let queue_position = match job.state {
        JobState::Waiting | JobState::Queued => jobs.queue_position(&job).await?,
        JobState::Running | JobState::Completed | JobState::Failed | JobState::Cancelled => None,
    };
    Ok(JobView { job, outputs, queue_position })
}
