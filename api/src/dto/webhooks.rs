//! Webhooks as the owner of the receiver sees them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem_openapi::{Enum, Object};
use storage::webhooks::{
    Attempt, AttemptOutcome, Delivery, DeliveryStatus as Status, JobEvent as Event, SigningKeys,
};
use uuid::Uuid;

use super::time::Timestamp;

#[derive(Clone, Copy, Enum)]
#[oai(remote = "Event")]
pub(crate) enum WebhookEvent {
    #[oai(rename = "job.completed")]
    Completed,
    #[oai(rename = "job.failed")]
    Failed,
    #[oai(rename = "job.cancelled")]
    Cancelled,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", remote = "Status")]
pub(crate) enum DeliveryStatus {
    /// To be tried, or tried again.
    Pending,
    Delivered,
    /// Given up.
    Failed,
}

#[derive(Object)]
#[oai(rename = "WebhookSecret")]
pub(crate) struct SecretObject {
    /// `whsec_` and the key in base64, as the libraries of Standard Webhooks take it.
    secret: String,
    created_at: Timestamp,
    /// Until then the secret before it signs too; null where there is none.
    previous_expires_at: Option<Timestamp>,
}

#[derive(Object)]
#[oai(rename = "WebhookDelivery")]
pub(crate) struct DeliveryObject {
    /// The header `webhook-id`, the same however often it is sent.
    id: Uuid,
    /// The job that ended.
    job_id: Uuid,
    event: WebhookEvent,
    url: String,
    status: DeliveryStatus,
    /// The latest fifty, in order.
    attempts: Vec<AttemptObject>,
    /// Of one that is pending; in the past where it is due or under way.
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
}

#[derive(Object)]
#[oai(rename = "WebhookAttempt")]
struct AttemptObject {
    started_at: Timestamp,
    duration_ms: u64,
    /// What the receiver answered.
    status_code: Option<u16>,
    /// Why it did not: `address_blocked`, `name_not_resolved`, `timed_out` or `connection_failed`.
    error: Option<String>,
}

impl From<SigningKeys> for SecretObject {
    fn from(keys: SigningKeys) -> Self {
        Self {
            secret: format!("whsec_{}", STANDARD.encode(keys.current.as_bytes())),
            created_at: keys.created_at.into(),
            previous_expires_at: keys.previous.map(|(_, until)| until.into()),
        }
    }
}

impl From<Delivery> for DeliveryObject {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.as_uuid(),
            job_id: delivery.job.as_uuid(),
            event: delivery.event.into(),
            url: delivery.url,
            status: delivery.status.into(),
            attempts: delivery.attempts.into_iter().map(AttemptObject::from).collect(),
            next_attempt_at: delivery.next_attempt_at.map(Into::into),
            created_at: delivery.created_at.into(),
        }
    }
}

impl From<Attempt> for AttemptObject {
    fn from(attempt: Attempt) -> Self {
        let (status_code, error) = match attempt.outcome {
            AttemptOutcome::Answered(status) => (Some(status), None),
            AttemptOutcome::Unanswered(code) => (None, Some(code)),
        };
        Self {
            started_at: attempt.started_at.into(),
            duration_ms: attempt.duration.as_millis() as u64,
            status_code,
            error,
        }
    }
}
