//! Campaigns.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object};
use storage::campaigns::{Campaign, CampaignChange};
use storage::ids::{AgentId, UserId};
use uuid::Uuid;

use super::time::Timestamp;

/// Calls at once where the client does not say.
const CONCURRENT_CALLS: u32 = 10;

#[derive(Object)]
pub(crate) struct NewCampaign {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: String,
    agent_id: Uuid,
    /// As in E.164: a plus sign and at most 15 digits. A number that comes twice is kept once.
    #[oai(validator(min_items = 1, max_items = 100_000))]
    pub(crate) phone_numbers: Vec<String>,
    pub(crate) start_time: Option<DateTime<Utc>>,
    /// When the campaign is completed, once it was launched; never by itself where absent.
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// 10 where absent.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    max_concurrent_calls: Option<u32>,
}

/// What is absent stays as it is.
#[derive(Object)]
pub(crate) struct CampaignPatch {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: Option<String>,
    agent_id: Option<Uuid>,
    /// All of them, as in E.164: a plus sign and at most 15 digits. A number that comes twice is kept once.
    #[oai(validator(min_items = 1, max_items = 100_000))]
    pub(crate) phone_numbers: Option<Vec<String>>,
    pub(crate) start_time: Option<DateTime<Utc>>,
    /// When the campaign is completed, once it was launched.
    pub(crate) end_time: Option<DateTime<Utc>>,
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    max_concurrent_calls: Option<u32>,
}

#[derive(Object)]
#[oai(rename = "Campaign")]
pub(crate) struct CampaignObject {
    id: Uuid,
    user_id: Uuid,
    name: String,
    /// Null where the agent was deleted.
    agent_id: Option<Uuid>,
    status: CampaignStatus,
    phone_numbers: Vec<String>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    max_concurrent_calls: u32,
    /// The last time.
    launched_at: Option<Timestamp>,
    /// The last time.
    paused_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::campaigns::CampaignStatus")]
pub(crate) enum CampaignStatus {
    Draft,
    Active,
    Paused,
    Completed,
}

impl NewCampaign {
    pub(crate) fn of(self, owner: UserId) -> storage::campaigns::NewCampaign {
        storage::campaigns::NewCampaign {
            owner,
            agent: AgentId::from(self.agent_id),
            name: self.name,
            phone_numbers: self.phone_numbers,
            start_time: self.start_time,
            end_time: self.end_time,
            max_concurrent_calls: self.max_concurrent_calls.unwrap_or(CONCURRENT_CALLS),
        }
    }
}

impl From<CampaignPatch> for CampaignChange {
    fn from(patch: CampaignPatch) -> Self {
        Self {
            agent: patch.agent_id.map(AgentId::from),
            name: patch.name,
            phone_numbers: patch.phone_numbers,
            start_time: patch.start_time,
            end_time: patch.end_time,
            max_concurrent_calls: patch.max_concurrent_calls,
        }
    }
}

impl From<Campaign> for CampaignObject {
    fn from(campaign: Campaign) -> Self {
        Self {
            id: campaign.id.as_uuid(),
            user_id: campaign.owner.as_uuid(),
            name: campaign.name,
            agent_id: campaign.agent.map(AgentId::as_uuid),
            status: campaign.status.into(),
            phone_numbers: campaign.phone_numbers,
            start_time: campaign.start_time.map(Into::into),
            end_time: campaign.end_time.map(Into::into),
            max_concurrent_calls: campaign.max_concurrent_calls,
            launched_at: campaign.launched_at.map(Into::into),
            paused_at: campaign.paused_at.map(Into::into),
            completed_at: campaign.completed_at.map(Into::into),
            created_at: campaign.created_at.into(),
            updated_at: campaign.updated_at.into(),
        }
    }
}
