//! Jobs whose worker died: nobody renewed their lease.

use super::{
    Jobs, Lease,
    claim::held,
    finish::{End, end, wait_again},
};
use crate::{
    error::Result,
    ids::JobId,
    rows::jobs::{Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::{failure::Failure, parameters::JobKind, retry::MAX_CRASHES, state::JobState};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};
use uuid::Uuid;

/// Jobs taken back in one transaction.
const BATCH: u64 = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Due again at once.
    pub returned: Vec<JobId>,
    /// Failed, because too many workers died under them.
    pub poisoned: Vec<JobId>,
    /// Their owners had asked for it.
    pub cancelled: Vec<JobId>,
}

impl Jobs {
    /// Takes the jobs back whose lease has run out, but for those that run in this process.
    pub async fn reap(&self) -> Result<Reaped> {
        let mut reaped = Reaped::default();
        let alive = self.held.jobs();
        loop {
            let now = self.database.now();
            // Looked for outside the transaction, so that finding none, as usual, takes nobody's turn to write.
            if expired(now, &alive).one(self.database.reader()).await?.is_none() {
                return Ok(reaped);
            }
            let transaction = self.database.begin().await?;
            let rows = expired(now, &alive).limit(BATCH).all(&transaction).await?;
            let mut ends = vec![];
            for row in rows {
                ends.push((JobId::from(row.id), take_back(&transaction, &row, now).await?));
            }
            transaction.commit().await?;
            for (job, end) in ends {
                match end {
                    JobState::Waiting => reaped.returned.push(job),
                    JobState::Cancelled => reaped.cancelled.push(job),
                    JobState::Failed | JobState::Queued | JobState::Running | JobState::Completed => {
                        reaped.poisoned.push(job);
                    }
                }
                self.nudge(job);
            }
        }
    }
}

fn expired(now: DateTime<Utc>, alive: &[Uuid]) -> sea_orm::Select<Entity> {
    Entity::find()
        .filter(Column::State.eq(JobState::Running.as_str()))
        .filter(Column::LeaseUntil.lte(now))
        .filter(Column::Id.is_not_in(alive.iter().copied()))
        // A newer version may know more kinds; their jobs are its to take back.
        .filter(Column::Kind.is_in(JobKind::ALL.map(JobKind::as_str)))
        .order_by_asc(Column::Id)
}

/// The state in which the job is now.
async fn take_back(transaction: &DatabaseTransaction, row: &Model, now: DateTime<Utc>) -> Result<JobState> {
    let lease = Lease { job: row.id.into(), epoch: row.lease_epoch };
    let crashes = row.crashes + 1;
    if row.cancel_requested_at.is_some() {
        end(transaction, &lease, End { state: JobState::Cancelled, error: None, now }).await?;
        return Ok(JobState::Cancelled);
    }
    if crashes.unsigned_abs() >= MAX_CRASHES {
        let counted = super::update().col_expr(Column::Crashes, Expr::value(crashes));
        held(counted, &lease).exec(transaction).await?;
        let error = Some(serde_json::to_value(Failure::poison())?);
        end(transaction, &lease, End { state: JobState::Failed, error, now }).await?;
        return Ok(JobState::Failed);
    }
    let change = wait_again(transaction, row)
        .await?
        .col_expr(Column::Crashes, Expr::value(crashes))
        .col_expr(Column::RunAfter, Expr::value(now));
    held(change, &lease).exec(transaction).await?;
    Ok(JobState::Waiting)
}
