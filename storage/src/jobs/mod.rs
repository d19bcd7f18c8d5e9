//! Jobs: what was asked for, and the engine that gets it done once. The row is the truth; queues carry only wake-ups.
//!
//! Every change of a job is one statement or one short transaction that also says which state it came from, so of two
//! who change the same job one comes too late and is told. Whoever runs a job holds a lease with an epoch; when the
//! epoch has moved on, nothing that the former holder says counts.

mod batch;
mod claim;
mod dispatch;
mod finish;
mod inputs;
mod owner;
#[cfg(test)]
mod plans;
mod questions;
mod reap;
mod submit;

pub use batch::{Batch, BatchJob, BatchProgress, LARGEST_BATCH, NewBatch};
use claim::Held;
pub use claim::{Claim, LEASE, Lease, Renewal};
pub use dispatch::{DELIVERIES_AT_ONCE, JobCount};
pub(crate) use finish::find_held;
pub use finish::{Completion, NewOutput};
pub use owner::JobFilter;
pub use questions::NewQuestion;
pub(crate) use questions::{erase as erase_questions, sweep as sweep_questions};
pub use reap::Reaped;
pub use submit::{Idempotency, NewJob, Submitted};
pub(crate) use submit::{KEY_LIFETIME, insert};

use crate::{
    database::Database,
    error::{Error, Result},
    events::Events,
    ids::{BatchId, JobId, ProjectId, UserId},
    rows::jobs::{Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::{
    failure::Failure,
    parameters::{JobKind, Parameters},
    state::JobState,
    trace::TraceParent,
};
use sea_orm::{
    ConnectionTrait, EntityTrait, ExprTrait, FromQueryResult, QueryTrait, UpdateMany, sea_query::Expr,
};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub owner: UserId,
    pub kind: JobKind,
    pub state: JobState,
    /// Higher comes first.
    pub priority: i32,
    /// How often it was begun; 1 during the first attempt.
    pub attempt: u32,
    /// How often the worker died under it.
    pub crashes: u32,
    /// 0 to 100; never falls within an attempt.
    pub progress: f32,
    pub stage: Option<String>,
    /// Grows with every change of the job.
    pub version: i64,
    /// Of a completed job.
    pub result: Option<Value>,
    /// Of a failed job.
    pub error: Option<Failure>,
    pub run_after: DateTime<Utc>,
    pub cancel_requested: bool,
    pub project: Option<ProjectId>,
    pub parent: Option<JobId>,
    /// With which others it was submitted.
    pub batch: Option<BatchId>,
    /// The request that submitted it, for the log.
    pub request_id: Option<String>,
    /// What of a trace it continues.
    pub trace_parent: Option<TraceParent>,
    pub created_at: DateTime<Utc>,
    /// Of the latest attempt.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(Clone)]
pub struct Jobs {
    database: Database,
    events: Events,
    held: Held,
    retention: Option<Duration>,
    default_quota_bytes: u64,
}

/// What users may have, and for how long.
pub(crate) struct Terms {
    pub(crate) retention: Option<Duration>,
    pub(crate) default_quota_bytes: u64,
}

impl Jobs {
    pub(crate) fn new(database: Database, events: Events, terms: Terms) -> Self {
        let Terms { retention, default_quota_bytes } = terms;
        Self { database, events, held: Held::default(), retention, default_quota_bytes }
    }

    /// Wakes the dispatcher when a job became due. Those of processes that are not heard it finds by looking.
    pub fn due(&self) -> &Notify {
        self.events.due()
    }

    fn changed(&self, job: JobId) {
        self.events.notify(job);
    }

    /// The job changed, and the dispatcher has to look again.
    pub(crate) fn nudge(&self, job: JobId) {
        self.events.notify(job);
        self.events.notify_due();
    }
}

/// An update of jobs, which like every other counts up their version.
pub(crate) fn update() -> UpdateMany<Entity> {
    Entity::update_many().col_expr(Column::Version, Expr::col(Column::Version).add(1))
}

/// Runs the update and returns the rows as they are now.
async fn returning(database: &impl ConnectionTrait, update: UpdateMany<Entity>) -> Result<Vec<Model>> {
    let mut statement = update.into_query();
    statement.returning_all();
    let rows = database.query_all(&statement).await?;
    Ok(rows.iter().map(|row| Model::from_query_result(row, "")).collect::<std::result::Result<_, _>>()?)
}

impl TryFrom<Model> for Job {
    type Error = Error;

    fn try_from(row: Model) -> Result<Self> {
        let trace_parent = trace_parent(&row);
        Ok(Self {
            id: row.id.into(),
            owner: row.owner_id.into(),
            kind: kind(&row.kind)?,
            state: state(&row.state)?,
            priority: row.priority,
            attempt: row.attempt.unsigned_abs(),
            crashes: row.crashes.unsigned_abs(),
            progress: row.progress as f32,
            stage: row.stage,
            version: row.version,
            result: row.result,
            error: row.error.map(serde_json::from_value).transpose()?,
            run_after: row.run_after,
            cancel_requested: row.cancel_requested_at.is_some(),
            project: row.project_id.map(ProjectId),
            parent: row.parent_id.map(JobId::from),
            batch: row.batch_id.map(BatchId::from),
            request_id: row.request_id,
            trace_parent,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// An error where only a newer version knows the parameters; the job alone can be shown all the same.
fn with_parameters(row: Model) -> Result<(Job, Parameters)> {
    let parameters = serde_json::from_value(row.parameters.clone())?;
    Ok((row.try_into()?, parameters))
}

/// One that cannot be read is none: it says nothing about the job.
pub(crate) fn trace_parent(row: &Model) -> Option<TraceParent> {
    row.trace_parent.as_deref()?.parse().ok()
}

fn kind(text: &str) -> Result<JobKind> {
    JobKind::parse(text).ok_or_else(|| Error::internal(format!("the row has the unknown kind {text}")))
}

pub(crate) fn state(text: &str) -> Result<JobState> {
    JobState::parse(text).ok_or_else(|| Error::internal(format!("the row has the unknown state {text}")))
}
