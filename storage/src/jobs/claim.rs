//! Who runs a job: leases.

use super::{Job, Jobs, kind, returning, update, with_parameters};
use crate::{
    error::Result,
    ids::{JobId, UserId},
    objects::ObjectKey,
    rows::jobs::{Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::{
    parameters::{JobKind, Parameters},
    state::JobState,
};
use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, QueryFilter, UpdateMany,
    sea_query::{CaseStatement, Expr},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// How long a worker that says nothing keeps its job.
pub const LEASE: Duration = Duration::from_secs(60);

/// Before a job is pushed again that a worker could not read.
const FOR_OTHERS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Claim {
    pub job: Job,
    pub parameters: Parameters,
    pub lease: Lease,
    /// As long as it is kept, this process does not take the job for one whose worker died.
    pub hold: Hold,
}

/// The leases whose jobs run in this process. They may run out while it lives: a machine that slept, a database that was
/// away. Nobody died then.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<HashSet<Lease>>>);

/// Says that its job runs here; dropped when it ends here, however it does.
#[derive(Debug)]
pub struct Hold {
    held: Held,
    lease: Lease,
}

impl Held {
    fn hold(&self, lease: Lease) -> Hold {
        self.leases().insert(lease);
        Hold { held: self.clone(), lease }
    }

    pub(super) fn jobs(&self) -> Vec<Uuid> {
        self.leases().iter().map(|lease| lease.job.as_uuid()).collect()
    }

    fn leases(&self) -> MutexGuard<'_, HashSet<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.leases().remove(&self.lease);
    }
}

/// The right to run a job, until somebody else gets it: the epoch then is a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub job: JobId,
    /// Of the job.
    pub owner: UserId,
    pub kind: JobKind,
    pub epoch: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    Held,
    /// Held still, but the owner wants the job stopped.
    CancelRequested,
    /// The job is somebody else's or over: stop, and publish nothing.
    Lost,
}

impl Lease {
    /// The one under which the job runs.
    pub(super) fn of(row: &Model) -> Result<Self> {
        let (job, owner) = (row.id.into(), row.owner_id.into());
        Ok(Self { job, owner, kind: kind(&row.kind)?, epoch: row.lease_epoch })
    }

    /// What its holder wanted to write comes too late.
    pub(super) fn refuse(&self) {
        metrics::counter!("voxmill_stale_writes_total", "kind" => self.kind.as_str()).increment(1);
    }

    /// The key of an output of this lease, which no other lease shares.
    pub fn object_key(&self, name: &str) -> Result<ObjectKey> {
        ObjectKey::parse(&format!("{}{name}", self.prefix()))
    }

    /// What the keys of this lease's outputs start with.
    pub fn prefix(&self) -> String {
        format!("jobs/{}/{}/", self.job, self.epoch)
    }
}

impl Jobs {
    /// None where the job is not to be run any more, or somebody else was quicker. One that cannot be read stays in line
    /// for a worker of a newer version, which has made it perhaps.
    pub async fn claim(&self, id: JobId, worker: &str) -> Result<Option<Claim>> {
        let now = self.database.now();
        let change = update()
            .col_expr(Column::State, Expr::value(JobState::Running.as_str()))
            .col_expr(Column::Attempt, Expr::col(Column::Attempt).add(1))
            .col_expr(Column::LeaseEpoch, Expr::col(Column::LeaseEpoch).add(1))
            .col_expr(Column::LeaseOwner, Expr::value(worker))
            .col_expr(Column::LeaseUntil, Expr::value(now + LEASE))
            .col_expr(Column::StartedAt, Expr::value(now))
            .col_expr(Column::QueuedAt, Expr::value(Option::<DateTime<Utc>>::None))
            .col_expr(Column::Progress, Expr::value(0.0))
            .col_expr(Column::Stage, Expr::value(Option::<String>::None))
            .filter(Column::Id.eq(id.as_uuid()))
            .filter(Column::State.eq(JobState::Queued.as_str()))
            .filter(Column::CancelRequestedAt.is_null());
        let Some(row) = returning(self.database.writer(), change).await?.pop() else { return Ok(None) };
        let lease = Lease::of(&row)?;
        let hold = self.held.hold(lease);
        match with_parameters(row) {
            Ok((job, parameters)) => {
                self.changed(id);
                Ok(Some(Claim { job, parameters, lease, hold }))
            }
            Err(unreadable) => {
                self.put_back(&lease, FOR_OTHERS).await?;
                Err(unreadable)
            }
        }
    }

    /// Keeps the lease for another [`LEASE`], and tells how far the job is, 0 to 100. Progress does not go back.
    pub async fn renew(&self, lease: &Lease, progress: f32, stage: &str) -> Result<Renewal> {
        let progress = f64::from(progress.clamp(0.0, 100.0));
        let farther = CaseStatement::new()
            .case(Expr::col(Column::Progress).lt(progress), progress)
            .finally(Expr::col(Column::Progress));
        let change = update()
            .col_expr(Column::LeaseUntil, Expr::value(self.database.now() + LEASE))
            .col_expr(Column::Progress, farther.into())
            .col_expr(Column::Stage, Expr::value(stage));
        let Some(row) = returning(self.database.writer(), held(change, lease)).await?.pop() else {
            lease.refuse();
            return Ok(Renewal::Lost);
        };
        self.changed(lease.job);
        Ok(if row.cancel_requested_at.is_some() { Renewal::CancelRequested } else { Renewal::Held })
    }

    /// What [`Jobs::renew`] would answer, without a write: cheap enough to ask every second.
    pub async fn standing(&self, lease: &Lease) -> Result<Renewal> {
        let row = Entity::find_by_id(lease.job.as_uuid())
            .filter(Column::State.eq(JobState::Running.as_str()))
            .filter(Column::LeaseEpoch.eq(lease.epoch))
            .one(self.database.reader())
            .await?;
        Ok(match row {
            None => Renewal::Lost,
            Some(row) if row.cancel_requested_at.is_some() => Renewal::CancelRequested,
            Some(_) => Renewal::Held,
        })
    }

    /// Ends the lease of every running job, and returns how many there were. For the start of a machine that works
    /// alone: whoever held them is dead.
    pub async fn end_all_leases(&self) -> Result<u64> {
        let ended = update()
            .col_expr(Column::LeaseUntil, Expr::value(self.database.now()))
            .filter(Column::State.eq(JobState::Running.as_str()))
            .exec(self.database.writer())
            .await?;
        Ok(ended.rows_affected)
    }
}

/// Narrows a change to the job of the lease, as long as it is held.
pub(super) fn held(change: UpdateMany<Entity>, lease: &Lease) -> UpdateMany<Entity> {
    change
        .filter(Column::Id.eq(lease.job.as_uuid()))
        .filter(Column::State.eq(JobState::Running.as_str()))
        .filter(Column::LeaseEpoch.eq(lease.epoch))
}
