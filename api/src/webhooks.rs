//! Webhooks: what signs them, and what became of each. A `callback_url` of a job makes them.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::audit::EventKind;
use storage::ids::{DeliveryId, JobId};
use storage::webhooks::DeliveryFilter;
use uuid::Uuid;

use crate::app::App;
use crate::caller::Caller;
use crate::dto::webhooks::{DeliveryObject, DeliveryStatus, SecretObject};
use crate::dto::{Listed, page};
use crate::error::Result;
use crate::tags::Tag;

pub(crate) struct WebhooksApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Redelivered {
    /// It is on its way again
    #[oai(status = 202)]
    Accepted(Json<DeliveryObject>),
}

#[OpenApi(prefix_path = "/api/v1/webhooks", tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Get the secret that signs webhooks
    ///
    /// One for all that is sent to you, made when it is first needed.
    #[oai(path = "/secret", method = "get", operation_id = "get_webhook_secret")]
    async fn secret(&self, caller: Caller) -> Result<Json<SecretObject>> {
        let keys = self.app.services.storage.webhooks.keys(caller.user).await?;
        Ok(Json(keys.into()))
    }

    /// Replace the secret that signs webhooks
    ///
    /// For 24 hours all are signed by the old one too, so that receivers can be changed one after the other.
    #[oai(path = "/secret/rotate", method = "post", operation_id = "rotate_webhook_secret")]
    async fn rotate(&self, caller: Caller, request: &Request) -> Result<Json<SecretObject>> {
        let keys = self.app.services.storage.webhooks.rotate(caller.user).await?;
        self.app.record(request, EventKind::WebhookSecretRotated, Some(caller.user)).await?;
        Ok(Json(keys.into()))
    }

    /// List deliveries, newest first
    #[oai(path = "/deliveries", method = "get", operation_id = "list_webhook_deliveries")]
    async fn list(
        &self,
        caller: Caller,
        /// Of the end of this job.
        job_id: Query<Option<Uuid>>,
        status: Query<Option<DeliveryStatus>>,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<DeliveryObject>>> {
        let filter = DeliveryFilter { job: job_id.0.map(JobId::from), status: status.0.map(Into::into) };
        let page = page(limit.0, cursor.0);
        let deliveries = self.app.services.storage.webhooks.list(caller.user, &filter, &page).await?;
        let items = deliveries.items.into_iter().map(DeliveryObject::from).collect();
        Ok(Json(Listed { items, next_cursor: deliveries.next_cursor }))
    }

    /// Send a webhook again
    ///
    /// At once, whether it was delivered, given up, or waits for its next attempt.
    #[oai(path = "/deliveries/:delivery_id/redeliver", method = "post", operation_id = "redeliver_webhook")]
    async fn redeliver(&self, caller: Caller, delivery_id: Path<Uuid>) -> Result<Redelivered> {
        let id = DeliveryId::from(delivery_id.0);
        let delivery = self.app.services.storage.webhooks.redeliver(caller.user, id).await?;
        Ok(Redelivered::Accepted(Json(delivery.into())))
    }
}
