//! What an owner asks of all calls at once, answered from the sums; and whether these are right.

use super::{
    Calls, from_row,
    rows::{
        call_days::{Column, Entity},
        call_logs, call_phrases,
    },
    tally::{ANY, COLUMNS, Change, Counts, DayKey, Direction, Tally, day_of},
};
use crate::{
    error::Result,
    ids::{AgentId, CampaignId, UserId},
};
use chrono::NaiveDate;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    QuerySelect,
    sea_query::{Expr, IntoTableRef, Query},
};
use uuid::Uuid;

/// Rows read at once.
const BATCH: u64 = 1_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct TallyFilter {
    pub agent: Option<AgentId>,
    pub campaign: Option<CampaignId>,
    /// The first day, in UTC.
    pub from: Option<NaiveDate>,
    /// The last day, in UTC.
    pub until: Option<NaiveDate>,
}

/// A key phrase in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    pub phrase: String,
    /// The calls that have it.
    pub calls: u64,
}

impl Calls {
    pub async fn tally(&self, owner: UserId, filter: &TallyFilter) -> Result<Tally> {
        let TallyFilter { agent, campaign, from, until } = filter;
        let (agent, campaign) = (agent.map(Uuid::from), campaign.map(Uuid::from));
        // No agent and no campaign has the id that stands for any.
        if agent == Some(ANY) || campaign == Some(ANY) {
            return Ok(Tally::default());
        }
        let mut query = Query::select();
        query
            .from(Entity.into_table_ref())
            .and_where(Expr::col(Column::UserId).eq(owner.as_uuid()))
            .and_where(Expr::col(Column::AgentId).eq(agent.unwrap_or(ANY)))
            .and_where(Expr::col(Column::CampaignId).eq(campaign.unwrap_or(ANY)));
        for column in COLUMNS {
            // Postgres sums bigints to a numeric.
            query.expr(Expr::col(column).sum().cast_as("bigint"));
        }
        if let Some(day) = from {
            query.and_where(Expr::col(Column::Day).gte(day_of(*day)));
        }
        if let Some(day) = until {
            query.and_where(Expr::col(Column::Day).lte(day_of(*day)));
        }
        let Some(row) = self.database.reader().query_one(&query).await? else { return Ok(Tally::default()) };
        let mut counts = Counts::default();
        for (index, count) in counts.iter_mut().enumerate() {
            *count = row.try_get_by_index::<Option<i64>>(index)?.unwrap_or(0);
        }
        Ok(Tally::of(counts))
    }

    /// Those of most calls first.
    pub async fn top_phrases(
        &self,
        owner: UserId,
        agent: Option<AgentId>,
        limit: u64,
    ) -> Result<Vec<Phrase>> {
        if agent.map(Uuid::from) == Some(ANY) {
            return Ok(vec![]);
        }
        use call_phrases::{Column, Entity};
        let rows = Entity::find()
            .filter(Column::UserId.eq(owner.as_uuid()))
            .filter(Column::AgentId.eq(agent.map_or(ANY, Uuid::from)))
            .order_by_desc(Column::Calls)
            .order_by_asc(Column::Phrase)
            .limit(limit)
            .all(self.database.reader())
            .await?;
        let phrase =
            |row: call_phrases::Model| Phrase { phrase: row.phrase, calls: row.calls.unsigned_abs() };
        Ok(rows.into_iter().map(phrase).collect())
    }

    /// Whether the sums say what the calls themselves say. Reads them all, and holds up every change meanwhile.
    pub async fn sums_hold(&self, owner: UserId) -> Result<bool> {
        let transaction = self.database.begin(owner).await?;
        Ok(summed(&transaction, owner).await? == kept(&transaction, owner).await?)
    }
}

/// The sums as the calls have them.
async fn summed(transaction: &DatabaseTransaction, owner: UserId) -> Result<Change> {
    use call_logs::{Column, Entity};
    let mut sums = Change::default();
    let mut last = Uuid::nil();
    loop {
        let rows = Entity::find()
            .filter(Column::UserId.eq(owner.as_uuid()))
            .filter(Column::Id.gt(last))
            .order_by_asc(Column::Id)
            .limit(BATCH)
            .all(transaction)
            .await?;
        let Some(row) = rows.last() else { return Ok(sums) };
        last = row.id;
        for row in rows {
            sums.count(&from_row(row)?.log, Direction::Comes);
        }
    }
}

/// The sums as they are kept.
async fn kept(transaction: &DatabaseTransaction, owner: UserId) -> Result<Change> {
    let mut sums = Change::default();
    let days = Entity::find().filter(Column::UserId.eq(owner.as_uuid())).all(transaction).await?;
    for row in days {
        let key = DayKey { agent: row.agent_id, campaign: row.campaign_id, day: row.day };
        let counts = [
            row.total,
            row.queued,
            row.in_progress,
            row.completed,
            row.failed,
            row.no_answer,
            row.duration_seconds,
            row.cost_micros,
            row.positive,
            row.neutral,
            row.negative,
        ];
        sums.days.insert(key, counts);
    }
    let of_owner = call_phrases::Column::UserId.eq(owner.as_uuid());
    for row in call_phrases::Entity::find().filter(of_owner).all(transaction).await? {
        sums.phrases.insert((row.agent_id, row.phrase), row.calls);
    }
    Ok(sums)
}
