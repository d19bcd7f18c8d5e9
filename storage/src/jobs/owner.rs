//! What the owner of a job sees of it and may do with it.

use super::{
    Job, Jobs,
    dispatch::not_looked_up,
    inputs::Named,
    returning,
    submit::{Line, next_turn},
    update, with_parameters,
};
use crate::{
    error::{Conflict, Error, Result},
    files::{self, File},
    ids::{BatchId, FileId, JobId, ProjectId, UserId, VoiceId},
    page::{Keys, Listing, Page, Position, listing, narrow},
    rows::{
        files as file_rows,
        jobs::{Column, Entity, Model},
    },
    voices::{self, VoiceProfile},
    webhooks,
};
use pipeline::{
    parameters::JobKind,
    state::{JobState, JobStatus},
};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, UpdateMany,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use std::iter::once;

/// Positions beyond this are not counted out.
const FARTHEST_POSITION: u64 = 10_000;

#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub kind: Option<JobKind>,
    pub project: Option<ProjectId>,
    pub batch: Option<BatchId>,
}

impl Jobs {
    pub async fn find(&self, owner: UserId, id: JobId) -> Result<Job> {
        owned(self.database.reader(), owner, id).await?.try_into()
    }

    pub async fn list(&self, owner: UserId, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        let owned = Entity::find().filter(Column::OwnerId.eq(owner.as_uuid()));
        self.page(narrowed(owned, filter, page)?, page).await
    }

    /// Of all users, so for admins only.
    pub async fn list_all(&self, filter: &JobFilter, page: &Page) -> Result<Listing<Job>> {
        self.page(narrowed(Entity::find(), filter, page)?, page).await
    }

    /// The files that the job made and that are still there, in the order in which it made them.
    pub async fn outputs(&self, job: &Job) -> Result<Vec<File>> {
        let reader = self.database.reader();
        let rows = file_rows::Entity::find()
            .filter(file_rows::Column::JobId.eq(job.id.as_uuid()))
            .order_by_asc(file_rows::Column::Position)
            .all(reader)
            .await?;
        files::from_rows(reader, rows).await
    }

    /// A file that the job names. Its owner's, whoever asks.
    pub async fn input_file(&self, job: &Job, id: FileId) -> Result<File> {
        files::find(self.database.reader(), job.owner, id).await
    }

    /// A voice profile that the job names. Its owner's, whoever asks.
    pub async fn voice(&self, job: &Job, id: VoiceId) -> Result<VoiceProfile> {
        voices::find(self.database.reader(), job.owner, id).await
    }

    /// How far from the front of its kind the job is: 1 is next. None once it runs.
    /// The order may still change, for others' jobs take turns with it. Nobody is counted beyond 10,000.
    pub async fn queue_position(&self, job: &Job) -> Result<Option<u64>> {
        let reader = self.database.reader();
        let Some(row) = Entity::find_by_id(job.id.as_uuid()).one(reader).await? else { return Ok(None) };
        if !matches!(super::state(&row.state)?, JobState::Waiting | JobState::Queued) {
            return Ok(None);
        }
        let mut ahead = 0;
        for which in before(&row)? {
            ahead += count(reader, which).await?;
        }
        Ok(Some(std::cmp::min(ahead + 1, FARTHEST_POSITION)))
    }

    /// A job that does not run yet is cancelled at once. One that runs is told to stop, and is cancelled when its
    /// worker has stopped or died. [`Conflict::JobFinished`] where it completed or failed; once more is fine.
    pub async fn cancel(&self, owner: UserId, id: JobId) -> Result<Job> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let row = owned_alone(&transaction, owner, id).await?;
        let change = match super::state(&row.state)? {
            JobState::Waiting | JobState::Queued => update()
                .col_expr(Column::State, Expr::value(JobState::Cancelled.as_str()))
                .col_expr(Column::CancelRequestedAt, Expr::value(now))
                .col_expr(Column::FinishedAt, Expr::value(now)),
            JobState::Running if row.cancel_requested_at.is_none() => {
                update().col_expr(Column::CancelRequestedAt, Expr::value(now))
            }
            JobState::Running | JobState::Cancelled => return row.try_into(),
            JobState::Completed | JobState::Failed => return Err(Conflict::JobFinished.into()),
        };
        let row = changed_one(&transaction, change.filter(Column::Id.eq(row.id))).await?;
        if row.state == JobState::Cancelled.as_str() {
            webhooks::tell(&transaction, &row).await?;
        }
        transaction.commit().await?;
        self.nudge(id);
        row.try_into()
    }

    /// Begins a failed job again, with all its attempts. [`Conflict::JobNotFailed`] for any other;
    /// the errors of [`Jobs::submit`] where its files are gone.
    pub async fn retry(&self, owner: UserId, id: JobId) -> Result<Job> {
        let now = self.database.now();
        let transaction = self.database.begin(owner).await?;
        let (failed, parameters) = with_parameters(owned_alone(&transaction, owner, id).await?)?;
        if failed.state != JobState::Failed {
            return Err(Conflict::JobNotFailed.into());
        }
        Named::find(&transaction, owner, once(&parameters)).await?.check_files(&parameters)?;
        let line = Line { kind: failed.kind, priority: failed.priority };
        let change = update()
            .col_expr(Column::State, Expr::value(JobState::Waiting.as_str()))
            .col_expr(Column::Turn, next_turn(line, owner))
            .col_expr(Column::Attempt, Expr::value(0))
            .col_expr(Column::Crashes, Expr::value(0))
            .col_expr(Column::RunAfter, Expr::value(now))
            .col_expr(Column::Progress, Expr::value(0.0))
            .col_expr(Column::Stage, Expr::value(Option::<String>::None))
            .col_expr(Column::Error, Expr::value(Option::<serde_json::Value>::None))
            .col_expr(Column::FinishedAt, Expr::value(Option::<chrono::DateTime<chrono::Utc>>::None))
            .filter(Column::Id.eq(id.as_uuid()));
        let row = changed_one(&transaction, change).await?;
        transaction.commit().await?;
        self.nudge(id);
        row.try_into()
    }

    async fn page(&self, narrowed: Select<Entity>, page: &Page) -> Result<Listing<Job>> {
        let rows = narrowed.all(self.database.reader()).await?;
        let rows = listing(rows, page, |row| Position { created_at: row.created_at, id: row.id });
        rows.try_map(Job::try_from)
    }
}

pub(super) fn narrowed(of: Select<Entity>, filter: &JobFilter, page: &Page) -> Result<Select<Entity>> {
    let mut select = of;
    if let Some(status) = filter.status {
        let states = status.states().iter().map(|state| state.as_str());
        select = select.filter(Column::State.is_in(states));
    }
    if let Some(kind) = filter.kind {
        select = select.filter(Column::Kind.eq(kind.as_str()));
    }
    select = select.filter(asked_for());
    if let Some(project) = filter.project {
        select = select.filter(Column::ProjectId.eq(project.0));
    }
    if let Some(batch) = filter.batch {
        select = select.filter(Column::BatchId.eq(batch.as_uuid()));
    }
    narrow(select, Keys { created_at: Column::CreatedAt, id: Column::Id }, page)
}

async fn owned(database: &impl ConnectionTrait, owner: UserId, id: JobId) -> Result<Model> {
    of_owner(owner, id).one(database).await?.ok_or(Error::NotFound)
}

/// As [`owned`], and nobody else changes the row meanwhile: whoever claims a job does so without the owner's turn.
async fn owned_alone(transaction: &DatabaseTransaction, owner: UserId, id: JobId) -> Result<Model> {
    of_owner(owner, id).lock_exclusive().one(transaction).await?.ok_or(Error::NotFound)
}

fn of_owner(owner: UserId, id: JobId) -> Select<Entity> {
    Entity::find_by_id(id.as_uuid()).filter(Column::OwnerId.eq(owner.as_uuid())).filter(asked_for())
}

/// Neither a job of the engine's own, which nobody sees, nor of a kind that only a newer version knows.
fn asked_for() -> Expr {
    not_looked_up(Column::Kind.is_in(JobKind::ASKED_FOR.map(JobKind::as_str)))
}

async fn changed_one(database: &impl ConnectionTrait, change: UpdateMany<Entity>) -> Result<Model> {
    returning(database, change).await?.pop().ok_or(Error::NotFound)
}

/// The jobs of the same kind that go before this one, in parts that each lie together in the index.
pub(super) fn before(row: &Model) -> Result<Vec<Condition>> {
    let of_kind = |state: JobState| {
        Condition::all().add(Column::State.eq(state.as_str())).add(Column::Kind.eq(row.kind.as_str()))
    };
    Ok(match super::state(&row.state)? {
        JobState::Queued => vec![of_kind(JobState::Queued).add(queued_before(row))],
        JobState::Waiting => vec![
            of_kind(JobState::Queued),
            of_kind(JobState::Waiting).add(Column::Priority.gt(row.priority)),
            of_kind(JobState::Waiting).add(Column::Priority.eq(row.priority)).add(turn_before(row)),
        ],
        JobState::Running | JobState::Completed | JobState::Failed | JobState::Cancelled => vec![],
    })
}

fn queued_before(row: &Model) -> Condition {
    Condition::any()
        .add(Column::QueuedAt.lt(row.queued_at))
        .add(Condition::all().add(Column::QueuedAt.eq(row.queued_at)).add(Column::Id.lt(row.id)))
}

fn turn_before(row: &Model) -> Condition {
    let same_turn = Condition::any()
        .add(Column::CreatedAt.lt(row.created_at))
        .add(Condition::all().add(Column::CreatedAt.eq(row.created_at)).add(Column::Id.lt(row.id)));
    let earlier = Condition::any()
        .add(Column::Turn.lt(row.turn))
        .add(Condition::all().add(Column::Turn.eq(row.turn)).add(same_turn));
    // Implied by the second condition, and what lets the index end at the turn.
    Condition::all().add(Column::Turn.lte(row.turn)).add(earlier)
}

/// How many rows fit, and at most [`FARTHEST_POSITION`].
async fn count(database: &impl ConnectionTrait, which: Condition) -> Result<u64> {
    let Some(row) = database.query_one(&counting(which)).await? else { return Ok(0) };
    let count: i64 = row.try_get_by_index(0)?;
    Ok(count.unsigned_abs())
}

pub(super) fn counting(which: Condition) -> SelectStatement {
    let rows =
        Entity::find().filter(which).limit(FARTHEST_POSITION).select_only().column(Column::Id).into_query();
    Query::select().expr(Expr::val(1).count()).from_subquery(rows, Alias::new("ahead")).to_owned()
}
