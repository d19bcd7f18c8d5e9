//! Questions: jobs of an internal kind that a request waits for. They belong to who asked, who sees nothing of them, and
//! are forgotten as soon as nobody waits.

use super::{Job, Jobs, NewJob, submit::insert, update};
use crate::{
    database::{Database, Turn},
    error::{Error, Result},
    garbage,
    ids::{JobId, UserId},
    rows::jobs::{Column, Entity, Model},
};
use chrono::{DateTime, Utc};
use pipeline::{
    parameters::{JobKind, Parameters},
    questions::{PATIENCE, SpeechAnswer, SpeechQuestion},
    state::JobState,
    trace::TraceParent,
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Select,
    sea_query::{Expr, LockBehavior, LockType},
};

pub struct NewQuestion {
    pub owner: UserId,
    pub question: SpeechQuestion,
    pub request_id: Option<String>,
    /// What of a trace it continues.
    pub trace_parent: Option<TraceParent>,
}

impl Jobs {
    /// Puts the question in line. Whoever does not wait for the answer any longer has to [`Jobs::withdraw`] it.
    pub async fn ask(&self, new: NewQuestion) -> Result<Job> {
        let NewQuestion { owner, question, request_id, trace_parent } = new;
        let new = NewJob {
            owner,
            parameters: Parameters::AnswerSpeech(question),
            priority: 0,
            project: None,
            request_id,
            trace_parent,
            idempotency: None,
            builtin_voices: vec![],
            callback: None,
        };
        let transaction = self.database.begin_beside(owner).await?;
        let job = insert(&transaction, &new, self.database.now()).await?;
        transaction.commit().await?;
        self.nudge(job.id);
        Ok(job)
    }

    /// How the question stands; its answer is the result of the job.
    pub async fn question(&self, owner: UserId, id: JobId) -> Result<Job> {
        let row = owned(owner, id).one(self.database.reader()).await?;
        row.ok_or(Error::NotFound)?.try_into()
    }

    /// Nobody waits for the answer any more. The question is gone, and the worker that has it is told to stop; what it
    /// made goes with the next sweep. One that is gone already is fine.
    pub async fn withdraw(&self, owner: UserId, id: JobId) -> Result<()> {
        let now = self.database.now();
        let transaction = self.database.begin_beside(owner).await?;
        let Some(row) = owned(owner, id).lock_exclusive().one(&transaction).await? else { return Ok(()) };
        if super::state(&row.state)? == JobState::Running {
            update()
                .col_expr(Column::CancelRequestedAt, Expr::value(now))
                .filter(Column::Id.eq(row.id))
                .exec(&transaction)
                .await?;
        } else {
            forget(&transaction, &[row], now).await?;
        }
        transaction.commit().await?;
        self.changed(id);
        Ok(())
    }
}

/// Forgets the questions that nobody waits for any more and that no worker is at: their process died, or their worker
/// stopped as it was told.
pub(crate) async fn sweep(database: &Database, now: DateTime<Utc>) -> Result<u64> {
    let mut swept = 0;
    loop {
        let transaction = database.begin(Turn::named("questions")).await?;
        // Those that somebody is at are not waited for: two who wait for each other's rows would wait for ever.
        let rows =
            late(now).limit(garbage::BATCH).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let rows = rows.all(&transaction).await?;
        if rows.is_empty() {
            return Ok(swept);
        }
        forget(&transaction, &rows, now).await?;
        transaction.commit().await?;
        swept += rows.len() as u64;
    }
}

/// With all that the user has asked.
pub(crate) async fn erase(database: &impl ConnectionTrait, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let rows = Entity::find()
        .filter(Column::OwnerId.eq(user.as_uuid()))
        .filter(Column::Kind.eq(JobKind::AnswerSpeech.as_str()))
        .lock_exclusive()
        .all(database)
        .await?;
    forget(database, &rows, now).await
}

fn owned(owner: UserId, id: JobId) -> Select<Entity> {
    Entity::find_by_id(id.as_uuid())
        .filter(Column::OwnerId.eq(owner.as_uuid()))
        .filter(Column::Kind.eq(JobKind::AnswerSpeech.as_str()))
}

pub(super) fn late(now: DateTime<Utc>) -> Select<Entity> {
    let idle = JobState::ALL.into_iter().filter(|state| *state != JobState::Running);
    Entity::find()
        .filter(Column::State.is_in(idle.map(JobState::as_str)))
        .filter(Column::Kind.eq(JobKind::AnswerSpeech.as_str()))
        .filter(Column::CreatedAt.lt(now - 2 * PATIENCE))
}

/// The rows, which are locked, and the bytes of their answers.
async fn forget(database: &impl ConnectionTrait, rows: &[Model], now: DateTime<Utc>) -> Result<()> {
    garbage::add(database, rows.iter().filter_map(object), now).await?;
    let ids = rows.iter().map(|row| row.id);
    Entity::delete_many().filter(Column::Id.is_in(ids)).exec(database).await?;
    Ok(())
}

/// What a worker of another version has answered is not understood here, and the sweep finds its object by itself.
fn object(row: &Model) -> Option<String> {
    match serde_json::from_value(row.result.clone()?).ok()? {
        SpeechAnswer::Preview { object } => Some(object),
        SpeechAnswer::SpeechSeconds(_) => None,
    }
}
