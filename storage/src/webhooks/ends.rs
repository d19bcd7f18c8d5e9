//! What the end of a job brings about, in the transaction that ends it: so each end is told once, and none is forgotten.

use super::{Callback, DeliveryStatus, JobEvent, rows::deliveries};
use crate::{
    error::Result,
    ids::{DeliveryId, JobId, UserId},
    jobs::{NewJob, insert, state, trace_parent},
    rows::jobs,
};
use chrono::{DateTime, SecondsFormat, Utc};
use pipeline::{
    parameters::{DeliverWebhook, JobKind, Parameters},
    state::JobState,
    trace::TraceParent,
};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set, sea_query::Expr};
use serde_json::{Value, json};

/// Longest sentence of an error that is sent along, in characters: the whole stays well below 20 KB.
const LONGEST_MESSAGE: usize = 1_000;

/// Puts a delivery on its way where the job has a callback; where the job was itself a delivery, writes down how it went.
pub(crate) async fn tell(database: &impl ConnectionTrait, ended: &jobs::Model) -> Result<()> {
    let state = state(&ended.state)?;
    if ended.kind == JobKind::DeliverWebhook.as_str() {
        return conclude(database, ended, state).await;
    }
    let (Some(callback), Some(event), Some(now)) = (&ended.callback, JobEvent::of(state), ended.finished_at)
    else {
        return Ok(());
    };
    let callback: Callback = serde_json::from_value(callback.clone())?;
    let body = json!({
        "type": event.as_str(),
        "timestamp": text(now),
        "data": status(ended, state, &callback),
    });
    let (id, owner) = (DeliveryId::new(), ended.owner_id.into());
    let (request_id, trace_parent) = (ended.request_id.clone(), trace_parent(ended));
    let run = Run { delivery: id, owner, request_id, trace_parent };
    let run = begin(database, run, now).await?;
    let delivery = deliveries::ActiveModel {
        id: Set(id.into()),
        owner_id: Set(ended.owner_id),
        job_id: Set(ended.id),
        run_id: Set(run.into()),
        event: Set(event.as_str().to_owned()),
        url: Set(callback.url),
        body: Set(body.to_string()),
        status: Set(DeliveryStatus::Pending.as_str().to_owned()),
        created_at: Set(now),
    };
    deliveries::Entity::insert(delivery).exec_without_returning(database).await?;
    Ok(())
}

/// A job that is to deliver.
pub(super) struct Run {
    pub(super) delivery: DeliveryId,
    pub(super) owner: UserId,
    pub(super) request_id: Option<String>,
    pub(super) trace_parent: Option<TraceParent>,
}

/// Puts the job in line.
pub(super) async fn begin(database: &impl ConnectionTrait, run: Run, now: DateTime<Utc>) -> Result<JobId> {
    let new = NewJob {
        owner: run.owner,
        parameters: Parameters::DeliverWebhook(DeliverWebhook { delivery_id: run.delivery.as_uuid() }),
        priority: 0,
        project: None,
        request_id: run.request_id,
        trace_parent: run.trace_parent,
        idempotency: None,
        builtin_voices: vec![],
        callback: None,
    };
    Ok(insert(database, &new, now).await?.id)
}

/// The job, without what it made: no file and no signed URL leaves with it.
fn status(ended: &jobs::Model, state: JobState, callback: &Callback) -> Value {
    let error = ended.error.as_ref().map(|error| {
        let message: String =
            error["message"].as_str().unwrap_or_default().chars().take(LONGEST_MESSAGE).collect();
        json!({ "code": error["code"], "message": message, "retryable": error["retryable"] })
    });
    json!({
        "job_id": ended.id,
        "kind": ended.kind,
        "status": state.status().as_str(),
        "error": error,
        "attempts": ended.attempt,
        "created_at": text(ended.created_at),
        "started_at": ended.started_at.map(text),
        "finished_at": ended.finished_at.map(text),
        "status_url": format!("{}{}", callback.status_urls, ended.id),
    })
}

async fn conclude(database: &impl ConnectionTrait, ended: &jobs::Model, state: JobState) -> Result<()> {
    let status = match state {
        JobState::Completed => DeliveryStatus::Delivered,
        JobState::Failed | JobState::Cancelled => DeliveryStatus::Failed,
        JobState::Waiting | JobState::Queued | JobState::Running => return Ok(()),
    };
    let Parameters::DeliverWebhook(run) = serde_json::from_value(ended.parameters.clone())? else {
        return Ok(());
    };
    deliveries::Entity::update_many()
        .col_expr(deliveries::Column::Status, Expr::value(status.as_str()))
        .filter(deliveries::Column::Id.eq(run.delivery_id))
        .filter(deliveries::Column::RunId.eq(ended.id))
        .exec(database)
        .await?;
    Ok(())
}

/// As all times that leave the server.
fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
