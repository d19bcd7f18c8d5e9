//! Which jobs come next, and what the dispatcher and the metrics ask besides.

use super::{Jobs, returning, state, update};
use crate::{
    error::Result,
    ids::JobId,
    rows::jobs::{Column, Entity},
};
use chrono::{DateTime, Utc};
use pipeline::{parameters::JobKind, state::JobState};
use sea_orm::{
    ColumnTrait, DerivePartialModel, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select, UpdateMany,
    sea_query::{Expr, LockBehavior, LockType, SelectStatement},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::Duration,
};
use uuid::Uuid;

/// How many waiting jobs one pick looks at, the first by priority and turn. Each owner's first job is among the first
/// turns, so it takes more owners than this to keep one of them out of sight; they are seen in the next picks, by age.
const WINDOW: usize = 256;
/// How many wake-ups are taken for lost in one go. The queue is shallow, so there are hardly ever more.
const LOST_AT_ONCE: u64 = 500;
/// How many deliveries of one owner are queued and running.
pub const DELIVERIES_AT_ONCE: i64 = 4;

/// How many jobs of one kind are in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCount {
    pub kind: JobKind,
    pub state: JobState,
    pub count: u64,
    /// Since the oldest of them was submitted.
    pub oldest_seconds: u64,
}

impl Jobs {
    /// Marks up to `at_most` due jobs of the kind as queued and returns them in the order in which to push them: by
    /// priority, then fewest queued and running jobs of the owner, then age. Of deliveries, no owner has more than
    /// [`DELIVERIES_AT_ONCE`] among them and under way: receivers that do not answer hold up nobody else's.
    /// Looks at no more than a few hundred rows, however many wait, unless all of these are of owners with their share.
    pub async fn dispatch(&self, kind: JobKind, at_most: usize) -> Result<Vec<JobId>> {
        if at_most == 0 {
            return Ok(vec![]);
        }
        let now = self.database.now();
        let due = candidates(kind, now, at_most);
        let (seen, mut picked) = self.look(kind, due.clone(), at_most).await?;
        if let Some(share) = share(kind).filter(|_| picked.is_empty() && seen >= WINDOW) {
            let of_others = due.filter(Column::OwnerId.not_in_subquery(busy(kind, share).into_query()));
            (_, picked) = self.look(kind, of_others, at_most).await?;
        }
        if picked.is_empty() {
            return Ok(vec![]);
        }
        let rows = returning(self.database.writer(), mark(&picked, now)).await?;
        let queued: HashSet<Uuid> = rows.into_iter().map(|row| row.id).collect();
        let dispatched: Vec<JobId> =
            picked.into_iter().filter(|id| queued.contains(id)).map(JobId::from).collect();
        dispatched.iter().for_each(|job| self.changed(*job));
        Ok(dispatched)
    }

    /// How many jobs were pushed and not yet claimed, of the kinds of which there are some.
    pub async fn queued(&self) -> Result<HashMap<JobKind, u64>> {
        let counted: Vec<(String, i64)> = queued().into_tuple().all(self.database.reader()).await?;
        let known = counted
            .into_iter()
            .filter_map(|(name, count)| Some((JobKind::parse(&name)?, count.unsigned_abs())));
        Ok(known.collect())
    }

    /// The queued jobs in the order in which they were pushed: what a queue that forgot everything must hold again.
    pub async fn all_queued(&self) -> Result<Vec<(JobKind, JobId)>> {
        let rows: Vec<(String, Uuid)> = Entity::find()
            .filter(Column::State.eq(JobState::Queued.as_str()))
            .order_by_asc(Column::QueuedAt)
            .order_by_asc(Column::Id)
            .select_only()
            .column(Column::Kind)
            .column(Column::Id)
            .into_tuple()
            .all(self.database.reader())
            .await?;
        Ok(known(rows))
    }

    /// The jobs that were queued longer than `older_than` ago and that nobody claimed. Their push may have been lost,
    /// so they are to be pushed again, and count as queued from now.
    pub async fn requeue_lost(&self, older_than: Duration) -> Result<Vec<(JobKind, JobId)>> {
        let now = self.database.now();
        // Nothing that the owner sees changes, so the version stays.
        let lost = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::State.eq(JobState::Queued.as_str()))
            .filter(Column::QueuedAt.lt(now - older_than))
            .order_by_asc(Column::QueuedAt)
            .limit(LOST_AT_ONCE)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let change = Entity::update_many()
            .col_expr(Column::QueuedAt, Expr::value(now))
            .filter(Column::Id.in_subquery(lost.into_query()));
        let rows = returning(self.database.writer(), change).await?;
        Ok(known(rows.into_iter().map(|row| (row.kind, row.id)).collect()))
    }

    /// The jobs that are not finished, counted. Takes time in proportion to them.
    pub async fn counts(&self) -> Result<Vec<JobCount>> {
        let now = self.database.now();
        let rows: Vec<(String, String, i64, Option<DateTime<Utc>>)> =
            unfinished().into_tuple().all(self.database.reader()).await?;
        let counted =
            |(kind_name, state_name, count, oldest): (String, String, i64, Option<DateTime<Utc>>)| {
                // Those of a newer version count where it runs.
                let kind = JobKind::parse(&kind_name)?;
                let age = oldest.and_then(|oldest| (now - oldest).to_std().ok()).unwrap_or_default();
                let state = state(&state_name);
                Some(state.map(|state| JobCount {
                    kind,
                    state,
                    count: count.unsigned_abs(),
                    oldest_seconds: age.as_secs(),
                }))
            };
        rows.into_iter().filter_map(counted).collect()
    }

    /// How many jobs are due, as far as is looked, and which of them are next.
    async fn look(&self, kind: JobKind, due: Select<Entity>, at_most: usize) -> Result<(usize, Vec<Uuid>)> {
        let reader = self.database.reader();
        let candidates: Vec<Candidate> = due.into_partial_model().all(reader).await?;
        let seen = candidates.len();
        if seen == 0 {
            return Ok((0, vec![]));
        }
        let owners = candidates.iter().map(|candidate| candidate.owner_id).collect();
        let counted: Vec<(Uuid, i64)> = active(kind, owners).into_tuple().all(reader).await?;
        let most = share(kind).unwrap_or(i64::MAX);
        let active = Active { by_owner: counted.into_iter().collect(), most };
        Ok((seen, pick(candidates, active, at_most)))
    }
}

/// The jobs of the kinds that this version knows; those of a newer one are left to it.
fn known(rows: Vec<(String, Uuid)>) -> Vec<(JobKind, JobId)> {
    rows.into_iter().filter_map(|(name, id)| Some((JobKind::parse(&name)?, id.into()))).collect()
}

/// The due jobs that a pick looks at.
pub(super) fn candidates(kind: JobKind, now: DateTime<Utc>, at_most: usize) -> Select<Entity> {
    Entity::find()
        .filter(Column::State.eq(JobState::Waiting.as_str()))
        .filter(Column::Kind.eq(kind.as_str()))
        // Else SQLite would rather find all that are due by their time and sort them than walk in the order of
        // dispatch and stop.
        .filter(not_looked_up(Column::RunAfter.lte(now)))
        .order_by_desc(Column::Priority)
        .order_by_asc(Column::Turn)
        .order_by_asc(Column::CreatedAt)
        .order_by_asc(Column::Id)
        .limit(at_most.max(WINDOW) as u64)
}

/// Marks those of the picked that still wait: somebody may have cancelled one, or another dispatcher picked it.
pub(super) fn mark(picked: &[Uuid], now: DateTime<Utc>) -> UpdateMany<Entity> {
    update()
        .col_expr(Column::State, Expr::value(JobState::Queued.as_str()))
        .col_expr(Column::QueuedAt, Expr::value(now))
        .filter(Column::Id.in_subquery(still_waiting(picked)))
}

/// Those of them that wait. One that is being changed is passed over: it is looked at again soon, and two who wait for
/// each other's rows would wait for ever.
fn still_waiting(picked: &[Uuid]) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Id.is_in(picked.iter().copied()))
        // Else SQLite would rather walk through all that wait than find the few ids.
        .filter(not_looked_up(Column::State.eq(JobState::Waiting.as_str())))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query()
}

/// How many jobs of one owner may be queued and running; none where only the order is fair.
fn share(kind: JobKind) -> Option<i64> {
    match kind {
        JobKind::ExtractAudio
        | JobKind::Transcribe
        | JobKind::CloneVoice
        | JobKind::GenerateVideo
        | JobKind::AnswerSpeech => None,
        JobKind::DeliverWebhook => Some(DELIVERIES_AT_ONCE),
    }
}

/// The owners who have their share of the kind. There are no more of them than are queued and running.
fn busy(kind: JobKind, share: i64) -> Select<Entity> {
    Entity::find()
        .filter(Column::State.is_in([JobState::Queued.as_str(), JobState::Running.as_str()]))
        .filter(Column::Kind.eq(kind.as_str()))
        .group_by(Column::OwnerId)
        .having(Expr::val(1).count().gte(share))
        .select_only()
        .column(Column::OwnerId)
}

/// How many jobs of each of the owners are queued or running: of those that were asked for, or of the internal kind.
pub(super) fn active(kind: JobKind, owners: HashSet<Uuid>) -> Select<Entity> {
    let counted = match JobKind::INTERNAL.contains(&kind) {
        true => Column::Kind.eq(kind.as_str()),
        false => Column::Kind.is_not_in(JobKind::INTERNAL.map(JobKind::as_str)),
    };
    Entity::find()
        .filter(counted)
        .filter(Column::OwnerId.is_in(owners))
        .filter(Column::State.is_in([JobState::Queued.as_str(), JobState::Running.as_str()]))
        .group_by(Column::OwnerId)
        .select_only()
        .column(Column::OwnerId)
        .column_as(Expr::val(1).count(), "count")
}

/// The jobs that were pushed, counted by kind.
pub(super) fn queued() -> Select<Entity> {
    Entity::find()
        .filter(Column::State.eq(JobState::Queued.as_str()))
        .group_by(Column::Kind)
        .select_only()
        .column(Column::Kind)
        .column_as(Expr::val(1).count(), "count")
}

/// The jobs that are not finished, by state and kind.
pub(super) fn unfinished() -> Select<Entity> {
    let states = JobState::ALL.into_iter().filter(|state| !state.is_terminal()).map(JobState::as_str);
    Entity::find()
        .filter(Column::State.is_in(states))
        .group_by(Column::State)
        .group_by(Column::Kind)
        .select_only()
        .column(Column::Kind)
        .column(Column::State)
        .column_as(Expr::col(Column::Id).count(), "count")
        .column_as(Expr::col(Column::CreatedAt).min(), "oldest")
}

/// The same condition, but not one for which an index is used.
pub(super) fn not_looked_up(condition: Expr) -> Expr {
    condition.is(Expr::custom_keyword("TRUE"))
}

#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
struct Candidate {
    id: Uuid,
    owner_id: Uuid,
    priority: i32,
    created_at: DateTime<Utc>,
}

/// What each owner has queued and running, and the most that one may.
struct Active {
    by_owner: HashMap<Uuid, i64>,
    most: i64,
}

/// Each job that is picked counts for its owner from then on, so a single pick is fair as well.
fn pick(candidates: Vec<Candidate>, active: Active, at_most: usize) -> Vec<Uuid> {
    let (mut candidates, mut active) = (candidates, active);
    let mut picked = vec![];
    while picked.len() < at_most {
        let of_owner = |candidate: &Candidate| active.by_owner.get(&candidate.owner_id).copied().unwrap_or(0);
        let rank = |candidate: &Candidate| {
            (Reverse(candidate.priority), of_owner(candidate), candidate.created_at, candidate.id)
        };
        let allowed =
            candidates.iter().enumerate().filter(|(_, candidate)| of_owner(candidate) < active.most);
        let Some((index, _)) = allowed.min_by_key(|(_, candidate)| rank(candidate)) else { break };
        let next = candidates.swap_remove(index);
        *active.by_owner.entry(next.owner_id).or_default() += 1;
        picked.push(next.id);
    }
    picked
}
