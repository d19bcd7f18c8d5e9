//! What a user's calls add up to.

use std::sync::Arc;

use chrono::{Days, Utc};
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use storage::calls::TallyFilter;
use storage::ids::{AgentId, CampaignId};
use uuid::Uuid;

use crate::app::App;
use crate::caller::Caller;
use crate::dto::calls::{CallStatistics, SentimentAnalysis, TopPhrase};
use crate::error::Result;
use crate::tags::Tag;

/// Phrases where the client does not say how many.
const PHRASES: u64 = 20;

pub(crate) struct AnalyticsApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/analytics", tag = "Tag::Calls")]
impl AnalyticsApi {
    /// Get figures of calls
    #[oai(path = "/calls", method = "get", operation_id = "get_call_statistics")]
    async fn calls(
        &self,
        caller: Caller,
        agent_id: Query<Option<Uuid>>,
        campaign_id: Query<Option<Uuid>>,
        /// The last so many days in UTC, today among them; all where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "36500")))]
        days: Query<Option<u64>>,
    ) -> Result<Json<CallStatistics>> {
        let filter = filter(agent_id.0, campaign_id.0, days.0);
        let tally = self.app.services.storage.calls.tally(caller.user, &filter).await?;
        Ok(Json(CallStatistics::new(&tally, &self.app.services.config.currency)))
    }

    /// Get figures of sentiment
    #[oai(path = "/sentiment", method = "get", operation_id = "get_sentiment")]
    async fn sentiment(
        &self,
        caller: Caller,
        agent_id: Query<Option<Uuid>>,
        campaign_id: Query<Option<Uuid>>,
        /// The last so many days in UTC, today among them; all where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "36500")))]
        days: Query<Option<u64>>,
    ) -> Result<Json<SentimentAnalysis>> {
        let filter = filter(agent_id.0, campaign_id.0, days.0);
        let tally = self.app.services.storage.calls.tally(caller.user, &filter).await?;
        Ok(Json(tally.into()))
    }

    /// List the key phrases of most calls
    #[oai(path = "/top-phrases", method = "get", operation_id = "list_top_phrases")]
    async fn top_phrases(
        &self,
        caller: Caller,
        agent_id: Query<Option<Uuid>>,
        /// Most phrases to list; 20 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
    ) -> Result<Json<Vec<TopPhrase>>> {
        let (calls, agent) = (&self.app.services.storage.calls, agent_id.0.map(AgentId::from));
        let phrases = calls.top_phrases(caller.user, agent, limit.0.unwrap_or(PHRASES)).await?;
        let all = calls.tally(caller.user, &TallyFilter { agent, ..TallyFilter::default() }).await?.total;
        Ok(Json(phrases.into_iter().map(|phrase| TopPhrase::new(phrase, all)).collect()))
    }
}

fn filter(agent: Option<Uuid>, campaign: Option<Uuid>, days: Option<u64>) -> TallyFilter {
    let today = Utc::now().date_naive();
    TallyFilter {
        agent: agent.map(AgentId::from),
        campaign: campaign.map(CampaignId::from),
        from: days.and_then(|days| today.checked_sub_days(Days::new(days.saturating_sub(1)))),
        until: None,
    }
}
