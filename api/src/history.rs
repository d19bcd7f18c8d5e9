//! The conversations that a user has had with the voice agent.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use storage::conversations::Window;
use storage::error::Error as StorageError;
use storage::ids::ConversationId;
use uuid::Uuid;

use crate::app::App;
use crate::caller::Caller;
use crate::dto::users::{History, HistoryDetail, HistorySession};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// Conversations of one page where the client does not say.
const PAGE: u64 = 20;

pub(crate) struct HistoryApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/api/users/history", tag = "Tag::Users")]
impl HistoryApi {
    /// List the caller's conversations, newest first
    #[oai(path = "/", method = "get", operation_id = "list_history")]
    async fn list(
        &self,
        caller: Caller,
        /// Items of one page; 20 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        /// Items to pass over.
        #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
        offset: Query<Option<u64>>,
    ) -> Result<Json<History>> {
        let window = Window { limit: limit.0.unwrap_or(PAGE), offset: offset.0.unwrap_or(0) };
        let Window { limit, offset } = window;
        let (count, conversations) =
            self.app.services.storage.conversations.window(caller.user, window).await?;
        let page = |offset: u64| format!("/api/users/history?limit={limit}&offset={offset}");
        Ok(Json(History {
            count,
            next: offset.checked_add(limit).filter(|next| *next < count).map(page),
            previous: (offset > 0).then(|| page(offset.saturating_sub(limit))),
            results: conversations.into_iter().map(HistorySession::from).collect(),
        }))
    }

    /// Get a conversation with all that was said in it
    #[oai(path = "/:session_id", method = "get", operation_id = "get_history_session")]
    async fn get(&self, caller: Caller, session_id: Path<Uuid>) -> Result<Json<HistoryDetail>> {
        let conversations = &self.app.services.storage.conversations;
        let found = conversations.find(caller.user, ConversationId::from(session_id.0)).await;
        let conversation = found.map_err(|error| match error {
            StorageError::NotFound => ApiError::session_not_found(),
            other => other.into(),
        })?;
        let said = conversations.said(&conversation).await?;
        Ok(Json(HistoryDetail::new(conversation, said)))
    }
}
