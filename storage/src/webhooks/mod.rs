//! Webhooks: whoever submits a job may name a URL that is told of its end. The end of the job makes the delivery, and a
//! job of an internal kind, its run, brings it there: under a lease, with attempts, as every other job.

mod ends;
mod keys;
mod rows;

pub(crate) use ends::tell;
pub use keys::{OVERLAP, SigningKey, SigningKeys};

use crate::{
    database::Database,
    error::{Error, Result},
    garbage,
    ids::{DeliveryId, JobId, UserId},
    jobs::{Jobs, Lease, find_held, update},
    page::{Keys, Listing, Page, Position, listing, narrow},
    rows::jobs,
};
use chrono::{DateTime, Utc};
use ends::{Run, begin};
use pipeline::state::JobState;
use rows::{attempts, deliveries};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Set,
    sea_query::Expr,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

/// Attempts of one delivery that are remembered, the latest.
pub const ATTEMPTS_KEPT: i32 = 50;

/// Who is told of the end of a job. Kept in its row as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    pub url: String,
    /// What the id of a job is put behind to make the URL of its status.
    pub status_urls: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEvent {
    Completed,
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// To be tried, or tried again.
    Pending,
    Delivered,
    /// Given up.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same however often it is sent.
    pub id: DeliveryId,
    pub owner: UserId,
    /// The job that ended.
    pub job: JobId,
    pub event: JobEvent,
    pub url: String,
    /// JSON, byte for byte as it is signed.
    pub body: String,
    pub status: DeliveryStatus,
    /// Of one that is pending; in the past where it is due or under way.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// The latest [`ATTEMPTS_KEPT`], in order.
    pub attempts: Vec<Attempt>,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub started_at: DateTime<Utc>,
    /// To the millisecond.
    pub duration: Duration,
    pub outcome: AttemptOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// With this status of HTTP.
    Answered(u16),
    /// Why there was no answer: a stable code.
    Unanswered(String),
}

#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub job: Option<JobId>,
    pub status: Option<DeliveryStatus>,
}

#[derive(Clone)]
pub struct Webhooks {
    database: Database,
    jobs: Jobs,
}

impl Webhooks {
    pub(crate) fn new(database: Database, jobs: Jobs) -> Self {
        Self { database, jobs }
    }

    pub async fn find(&self, owner: UserId, id: DeliveryId) -> Result<Delivery> {
        let row = owned(self.database.reader(), owner, id).await?;
        let mut shown = self.show(vec![row]).await?;
        shown.pop().ok_or(Error::NotFound)
    }

    pub async fn list(
        &self,
        owner: UserId,
        filter: &DeliveryFilter,
        page: &Page,
    ) -> Result<Listing<Delivery>> {
        let select = deliveries::Entity::find()
            .filter(deliveries::Column::OwnerId.eq(owner.as_uuid()))
            .apply_if(filter.job, |select, job| select.filter(deliveries::Column::JobId.eq(job.as_uuid())))
            .apply_if(filter.status, |select, status| {
                select.filter(deliveries::Column::Status.eq(status.as_str()))
            });
        let keys = Keys { created_at: deliveries::Column::CreatedAt, id: deliveries::Column::Id };
        let rows = narrow(select, keys, page)?.all(self.database.reader()).await?;
        let Listing { items, next_cursor } =
            listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        Ok(Listing { items: self.show(items).await?, next_cursor })
    }

    /// Sends it once more, and now: a new run begins, or the one that waits for its time does not wait any longer.
    pub async fn redeliver(&self, owner: UserId, id: DeliveryId) -> Result<Delivery> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let row = owned(&transaction, owner, id).await?;
        let mut run = JobId::from(row.run_id);
        match state_of(&transaction, run).await? {
            Some(JobState::Waiting) => {
                update()
                    .col_expr(jobs::Column::RunAfter, Expr::value(now))
                    .filter(jobs::Column::Id.eq(run.as_uuid()))
                    .filter(jobs::Column::State.eq(JobState::Waiting.as_str()))
                    .exec(&transaction)
                    .await?;
            }
            // It is being sent.
            Some(JobState::Queued | JobState::Running) => {}
            Some(JobState::Completed | JobState::Failed | JobState::Cancelled) | None => {
                let again = Run { delivery: id, owner, request_id: None, trace_parent: None };
                run = begin(&transaction, again, now).await?;
                deliveries::Entity::update_many()
                    .col_expr(deliveries::Column::RunId, Expr::value(run.as_uuid()))
                    .col_expr(deliveries::Column::Status, Expr::value(DeliveryStatus::Pending.as_str()))
                    .filter(deliveries::Column::Id.eq(id.as_uuid()))
                    .exec(&transaction)
                    .await?;
            }
        }
        transaction.commit().await?;
        self.jobs.nudge(run);
        self.find(owner, id).await
    }

    /// Writes down what came of an attempt, told by the holder of the run's lease. False where the lease was lost.
    pub async fn record(&self, lease: &Lease, delivery: &Delivery, attempt: Attempt) -> Result<bool> {
        let transaction = self.database.begin(lease.owner).await?;
        if find_held(&transaction, lease).await?.is_none() {
            return Ok(false);
        }
        let id = delivery.id.as_uuid();
        let last: Option<i32> = attempts::Entity::find()
            .filter(attempts::Column::DeliveryId.eq(id))
            .order_by_desc(attempts::Column::Number)
            .limit(1)
            .select_only()
            .column(attempts::Column::Number)
            .into_tuple()
            .one(&transaction)
            .await?;
        let number = last.unwrap_or(0) + 1;
        let (status_code, error) = match attempt.outcome {
            AttemptOutcome::Answered(status) => (Some(i32::from(status)), None),
            AttemptOutcome::Unanswered(code) => (None, Some(code)),
        };
        let row = attempts::ActiveModel {
            delivery_id: Set(id),
            number: Set(number),
            started_at: Set(attempt.started_at),
            duration_ms: Set(i64::try_from(attempt.duration.as_millis()).unwrap_or(i64::MAX)),
            status_code: Set(status_code),
            error: Set(error),
        };
        attempts::Entity::insert(row).exec_without_returning(&transaction).await?;
        attempts::Entity::delete_many()
            .filter(attempts::Column::DeliveryId.eq(id))
            .filter(attempts::Column::Number.lte(number - ATTEMPTS_KEPT))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The deliveries with what became of them.
    async fn show(&self, rows: Vec<deliveries::Model>) -> Result<Vec<Delivery>> {
        let reader = self.database.reader();
        let tried = attempts::Entity::find()
            .filter(attempts::Column::DeliveryId.is_in(rows.iter().map(|row| row.id)))
            .order_by_asc(attempts::Column::DeliveryId)
            .order_by_asc(attempts::Column::Number)
            .all(reader)
            .await?;
        let mut attempts: HashMap<Uuid, Vec<Attempt>> = HashMap::new();
        for row in tried {
            attempts.entry(row.delivery_id).or_default().push(Attempt::try_from(row)?);
        }
        let due: Vec<(Uuid, DateTime<Utc>)> = jobs::Entity::find()
            .filter(jobs::Column::Id.is_in(rows.iter().map(|row| row.run_id)))
            .select_only()
            .column(jobs::Column::Id)
            .column(jobs::Column::RunAfter)
            .into_tuple()
            .all(reader)
            .await?;
        let due: HashMap<Uuid, DateTime<Utc>> = due.into_iter().collect();
        rows.into_iter()
            .map(|row| {
                let status = DeliveryStatus::stored(&row.status)?;
                let due = due.get(&row.run_id).copied();
                Ok(Delivery {
                    id: row.id.into(),
                    owner: row.owner_id.into(),
                    job: row.job_id.into(),
                    event: JobEvent::stored(&row.event)?,
                    url: row.url,
                    body: row.body,
                    status,
                    next_attempt_at: due.filter(|_| status == DeliveryStatus::Pending),
                    attempts: attempts.remove(&row.id).unwrap_or_default(),
                    created_at: row.created_at,
                })
            })
            .collect()
    }
}

impl JobEvent {
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "job.completed",
            Self::Failed => "job.failed",
            Self::Cancelled => "job.cancelled",
        }
    }

    /// None where a job in this state goes on.
    fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Completed => Some(Self::Completed),
            JobState::Failed => Some(Self::Failed),
            JobState::Cancelled => Some(Self::Cancelled),
            JobState::Waiting | JobState::Queued | JobState::Running => None,
        }
    }

    fn stored(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|event| event.as_str() == text);
        known.ok_or_else(|| Error::internal(format!("the row has the unknown event {text}")))
    }
}

impl DeliveryStatus {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    fn stored(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == text);
        known.ok_or_else(|| Error::internal(format!("the row has the unknown status {text}")))
    }
}

impl TryFrom<attempts::Model> for Attempt {
    type Error = Error;

    fn try_from(row: attempts::Model) -> Result<Self> {
        let outcome = match (row.status_code, row.error) {
            (Some(status), _) => AttemptOutcome::Answered(u16::try_from(status).map_err(Error::internal)?),
            (None, error) => AttemptOutcome::Unanswered(error.unwrap_or_default()),
        };
        let duration = Duration::from_millis(row.duration_ms.unsigned_abs());
        Ok(Self { started_at: row.started_at, duration, outcome })
    }
}

/// Removes the deliveries from before `before`, but for those that are still tried.
pub(crate) async fn sweep(database: &Database, before: DateTime<Utc>) -> Result<()> {
    loop {
        let old: Vec<Uuid> = deliveries::Entity::find()
            .filter(deliveries::Column::CreatedAt.lt(before))
            .filter(deliveries::Column::Status.ne(DeliveryStatus::Pending.as_str()))
            .limit(garbage::BATCH)
            .select_only()
            .column(deliveries::Column::Id)
            .into_tuple()
            .all(database.reader())
            .await?;
        if old.is_empty() {
            return Ok(());
        }
        let old = deliveries::Entity::delete_many().filter(deliveries::Column::Id.is_in(old));
        // One may be tried again since.
        old.filter(deliveries::Column::Status.ne(DeliveryStatus::Pending.as_str()))
            .exec(database.writer())
            .await?;
    }
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: DeliveryId) -> Result<deliveries::Model> {
    let row = deliveries::Entity::find_by_id(id.as_uuid())
        .filter(deliveries::Column::OwnerId.eq(owner.as_uuid()))
        .one(database)
        .await?;
    row.ok_or(Error::NotFound)
}

/// None where the job is gone.
async fn state_of(database: &impl ConnectionTrait, job: JobId) -> Result<Option<JobState>> {
    let state: Option<String> = jobs::Entity::find_by_id(job.as_uuid())
        .select_only()
        .column(jobs::Column::State)
        .into_tuple()
        .one(database)
        .await?;
    state.map(|text| crate::jobs::state(&text)).transpose()
}
