//! Tells a receiver that a job has ended, by the rules of Standard Webhooks 1.0.

use crate::context::{JobContext, JobError, Outcome};
use crate::egress::{Answer, Message, Silence};
use crate::signature;
use anyhow::Context as _;
use chrono::Utc;
use pipeline::failure::Failure;
use pipeline::parameters::DeliverWebhook;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use std::time::Instant;
use storage::ids::DeliveryId;
use storage::webhooks::{Attempt, AttemptOutcome, Delivery, SigningKeys};

/// By which a receiver continues the trace of the request that made the job.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

pub(crate) async fn run(context: &JobContext, parameters: &DeliverWebhook) -> Result<Outcome, JobError> {
    context.enter("delivering");
    let webhooks = &context.services.storage.webhooks;
    let owner = context.job.owner;
    let id = DeliveryId::from(parameters.delivery_id);
    let delivery = context.ask(|| webhooks.find(owner, id)).await?;
    let keys = context.ask(|| webhooks.keys(owner)).await?;
    // By the database's clock: receivers refuse what they take for old, and this machine's may be wrong.
    let started_at = context.job.started_at.unwrap_or_else(Utc::now);
    let mut headers = headers(&delivery, &keys, started_at.timestamp())?;
    if let Some(here) = context.job.trace_parent {
        let here = HeaderValue::from_str(&here.to_string()).context("a trace is no header")?;
        headers.insert(TRACE_PARENT, here);
    }
    let message = Message { url: &delivery.url, headers, body: delivery.body.clone() };
    let begun = Instant::now();
    let answer = tokio::select! {
        answer = context.services.egress.post(message) => answer,
        // Sent again by whoever gets the job: the receiver knows it by its id.
        () = context.stop.cancelled() => return Err(JobError::Stopped),
    };
    let outcome = match &answer {
        Ok(answer) => AttemptOutcome::Answered(answer.status),
        Err(silence) => AttemptOutcome::Unanswered(silence.code().to_owned()),
    };
    let attempt = Attempt { started_at, duration: begun.elapsed(), outcome };
    webhooks.record(&context.lease, &delivery, attempt).await?;
    match answer {
        Ok(answer) if is_success(answer) => {
            Ok(Outcome { artifacts: vec![], result: json!({ "status_code": answer.status }) })
        }
        Ok(answer) => Err(JobError::Failed(refusal(answer))),
        Err(silence) => Err(JobError::Failed(unanswered(silence))),
    }
}

fn headers(delivery: &Delivery, keys: &SigningKeys, timestamp: i64) -> anyhow::Result<HeaderMap> {
    let signature = signature::of(delivery, timestamp, keys);
    let id = HeaderValue::from_str(&delivery.id.to_string()).context("an id is no header")?;
    let signature = HeaderValue::from_str(&signature).context("a signature is no header")?;
    Ok(HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (signature::ID, id),
        (signature::TIMESTAMP, HeaderValue::from(timestamp)),
        (signature::SIGNATURE, signature),
    ]))
}

fn is_success(answer: Answer) -> bool {
    (200..300).contains(&answer.status)
}

fn refusal(answer: Answer) -> Failure {
    if answer.status == StatusCode::GONE.as_u16() {
        return Failure::permanent("receiver_gone", "The receiver answered 410: it wants no more of this.");
    }
    let failure = Failure::transient("receiver_failed", format!("The receiver answered {}.", answer.status));
    match answer.retry_after {
        Some(wait) => failure.not_before(wait),
        None => failure,
    }
}

fn unanswered(silence: Silence) -> Failure {
    match silence {
        // It leads inside today; tomorrow's address would be another request.
        Silence::Blocked => {
            Failure::permanent(silence.code(), "The URL leads to an address that is not called.")
        }
        Silence::Unresolved => Failure::transient(silence.code(), "The name in the URL leads nowhere."),
        Silence::TimedOut => Failure::transient(silence.code(), "The receiver did not answer in time."),
        Silence::Unreachable => Failure::transient(silence.code(), "The receiver could not be reached."),
    }
}
