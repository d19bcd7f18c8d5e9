//! A job's beginning: one transaction from the check of its inputs to its row on the disk.

use super::{Job, Jobs, inputs};
use crate::{
    error::{Conflict, Error, Result},
    files::{Room, check_room},
    ids::{JobId, ProjectId, UserId},
    projects,
    rows::{idempotency_keys, job_inputs, jobs},
    webhooks::Callback,
};
use chrono::{DateTime, Utc};
use pipeline::{
    parameters::{JobKind, Parameters},
    retry::max_attempts,
    state::JobState,
    trace::TraceParent,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, Set,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// How long an idempotency key answers with the job it made.
pub(crate) const KEY_LIFETIME: chrono::Duration = chrono::Duration::hours(24);

pub struct NewJob {
    pub owner: UserId,
    /// Valid by [`Parameters::validate`].
    pub parameters: Parameters,
    /// Higher comes first; 0 is usual.
    pub priority: i32,
    pub project: Option<ProjectId>,
    pub request_id: Option<String>,
    /// What of a trace it continues.
    pub trace_parent: Option<TraceParent>,
    pub idempotency: Option<Idempotency>,
    /// Ids that a voice may have without being a profile of the owner.
    pub builtin_voices: Vec<Uuid>,
    /// Who is told of its end.
    pub callback: Option<Callback>,
}

pub struct Idempotency {
    pub key: String,
    /// The same for the same request, and for no other.
    pub fingerprint: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Submitted<T = Job> {
    New(T),
    /// What the key made, as it is now.
    Same(T),
}

impl Jobs {
    /// Once this returns the job is on the disk.
    ///
    /// [`Error::MissingInput`] and [`Error::Input`] name the field; [`Conflict::VoiceTooLong`],
    /// [`Conflict::IdempotencyKeyReused`].
    pub async fn submit(&self, new: NewJob) -> Result<Submitted> {
        let now = self.database.now();
        let transaction = self.database.begin(new.owner).await?;
        if let Some(idempotency) = &new.idempotency
            && let Some(job) = same(&transaction, new.owner, idempotency, now).await?
        {
            return Ok(Submitted::Same(job));
        }
        inputs::check(&transaction, new.owner, &new.parameters, &new.builtin_voices).await?;
        check_project_and_room(&transaction, (new.owner, new.project), self.default_quota_bytes).await?;
        let row = insert(&transaction, &new, now).await?;
        let job = Job::try_from(row)?;
        insert_inputs(&transaction, job.id, &job.parameters).await?;
        if let Some(idempotency) = new.idempotency {
            keep_key(&transaction, (new.owner, idempotency), (job.id, now)).await?;
        }
        transaction.commit().await?;
        self.nudge(job.id);
        Ok(Submitted::New(job))
    }
}

/// [`Error::MissingInput`] where the owner has no such project, [`Error::QuotaExceeded`] without any room.
pub(super) async fn check_project_and_room(
    database: &impl ConnectionTrait,
    (owner, project): (UserId, Option<ProjectId>),
    default_quota_bytes: u64,
) -> Result<()> {
    if let Some(project) = project {
        projects::find(database, owner, project).await.map_err(|error| match error {
            Error::NotFound => Error::MissingInput { field: "project_id".to_owned() },
            other => other,
        })?;
    }
    // What a job makes is not refused when it is done, so it must not begin without any room.
    check_room(database, &Room { owner, size_bytes: 1 }, default_quota_bytes).await
}

/// Lets the key answer with this job, or with the batch whose first it is.
pub(super) async fn keep_key(
    database: &impl ConnectionTrait,
    (owner, idempotency): (UserId, Idempotency),
    (job, now): (JobId, DateTime<Utc>),
) -> Result<()> {
    let key = idempotency_keys::ActiveModel {
        owner_id: Set(owner.into()),
        key: Set(idempotency.key),
        fingerprint: Set(idempotency.fingerprint),
        job_id: Set(job.into()),
        created_at: Set(now),
    };
    idempotency_keys::Entity::insert(key).exec_without_returning(database).await?;
    Ok(())
}

/// The jobs that one owner has waiting take turns with those of others: each gets the turn after the owner's last,
/// and a newcomer that of the first in line. In the order of turns, nobody waits for the end of another's batch.
pub(super) async fn next_turn(database: &impl ConnectionTrait, line: Line, owner: UserId) -> Result<i64> {
    let first = first_turn(database, line).await?.unwrap_or(0);
    let own_last: Option<i64> = turns_of(line, owner).into_tuple().one(database).await?;
    Ok(own_last.map_or(first, |last| first.max(last + 1)))
}

/// The turn of the first in line, which a job gets that comes back.
pub(super) async fn first_turn(database: &impl ConnectionTrait, line: Line) -> Result<Option<i64>> {
    Ok(turns(line).into_tuple().one(database).await?)
}

/// The first turn in line.
pub(super) fn turns(line: Line) -> Select<jobs::Entity> {
    waiting(line).order_by_asc(jobs::Column::Turn).limit(1).select_only().column(jobs::Column::Turn)
}

/// The owner's last turn in line.
pub(super) fn turns_of(line: Line, owner: UserId) -> Select<jobs::Entity> {
    waiting(line)
        .filter(jobs::Column::OwnerId.eq(owner.as_uuid()))
        .order_by_desc(jobs::Column::Turn)
        .limit(1)
        .select_only()
        .column(jobs::Column::Turn)
}

/// Jobs that compete with each other.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) kind: JobKind,
    pub(super) priority: i32,
}

/// Notes which files the job needs, so that they cannot be deleted meanwhile.
pub(super) async fn insert_inputs(
    database: &impl ConnectionTrait,
    job: JobId,
    parameters: &Parameters,
) -> Result<()> {
    insert_needs(database, needs(job, parameters)).await
}

/// As [`insert_inputs`], of many jobs at once.
pub(super) async fn insert_inputs_of(database: &impl ConnectionTrait, jobs: &[Job]) -> Result<()> {
    let needs = jobs.iter().flat_map(|job| needs(job.id, &job.parameters)).collect();
    insert_needs(database, needs).await
}

fn needs(job: JobId, parameters: &Parameters) -> BTreeSet<(JobId, Uuid)> {
    parameters.inputs().into_iter().map(|input| (job, input.file_id)).collect()
}

async fn insert_needs(database: &impl ConnectionTrait, needs: BTreeSet<(JobId, Uuid)>) -> Result<()> {
    if needs.is_empty() {
        return Ok(());
    }
    let rows = needs
        .into_iter()
        .map(|(job, file)| job_inputs::ActiveModel { job_id: Set(job.into()), file_id: Set(file) });
    job_inputs::Entity::insert_many(rows).exec_without_returning(database).await?;
    Ok(())
}

fn waiting(line: Line) -> Select<jobs::Entity> {
    jobs::Entity::find()
        .filter(jobs::Column::State.eq(JobState::Waiting.as_str()))
        .filter(jobs::Column::Kind.eq(line.kind.as_str()))
        .filter(jobs::Column::Priority.eq(line.priority))
}

/// The job that the key made, or the first of its batch, if the key still counts.
pub(super) async fn same(
    database: &impl ConnectionTrait,
    owner: UserId,
    idempotency: &Idempotency,
    now: DateTime<Utc>,
) -> Result<Option<Job>> {
    let id = (owner.as_uuid(), idempotency.key.clone());
    let Some(key) = idempotency_keys::Entity::find_by_id(id).one(database).await? else { return Ok(None) };
    let job = jobs::Entity::find_by_id(key.job_id).one(database).await?;
    match job {
        Some(job) if key.created_at + KEY_LIFETIME > now => {
            if key.fingerprint != idempotency.fingerprint {
                return Err(Conflict::IdempotencyKeyReused.into());
            }
            Job::try_from(job).map(Some)
        }
        Some(_) | None => {
            key.delete(database).await?;
            Ok(None)
        }
    }
}

/// Puts the row in line, whatever it says: see [`Jobs::submit`] for what is to be looked at before.
pub(crate) async fn insert(
    database: &impl ConnectionTrait,
    new: &NewJob,
    now: DateTime<Utc>,
) -> Result<jobs::Model> {
    let line = Line { kind: new.parameters.kind(), priority: new.priority };
    let row = row(new, next_turn(database, line, new.owner).await?, now)?;
    let active = jobs::ActiveModel::from(row.clone()).reset_all();
    jobs::Entity::insert(active).exec_without_returning(database).await?;
    Ok(row)
}

/// A job that waits for its turn.
pub(super) fn row(new: &NewJob, turn: i64, now: DateTime<Utc>) -> Result<jobs::Model> {
    let kind = new.parameters.kind();
    Ok(jobs::Model {
        id: JobId::new().into(),
        owner_id: new.owner.into(),
        kind: kind.as_str().to_owned(),
        priority: new.priority,
        state: JobState::Waiting.as_str().to_owned(),
        parameters: serde_json::to_value(&new.parameters)?,
        turn,
        attempt: 0,
        crashes: 0,
        max_attempts: max_attempts(kind).cast_signed(),
        run_after: now,
        queued_at: None,
        lease_owner: None,
        lease_until: None,
        lease_epoch: 0,
        cancel_requested_at: None,
        progress: 0.0,
        stage: None,
        version: 1,
        result: None,
        error: None,
        project_id: new.project.map(|project| project.0),
        parent_id: None,
        batch_id: None,
        request_id: new.request_id.clone(),
        created_at: now,
        started_at: None,
        finished_at: None,
        callback: new.callback.as_ref().map(serde_json::to_value).transpose()?,
        trace_parent: new.trace_parent.map(|parent| parent.to_string()),
    })
}
