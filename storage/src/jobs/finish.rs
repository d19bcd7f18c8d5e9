//! The ends of an attempt, told by the holder of the lease. Each answers false where the lease was lost: then nothing
//! happened, and the caller has nothing more to say about the job.

use super::{
    Jobs, Lease,
    claim::held,
    kind, returning, state,
    submit::{Line, first_turn},
    update,
};
use crate::{
    error::{Error, Result},
    files::{FileKind, stored_size},
    garbage,
    ids::FileId,
    objects::ObjectKey,
    rows::{
        files,
        jobs::{Column, Entity, Model},
    },
    webhooks,
};
use chrono::{DateTime, Utc};
use pipeline::{failure::Failure, media_info::MediaInfo, retry::wait, state::JobState};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect, Set,
    UpdateMany,
    sea_query::{Expr, ExprTrait},
};
use serde_json::Value;
use std::time::Duration;

/// What a job made. The objects are published already; this makes them files.
#[derive(Clone, Debug)]
pub struct Completion {
    /// In the order in which the job's owner sees them.
    pub outputs: Vec<NewOutput>,
    pub result: Value,
}

#[derive(Clone, Debug)]
pub struct NewOutput {
    pub filename: String,
    pub content_type: String,
    pub kind: FileKind,
    pub media: Option<MediaInfo>,
    /// Made by [`Lease::object_key`].
    pub object_key: ObjectKey,
    pub size_bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Jobs {
    /// Ends the job and shows its outputs, all at once and only once; true again if this lease did so already.
    /// If the owner has asked to cancel, the job is cancelled instead, the outputs go, and the answer is false.
    /// Outputs count in the owner's quota, but a job that is done does not fail for it.
    pub async fn complete(&self, lease: &Lease, completion: Completion) -> Result<bool> {
        let prefix = lease.prefix();
        let foreign = |output: &NewOutput| !output.object_key.as_str().starts_with(&prefix);
        if completion.outputs.iter().any(foreign) {
            return Err(Error::internal("an output lies outside the keys of its lease. This is a bug."));
        }
        let Completion { outputs, result } = completion;
        let now = self.database.now();
        let transaction = self.database.begin_beside(lease.owner).await?;
        let completed = end(&transaction, lease, End::completed(result, now)).await?;
        if let Some(row) = &completed {
            let expires_at = self.retention.map(|kept| now + kept);
            insert_outputs(&transaction, row, Stamp { now, expires_at }, outputs).await?;
        } else {
            let row = Entity::find_by_id(lease.job.as_uuid()).lock_exclusive().one(&transaction).await?;
            if row.is_some_and(|row| was_completed(&row, lease)) {
                return Ok(true);
            }
            if end(&transaction, lease, End::cancelled(now)).await?.is_none() {
                lease.refuse();
            }
            discard(&transaction, outputs, now).await?;
        }
        transaction.commit().await?;
        // Its end may have to be told.
        self.nudge(lease.job);
        Ok(completed.is_some())
    }

    /// The attempt ended in an error. The job runs again after a while where that may help and attempts are left.
    /// `random`, uniform in 0..1, spreads jobs that failed together.
    pub async fn fail(&self, lease: &Lease, failure: &Failure, random: f64) -> Result<bool> {
        let now = self.database.now();
        let transaction = self.database.begin_beside(lease.owner).await?;
        let Some(row) = find_held(&transaction, lease).await? else { return Ok(false) };
        if row.cancel_requested_at.is_some() {
            end(&transaction, lease, End::cancelled(now)).await?;
        } else if failure.retryable && row.attempt < row.max_attempts {
            let usual = wait(kind(&row.kind)?, row.attempt.unsigned_abs(), random);
            let run_after = now + failure.retry_after.map_or(usual, |wanted| wanted.max(usual));
            let change = wait_again(&row)?.col_expr(Column::RunAfter, Expr::value(run_after));
            held(change, lease).exec(&transaction).await?;
        } else {
            end(&transaction, lease, End::failed(failure, now)?).await?;
        }
        transaction.commit().await?;
        // The dispatcher has to learn when to look again.
        self.nudge(lease.job);
        Ok(true)
    }

    /// The job was stopped as its owner asked.
    pub async fn cancelled(&self, lease: &Lease) -> Result<bool> {
        let now = self.database.now();
        let transaction = self.database.begin_beside(lease.owner).await?;
        if end(&transaction, lease, End::cancelled(now)).await?.is_none() {
            lease.refuse();
            return Ok(false);
        }
        transaction.commit().await?;
        self.nudge(lease.job);
        Ok(true)
    }

    /// The worker has to go before the job is done. Another may take it at once, and the attempt does not count.
    pub async fn hand_back(&self, lease: &Lease) -> Result<bool> {
        self.put_back(lease, Duration::ZERO).await
    }

    /// As [`Jobs::hand_back`], but nobody takes it before `pause` is over.
    pub(super) async fn put_back(&self, lease: &Lease, pause: Duration) -> Result<bool> {
        let now = self.database.now();
        let transaction = self.database.begin_beside(lease.owner).await?;
        let Some(row) = find_held(&transaction, lease).await? else { return Ok(false) };
        if row.cancel_requested_at.is_some() {
            end(&transaction, lease, End::cancelled(now)).await?;
        } else {
            let change = wait_again(&row)?
                .col_expr(Column::RunAfter, Expr::value(now + pause))
                .col_expr(Column::Attempt, Expr::value(row.attempt - 1));
            held(change, lease).exec(&transaction).await?;
        }
        transaction.commit().await?;
        self.nudge(lease.job);
        Ok(true)
    }
}

/// How a job that runs ends.
pub(super) struct End {
    state: JobState,
    error: Option<Value>,
    result: Option<Value>,
    now: DateTime<Utc>,
}

impl End {
    pub(super) fn cancelled(now: DateTime<Utc>) -> Self {
        Self { state: JobState::Cancelled, error: None, result: None, now }
    }

    pub(super) fn failed(failure: &Failure, now: DateTime<Utc>) -> Result<Self> {
        let error = Some(serde_json::to_value(failure)?);
        Ok(Self { state: JobState::Failed, error, result: None, now })
    }

    fn completed(result: Value, now: DateTime<Utc>) -> Self {
        Self { state: JobState::Completed, error: None, result: Some(result), now }
    }
}

/// The one way in which a job that runs ends; its row then. None where the lease is lost, and where a job that its owner
/// cancels was to be completed.
pub(super) async fn end(database: &impl ConnectionTrait, lease: &Lease, end: End) -> Result<Option<Model>> {
    let mut change = ended(end.state, end.now).col_expr(Column::Error, Expr::value(end.error));
    if let Some(result) = end.result {
        change = change
            .col_expr(Column::Result, Expr::value(result))
            .col_expr(Column::Progress, Expr::value(100.0))
            .filter(Column::CancelRequestedAt.is_null());
    }
    let Some(row) = returning(database, held(change, lease)).await?.pop() else { return Ok(None) };
    webhooks::tell(database, &row).await?;
    Ok(Some(row))
}

/// A change that puts the job back in line, in front. It keeps its progress and stage until the next claim.
pub(super) fn wait_again(row: &Model) -> Result<UpdateMany<Entity>> {
    let line = Line { kind: kind(&row.kind)?, priority: row.priority };
    Ok(update()
        .col_expr(Column::State, Expr::value(JobState::Waiting.as_str()))
        .col_expr(Column::Turn, first_turn(line).if_null(Expr::col(Column::Turn)))
        .col_expr(Column::LeaseOwner, Expr::value(Option::<String>::None))
        .col_expr(Column::LeaseUntil, Expr::value(Option::<DateTime<Utc>>::None)))
}

fn ended(state: JobState, now: DateTime<Utc>) -> UpdateMany<Entity> {
    update()
        .col_expr(Column::State, Expr::value(state.as_str()))
        .col_expr(Column::LeaseOwner, Expr::value(Option::<String>::None))
        .col_expr(Column::LeaseUntil, Expr::value(Option::<DateTime<Utc>>::None))
        .col_expr(Column::FinishedAt, Expr::value(now))
}

fn is_held(row: &Model, lease: &Lease) -> Result<bool> {
    Ok(row.lease_epoch == lease.epoch && state(&row.state)? == JobState::Running)
}

/// Whether it was the lease that completed the job.
fn was_completed(row: &Model, lease: &Lease) -> bool {
    row.lease_epoch == lease.epoch && row.state == JobState::Completed.as_str()
}

/// The row of the lease's job, as long as the lease is held. Its holder, who is told otherwise, is counted as too late.
pub(crate) async fn find_held(transaction: &DatabaseTransaction, lease: &Lease) -> Result<Option<Model>> {
    let row = Entity::find_by_id(lease.job.as_uuid()).lock_exclusive().one(transaction).await?;
    Ok(match row {
        Some(row) if is_held(&row, lease)? => Some(row),
        Some(_) | None => {
            lease.refuse();
            None
        }
    })
}

/// The objects carry the epoch of a lease that publishes nothing any more, so nobody else's are among them.
async fn discard(
    transaction: &DatabaseTransaction,
    outputs: Vec<NewOutput>,
    now: DateTime<Utc>,
) -> Result<()> {
    garbage::add(transaction, outputs.iter().map(|output| output.object_key.to_string()), now).await
}

struct Stamp {
    now: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

async fn insert_outputs(
    transaction: &DatabaseTransaction,
    job: &Model,
    stamp: Stamp,
    outputs: Vec<NewOutput>,
) -> Result<()> {
    let mut rows = vec![];
    for (position, output) in (0..).zip(outputs) {
        rows.push(files::ActiveModel {
            id: Set(FileId::new().into()),
            owner_id: Set(job.owner_id),
            project_id: Set(job.project_id),
            filename: Set(output.filename),
            content_type: Set(output.content_type),
            kind: Set(output.kind.as_str().to_owned()),
            size_bytes: Set(stored_size(output.size_bytes)?),
            sha256: Set(output.sha256),
            media: Set(output.media.map(serde_json::to_value).transpose()?),
            object_key: Set(output.object_key.to_string()),
            job_id: Set(Some(job.id)),
            position: Set(position),
            created_at: Set(stamp.now),
            expires_at: Set(stamp.expires_at),
        });
    }
    if !rows.is_empty() {
        files::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    Ok(())
}
