//! What calls add up to: sums by day, agent and campaign, and the calls of each phrase, written in the transaction of the
//! calls themselves. A row holds the sum for one agent or for any, one campaign or any, so that whatever is asked, one
//! row a day answers it.

use super::{
    CallLog, CallStatus, Sentiment,
    rows::{
        call_days::{ActiveModel, Column, Entity},
        call_phrases,
    },
};
use crate::{error::Result, ids::UserId};
use chrono::NaiveDate;
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DatabaseTransaction, EntityTrait, ExprTrait, QueryFilter,
    Set, Value,
    sea_query::{Alias, Expr, OnConflict},
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Any agent, or any campaign.
pub(super) const ANY: Uuid = Uuid::nil();
/// Rows of one statement.
const CHUNK: usize = 500;

/// Sums over calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub total: u64,
    pub queued: u64,
    pub in_progress: u64,
    pub completed: u64,
    pub failed: u64,
    pub no_answer: u64,
    pub duration_seconds: u64,
    pub cost_micros: i64,
    pub positive: u64,
    pub neutral: u64,
    pub negative: u64,
}

/// The columns of a [`Tally`], in its order.
pub(super) const COLUMNS: [Column; 11] = [
    Column::Total,
    Column::Queued,
    Column::InProgress,
    Column::Completed,
    Column::Failed,
    Column::NoAnswer,
    Column::DurationSeconds,
    Column::CostMicros,
    Column::Positive,
    Column::Neutral,
    Column::Negative,
];

/// By the columns of a [`Tally`]; less than nothing where calls go.
pub(super) type Counts = [i64; COLUMNS.len()];

/// Which row of the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DayKey {
    pub(super) agent: Uuid,
    pub(super) campaign: Uuid,
    pub(super) day: i32,
}

/// By agent, or any, and phrase.
pub(super) type PhraseKey = (Uuid, String);

/// By how much the sums of one owner change. Sorted, so that two who change the same rows do so in the same order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) days: BTreeMap<DayKey, Counts>,
    pub(super) phrases: BTreeMap<PhraseKey, i64>,
}

/// Whether a call comes or goes.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    Comes,
    Goes,
}

impl Tally {
    pub(super) fn of(counts: Counts) -> Self {
        let count = |index: usize| counts[index].unsigned_abs();
        Self {
            total: count(0),
            queued: count(1),
            in_progress: count(2),
            completed: count(3),
            failed: count(4),
            no_answer: count(5),
            duration_seconds: count(6),
            cost_micros: counts[7],
            positive: count(8),
            neutral: count(9),
            negative: count(10),
        }
    }

    pub fn with_status(&self, status: CallStatus) -> u64 {
        match status {
            CallStatus::Queued => self.queued,
            CallStatus::InProgress => self.in_progress,
            CallStatus::Completed => self.completed,
            CallStatus::Failed => self.failed,
            CallStatus::NoAnswer => self.no_answer,
        }
    }
}

impl Change {
    pub(super) fn count(&mut self, call: &CallLog, direction: Direction) {
        let sign = match direction {
            Direction::Comes => 1,
            Direction::Goes => -1,
        };
        let counts = counts(call);
        let day = day_of(call.created_at.date_naive());
        let agents = BTreeSet::from([ANY, call.agent.map_or(ANY, Uuid::from)]);
        let campaigns = BTreeSet::from([ANY, call.campaign.map_or(ANY, Uuid::from)]);
        for agent in &agents {
            for campaign in &campaigns {
                let sums = self.days.entry(DayKey { agent: *agent, campaign: *campaign, day }).or_default();
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += sign * count);
            }
        }
        let phrases: BTreeSet<String> = call.key_phrases.iter().map(|phrase| folded(phrase)).collect();
        for phrase in phrases {
            for agent in &agents {
                *self.phrases.entry((*agent, phrase.clone())).or_default() += sign;
            }
        }
    }

    /// Adds to whatever the rows hold by then, so that of two changes at once neither is lost.
    pub(super) async fn apply(&self, transaction: &DatabaseTransaction, owner: UserId) -> Result<()> {
        let days: Vec<_> = self.days.iter().map(|(key, counts)| day_row(owner, key, counts)).collect();
        for rows in days.chunks(CHUNK) {
            let keys = [Column::UserId, Column::AgentId, Column::CampaignId, Column::Day];
            let added =
                OnConflict::columns(keys).values(COLUMNS.map(|column| (column, added(column)))).to_owned();
            let insert = Entity::insert_many(rows.to_vec()).on_conflict(added);
            insert.exec_without_returning(transaction).await?;
        }
        let phrases: Vec<_> =
            self.phrases.iter().map(|(key, calls)| phrase_row(owner, key, *calls)).collect();
        for rows in phrases.chunks(CHUNK) {
            use call_phrases::{Column, Entity};
            let keys = [Column::UserId, Column::AgentId, Column::Phrase];
            let added = OnConflict::columns(keys).value(Column::Calls, added(Column::Calls)).to_owned();
            let insert = Entity::insert_many(rows.to_vec()).on_conflict(added);
            insert.exec_without_returning(transaction).await?;
        }
        Ok(())
    }

    /// Takes away the rows of this change that came to nothing.
    pub(super) async fn prune(&self, transaction: &DatabaseTransaction, owner: UserId) -> Result<()> {
        for key in self.days.keys() {
            Entity::delete_many()
                .filter(Column::UserId.eq(owner.as_uuid()))
                .filter(Column::AgentId.eq(key.agent))
                .filter(Column::CampaignId.eq(key.campaign))
                .filter(Column::Day.eq(key.day))
                .filter(Column::Total.eq(0))
                .exec(transaction)
                .await?;
        }
        for (agent, phrase) in self.phrases.keys() {
            use call_phrases::{Column, Entity};
            Entity::delete_many()
                .filter(Column::UserId.eq(owner.as_uuid()))
                .filter(Column::AgentId.eq(*agent))
                .filter(Column::Phrase.eq(phrase))
                .filter(Column::Calls.eq(0))
                .exec(transaction)
                .await?;
        }
        Ok(())
    }
}

/// Since 1970-01-01.
pub(super) fn day_of(date: NaiveDate) -> i32 {
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).expect("chrono's dates are fewer. This is a bug.")
}

fn counts(call: &CallLog) -> Counts {
    let status = |status| i64::from(call.status == status);
    let sentiment = |sentiment| i64::from(call.sentiment == Some(sentiment));
    [
        1,
        status(CallStatus::Queued),
        status(CallStatus::InProgress),
        status(CallStatus::Completed),
        status(CallStatus::Failed),
        status(CallStatus::NoAnswer),
        i64::from(call.duration_seconds),
        call.cost.micros,
        sentiment(Sentiment::Positive),
        sentiment(Sentiment::Neutral),
        sentiment(Sentiment::Negative),
    ]
}

/// However a phrase is written, it is counted as one.
fn folded(phrase: &str) -> String {
    phrase.trim().to_lowercase()
}

fn day_row(owner: UserId, key: &DayKey, counts: &Counts) -> ActiveModel {
    let mut row = ActiveModel {
        user_id: Set(owner.into()),
        agent_id: Set(key.agent),
        campaign_id: Set(key.campaign),
        day: Set(key.day),
        ..Default::default()
    };
    for (column, count) in COLUMNS.into_iter().zip(counts) {
        row.set(column, Value::from(*count));
    }
    row
}

fn phrase_row(owner: UserId, (agent, phrase): &PhraseKey, calls: i64) -> call_phrases::ActiveModel {
    call_phrases::ActiveModel {
        user_id: Set(owner.into()),
        agent_id: Set(*agent),
        phrase: Set(phrase.clone()),
        calls: ActiveValue::Set(calls),
    }
}

/// What the row has, and what the new one would.
fn added<C: ColumnTrait>(column: C) -> Expr {
    let kept = Expr::col((C::EntityName::default(), column));
    kept.add(Expr::col((Alias::new("excluded"), column)))
}
