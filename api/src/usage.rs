//! What a user has stored, and may.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use crate::app::App;
use crate::caller::Caller;
use crate::dto::files::{Limits, RateLimits, UsageObject};
use crate::error::Result;
use crate::tags::Tag;
use crate::{body, media_types, voices};

pub(crate) struct UsageApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/api/v1/usage", tag = "Tag::Files")]
impl UsageApi {
    /// See quota, use and limits
    #[oai(path = "/", method = "get", operation_id = "get_usage")]
    async fn usage(&self, caller: Caller) -> Result<Json<UsageObject>> {
        let usage = self.app.services.storage.files.usage(caller.user).await?;
        Ok(Json(UsageObject {
            quota_bytes: usage.quota_bytes,
            used_bytes: usage.used_bytes,
            files: usage.files,
            limits: Limits {
                upload_bytes: self.app.services.config.max_upload_bytes,
                text_upload_bytes: media_types::LARGEST_TEXT,
                body_bytes: body::LARGEST as u64,
                preview_characters: voices::LONGEST_PREVIEW as u64,
            },
            rate_limits: self.rate_limits(&caller).await?,
        }))
    }
}

impl UsageApi {
    /// Those that hold for the caller.
    async fn rate_limits(&self, caller: &Caller) -> Result<Option<RateLimits>> {
        let Some(throttle) = &self.app.throttle else { return Ok(None) };
        let own = throttle.own_rate(&self.app, caller.user, caller.key_rate).await?.map(|own| own.rate);
        let rates = throttle.rates();
        let or_own = |rate| own.unwrap_or(rate).to_string();
        Ok(Some(RateLimits {
            auth: rates.auth.to_string(),
            voiceera_auth: rates.voiceera_auth.to_string(),
            uploads: or_own(rates.uploads),
            processing: or_own(rates.processing),
            wide: rates.wide.to_string(),
            imports: rates.imports.to_string(),
            other: or_own(rates.other),
            own: own.is_some(),
        }))
    }
}
