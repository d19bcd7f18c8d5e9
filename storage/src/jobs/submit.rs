//! A job's beginning: one transaction from the check of its inputs to its row on the disk.

use super::{Job, Jobs, inputs::Named};
use crate::{
    error::{Conflict, Error, Result},
    ids::{JobId, ProjectId, UserId},
    projects,
    quota::{Room, check_room},
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
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, Iterable, ModelTrait, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Select, Set,
    sea_query::{Expr, ExprTrait, Func, Query},
};
use std::{collections::BTreeSet, iter::once};
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
        let transaction = match new.idempotency {
            Some(_) => self.database.begin(new.owner).await?,
            // What the check reads nobody changes beside it, and jobs that get the same turn go by their age.
            None => self.database.begin_beside(new.owner).await?,
        };
        if let Some(idempotency) = &new.idempotency
            && let Some(job) = same(&transaction, new.owner, idempotency, now).await?
        {
            return Ok(Submitted::Same(job));
        }
        let named = Named::find(&transaction, new.owner, once(&new.parameters)).await?;
        named.check(&new.parameters, &new.builtin_voices)?;
        check_project_and_room(&transaction, (new.owner, new.project), self.default_quota_bytes).await?;
        let job = insert(&transaction, &new, now).await?;
        insert_inputs(&transaction, inputs(job.id, &new.parameters)).await?;
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
pub(super) fn next_turn(line: Line, owner: UserId) -> Expr {
    let own_last = Expr::SubQuery(None, Box::new(turns_of(line, owner).into_query().into()));
    // Of a null and a number, the greatest is the number in Postgres and null in SQLite.
    let later = Func::greatest([first_turn(line), own_last.add(1)]);
    Func::coalesce([later.into(), first_turn(line), Expr::val(0)]).into()
}

/// As [`next_turn`], for a row that is not written at once.
pub(super) async fn ask_next_turn(database: &impl ConnectionTrait, line: Line, owner: UserId) -> Result<i64> {
    let row = database.query_one(Query::select().expr(next_turn(line, owner))).await?;
    row.map_or(Ok(0), |row| Ok(row.try_get_by_index(0)?))
}

/// The turn of the first in line, which a job gets that comes back; null where nobody waits.
pub(super) fn first_turn(line: Line) -> Expr {
    Expr::SubQuery(None, Box::new(turns(line).into_query().into()))
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

/// Which files a job needs.
pub(super) fn inputs(job: JobId, parameters: &Parameters) -> BTreeSet<(JobId, Uuid)> {
    parameters.inputs().into_iter().map(|input| (job, input.file_id)).collect()
}

/// Notes which files jobs need, so that they cannot be deleted meanwhile.
pub(super) async fn insert_inputs(
    database: &impl ConnectionTrait,
    inputs: BTreeSet<(JobId, Uuid)>,
) -> Result<()> {
    if inputs.is_empty() {
        return Ok(());
    }
    let rows = inputs
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
pub(crate) async fn insert(database: &impl ConnectionTrait, new: &NewJob, now: DateTime<Utc>) -> Result<Job> {
    // The database finds its turn, which nobody is told.
    let row = row(new, 0, now)?;
    let line = Line { kind: new.parameters.kind(), priority: new.priority };
    let active = jobs::ActiveModel::from(row.clone());
    let mut insert = Query::insert();
    insert.into_table(jobs::Entity).columns(jobs::Column::iter());
    let values = jobs::Column::iter().filter_map(|column| match column {
        jobs::Column::Turn => Some(next_turn(line, new.owner)),
        column => active.get(column).into_value().map(Expr::Value),
    });
    insert.values(values).map_err(Error::internal)?;
    database.execute(&insert).await?;
    Job::try_from(row)
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
