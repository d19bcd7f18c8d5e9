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

/// Jobs looked at in one go.
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
        let mut left = self.held.jobs();
        loop {
            let now = self.database.now();
            let rows = expired(now, &left).limit(BATCH).all(self.database.reader()).await?;
            if rows.is_empty() {
                return Ok(reaped);
            }
            for row in rows {
                let job = JobId::from(row.id);
                match self.reap_one(row, now).await {
                    Ok(Some(JobState::Waiting)) => reaped.returned.push(job),
                    Ok(Some(JobState::Cancelled)) => reaped.cancelled.push(job),
                    Ok(Some(
                        JobState::Failed | JobState::Queued | JobState::Running | JobState::Completed,
                    )) => reaped.poisoned.push(job),
                    // Its holder renewed it, or another reaper was quicker.
                    Ok(None) => continue,
                    // The others must not wait for it; the next time it is looked at again.
                    Err(error) => {
                        let error: &dyn std::error::Error = &error;
                        tracing::error!(error, job.id = %job, "could not take back a job whose worker died");
                        left.push(job.as_uuid());
                        continue;
                    }
                }
                self.nudge(job);
            }
        }
    }

    /// The state in which the job is now, unless its lease holds after all.
    async fn reap_one(&self, seen: Model, now: DateTime<Utc>) -> Result<Option<JobState>> {
        let transaction = self.database.begin_beside(seen.owner_id).await?;
        let still =
            expired(now, &[]).filter(Column::Id.eq(seen.id)).filter(Column::LeaseEpoch.eq(seen.lease_epoch));
        let Some(row) = still.lock_exclusive().one(&transaction).await? else { return Ok(None) };
        let end = take_back(&transaction, &row, now).await?;
        transaction.commit().await?;
        Ok(Some(end))
    }
}

fn expired(now: DateTime<Utc>, but: &[Uuid]) -> sea_orm::Select<Entity> {
    Entity::find()
        .filter(Column::State.eq(JobState::Running.as_str()))
        .filter(Column::LeaseUntil.lte(now))
        .filter(Column::Id.is_not_in(but.iter().copied()))
        // A newer version may know more kinds; their jobs are its to take back.
        .filter(Column::Kind.is_in(JobKind::ALL.map(JobKind::as_str)))
        .order_by_asc(Column::Id)
}

/// The state in which the job is now.
async fn take_back(transaction: &DatabaseTransaction, row: &Model, now: DateTime<Utc>) -> Result<JobState> {
    let lease = Lease::of(row)?;
    let crashes = row.crashes + 1;
    if row.cancel_requested_at.is_some() {
        end(transaction, &lease, End::cancelled(now)).await?;
        return Ok(JobState::Cancelled);
    }
    if crashes.unsigned_abs() >= MAX_CRASHES {
        let counted = super::update().col_expr(Column::Crashes, Expr::value(crashes));
        held(counted, &lease).exec(transaction).await?;
        end(transaction, &lease, End::failed(&Failure::poison(), now)?).await?;
        return Ok(JobState::Failed);
    }
    let change = wait_again(row)?
        .col_expr(Column::Crashes, Expr::value(crashes))
        .col_expr(Column::RunAfter, Expr::value(now));
    held(change, &lease).exec(transaction).await?;
    Ok(JobState::Waiting)
}
