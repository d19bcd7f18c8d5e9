//! How campaigns go on: by steps that somebody takes, and by the clock.

use super::{Campaign, CampaignStatus};
use crate::{
    calling_rows::campaigns::{Column, Entity, Model},
    database::Database,
    error::{Error, Result},
    ids::AgentId,
};
use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, UpdateMany,
    sea_query::{CaseStatement, Expr, ExprTrait},
};

/// Pauses those that the agent is active in.
pub(crate) async fn pause_all(
    database: &impl ConnectionTrait,
    agent: AgentId,
    now: DateTime<Utc>,
) -> Result<()> {
    step(&[CampaignStatus::Active], CampaignStatus::Paused, now)
        .col_expr(Column::PausedAt, Expr::value(now))
        .filter(Column::AgentId.eq(agent.as_uuid()))
        .exec(database)
        .await?;
    Ok(())
}

/// Writes down which campaigns the clock has completed; how many.
pub(crate) async fn complete(database: &Database) -> Result<u64> {
    let end = || {
        CaseStatement::new()
            .case(Expr::col(Column::EndTime).gt(Expr::col(Column::UpdatedAt)), Expr::col(Column::EndTime))
            .finally(Expr::col(Column::UpdatedAt))
    };
    let completed = Entity::update_many()
        .col_expr(Column::Status, Expr::value(CampaignStatus::Completed.as_str()))
        .col_expr(Column::CompletedAt, end().into())
        .col_expr(Column::UpdatedAt, end().into())
        .filter(begun())
        .filter(Column::EndTime.lte(database.now()))
        .exec(database.writer())
        .await?;
    Ok(completed.rows_affected)
}

/// From one of these statuses to the next, of those whose end has not passed. Changes nothing where somebody else was
/// quicker.
pub(super) fn step(from: &[CampaignStatus], to: CampaignStatus, now: DateTime<Utc>) -> UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(to.as_str()))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .filter(Column::Status.is_in(from.iter().map(|status| status.as_str())))
        .filter(goes_on(now))
}

/// What a reader sees as that status, whether the sweep has come by or not.
pub(super) fn seen_as(status: CampaignStatus, now: DateTime<Utc>) -> Condition {
    let stored = Condition::all().add(Column::Status.eq(status.as_str()));
    match status {
        CampaignStatus::Draft => stored,
        CampaignStatus::Active | CampaignStatus::Paused => stored.add(goes_on(now)),
        CampaignStatus::Completed => {
            Condition::any().add(stored).add(Condition::all().add(begun()).add(Column::EndTime.lte(now)))
        }
    }
}

fn begun() -> Expr {
    Column::Status.is_in([CampaignStatus::Active.as_str(), CampaignStatus::Paused.as_str()])
}

fn goes_on(now: DateTime<Utc>) -> Condition {
    Condition::any().add(Column::EndTime.is_null()).add(Column::EndTime.gt(now))
}

pub(super) fn status_at(row: &Model, now: DateTime<Utc>) -> Result<CampaignStatus> {
    let stored = CampaignStatus::parse(&row.status)
        .ok_or_else(|| Error::internal(format!("the row has the unknown status {}", row.status)))?;
    let over = row.end_time.is_some_and(|end| end <= now);
    Ok(match stored {
        CampaignStatus::Active | CampaignStatus::Paused if over => CampaignStatus::Completed,
        CampaignStatus::Draft
        | CampaignStatus::Active
        | CampaignStatus::Paused
        | CampaignStatus::Completed => stored,
    })
}

pub(super) fn from_row(row: Model, now: DateTime<Utc>) -> Result<Campaign> {
    let status = status_at(&row, now)?;
    // As the sweep is going to write it down, if it has not yet.
    let completed_at = match status {
        CampaignStatus::Completed => row.completed_at.or(std::cmp::max(row.end_time, Some(row.updated_at))),
        CampaignStatus::Draft | CampaignStatus::Active | CampaignStatus::Paused => None,
    };
    Ok(Campaign {
        id: row.id.into(),
        owner: row.user_id.into(),
        agent: row.agent_id.map(AgentId::from),
        name: row.name,
        phone_numbers: serde_json::from_value(row.phone_numbers)?,
        status,
        start_time: row.start_time,
        end_time: row.end_time,
        max_concurrent_calls: u32::try_from(row.max_concurrent_calls).map_err(Error::internal)?,
        launched_at: row.launched_at,
        paused_at: row.paused_at,
        completed_at,
        created_at: row.created_at,
        updated_at: completed_at.unwrap_or(row.updated_at),
    })
}
