//! Jobs that are submitted together: all of them or none.

use super::{
    Idempotency, Job, Jobs, NewJob, Submitted,
    inputs::Named,
    submit::{Line, ask_next_turn, check_project_and_room, inputs, insert_inputs, keep_key, row, same},
};
use crate::{
    error::{Error, Result},
    ids::{BatchId, UserId},
    rows::jobs::{ActiveModel, Column, Entity, Model},
    webhooks::Callback,
};
use chrono::{DateTime, Utc};
use pipeline::{
    parameters::{JobKind, Parameters},
    state::{JobState, JobStatus},
    trace::TraceParent,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Select,
    sea_query::{Expr, ExprTrait},
};
use std::collections::HashMap;
use uuid::Uuid;

/// Most jobs of one batch.
pub const LARGEST_BATCH: usize = 1_000;

/// Rows of one statement, so that its values are no more than any database takes.
const ROWS: usize = 500;

pub struct NewBatch {
    pub owner: UserId,
    /// 1 to [`LARGEST_BATCH`].
    pub jobs: Vec<BatchJob>,
    pub request_id: Option<String>,
    /// The span of that request.
    pub trace_parent: Option<TraceParent>,
    /// Of the batch as a whole.
    pub idempotency: Option<Idempotency>,
    /// Ids that a voice may have without being a profile of the owner.
    pub builtin_voices: Vec<Uuid>,
}

/// What jobs of a batch have of their own.
pub struct BatchJob {
    /// Valid by [`Parameters::validate`].
    pub parameters: Parameters,
    /// Who is told of its end.
    pub callback: Option<Callback>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub id: BatchId,
    /// In the order in which they were sent.
    pub jobs: Vec<Job>,
}

/// How far the jobs of a batch are, of those that are still kept.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchProgress {
    pub id: BatchId,
    pub counts: HashMap<JobStatus, u64>,
    pub total: u64,
    /// The mean of its jobs, 0 to 100; those that ended count in full.
    pub progress: f32,
    pub created_at: DateTime<Utc>,
    /// Once all have ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Jobs {
    /// Once this returns all the jobs are on the disk; where it fails, none is. They take turns with others' jobs.
    ///
    /// [`Error::OfJob`] with what [`Jobs::submit`] says of a job, and its other errors.
    pub async fn submit_batch(&self, new: NewBatch) -> Result<Submitted<Batch>> {
        let NewBatch { owner, jobs, request_id, trace_parent, idempotency, builtin_voices } = new;
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        if let Some(idempotency) = &idempotency
            && let Some(first) = same(&transaction, owner, idempotency, now).await?
        {
            let id = first.batch.ok_or_else(|| Error::internal("the key of a batch names a job of none"))?;
            return Ok(Submitted::Same(Batch { id, jobs: jobs_of(&transaction, owner, id).await? }));
        }
        let named = Named::find(&transaction, owner, jobs.iter().map(|job| &job.parameters)).await?;
        for (index, job) in jobs.iter().enumerate() {
            named.check(&job.parameters, &builtin_voices).map_err(|error| error.of_job(index))?;
        }
        check_project_and_room(&transaction, (owner, None), self.default_quota_bytes).await?;
        let id = BatchId::new();
        let mut turns: HashMap<JobKind, i64> = HashMap::new();
        let (mut rows, mut needed) = (vec![], vec![]);
        for BatchJob { parameters, callback } in jobs {
            let kind = parameters.kind();
            // None of the rows is there yet, so each counts up from the one before it.
            let turn = match turns.get(&kind) {
                Some(last) => last + 1,
                None => ask_next_turn(&transaction, Line { kind, priority: 0 }, owner).await?,
            };
            turns.insert(kind, turn);
            let new = NewJob {
                owner,
                parameters,
                priority: 0,
                project: None,
                request_id: request_id.clone(),
                trace_parent,
                idempotency: None,
                builtin_voices: vec![],
                callback,
            };
            let row = Model { batch_id: Some(id.into()), ..row(&new, turn, now)? };
            needed.push(inputs(row.id.into(), &new.parameters));
            rows.push(row);
        }
        insert_all(&transaction, &rows).await?;
        for chunk in needed.chunks(ROWS) {
            insert_inputs(&transaction, chunk.iter().flatten().copied().collect()).await?;
        }
        let jobs = rows.into_iter().map(Job::try_from).collect::<Result<Vec<_>>>()?;
        let first = jobs.first().ok_or_else(|| Error::input("jobs", "must not be empty"))?.id;
        if let Some(idempotency) = idempotency {
            keep_key(&transaction, (owner, idempotency), (first, now)).await?;
        }
        transaction.commit().await?;
        self.nudge(first);
        Ok(Submitted::New(Batch { id, jobs }))
    }

    pub async fn batch(&self, owner: UserId, id: BatchId) -> Result<BatchProgress> {
        let groups = of_batch(owner, id)
            .select_only()
            .column(Column::State)
            .column_as(Expr::col(Column::Id).count(), "count")
            .column_as(Expr::col(Column::Progress).sum(), "progress")
            .column_as(Expr::col(Column::CreatedAt).min(), "created_at")
            .column_as(Expr::col(Column::FinishedAt).max(), "finished_at")
            .group_by(Column::State)
            .into_model::<Group>()
            .all(self.database.reader())
            .await?;
        summed(id, groups)
    }
}

#[derive(Debug, FromQueryResult)]
struct Group {
    state: String,
    count: i64,
    progress: f64,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

fn summed(id: BatchId, groups: Vec<Group>) -> Result<BatchProgress> {
    let created_at = groups.iter().map(|group| group.created_at).min().ok_or(Error::NotFound)?;
    let (mut counts, mut total, mut progress, mut all_ended) = (HashMap::new(), 0, 0.0, true);
    for group in &groups {
        let (state, count) = (super::state(&group.state)?, group.count.unsigned_abs());
        *counts.entry(state.status()).or_default() += count;
        total += count;
        all_ended &= state.is_terminal();
        progress += match state {
            JobState::Waiting | JobState::Queued => 0.0,
            JobState::Running => group.progress,
            JobState::Completed | JobState::Failed | JobState::Cancelled => 100.0 * count as f64,
        };
    }
    let finished_at = groups.iter().filter_map(|group| group.finished_at).max().filter(|_| all_ended);
    let progress = (progress / total as f64) as f32;
    Ok(BatchProgress { id, counts, total, progress, created_at, finished_at })
}

pub(super) fn of_batch(owner: UserId, id: BatchId) -> Select<Entity> {
    Entity::find().filter(Column::BatchId.eq(id.as_uuid())).filter(Column::OwnerId.eq(owner.as_uuid()))
}

/// Ids count up in the order of the jobs.
async fn jobs_of(database: &impl ConnectionTrait, owner: UserId, id: BatchId) -> Result<Vec<Job>> {
    let rows = of_batch(owner, id).order_by_asc(Column::Id).all(database).await?;
    rows.into_iter().map(Job::try_from).collect()
}

async fn insert_all(database: &impl ConnectionTrait, rows: &[Model]) -> Result<()> {
    for chunk in rows.chunks(ROWS) {
        let rows = chunk.iter().map(|row| ActiveModel::from(row.clone()).reset_all());
        Entity::insert_many(rows).exec_without_returning(database).await?;
    }
    Ok(())
}
