//! What a user has stored, and may.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::payload::Json;

use crate::app::App;
use crate::caller::Caller;
use crate::dto::files::{Limits, UsageObject};
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
        }))
    }
}
