//! Campaigns: the numbers that an agent is to call, from draft to completed.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::campaigns::CampaignFilter;
use storage::ids::{AgentId, CampaignId};
use uuid::Uuid;

use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::campaign_list::CampaignList;
use crate::dto::campaigns::{CampaignObject, CampaignPatch, CampaignStatus, NewCampaign};
use crate::dto::{Done, slice};
use crate::error::{ApiError, Result};
use crate::phone_number;
use crate::tags::Tag;

pub(crate) struct CampaignsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum CreatedCampaign {
    /// The campaign exists now, as a draft
    #[oai(status = 201)]
    Created(Json<CampaignObject>),
}

#[OpenApi(prefix_path = "/campaigns", tag = "Tag::Campaigns")]
impl CampaignsApi {
    /// List campaigns, newest first
    #[oai(path = "/", method = "get", operation_id = "list_campaigns")]
    async fn list(
        &self,
        caller: Caller,
        agent_id: Query<Option<Uuid>>,
        status: Query<Option<CampaignStatus>>,
        /// How many campaigns to leave out; 0 where absent.
        #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
        skip: Query<Option<u64>>,
        /// Most campaigns to list; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
    ) -> Result<CampaignList> {
        let filter =
            CampaignFilter { agent: agent_id.0.map(AgentId::from), status: status.0.map(Into::into) };
        let slice = slice(skip.0, limit.0);
        let campaigns = self.app.services.storage.campaigns.list(caller.user, &filter, &slice).await?;
        Ok(CampaignList::new(&self.app, caller.user, (campaigns, slice)))
    }

    /// Make a campaign
    ///
    /// As a draft, which calls nobody before it is launched.
    #[oai(path = "/", method = "post", operation_id = "create_campaign")]
    async fn create(&self, caller: Caller, body: Body<NewCampaign>) -> Result<CreatedCampaign> {
        let new = body.value;
        check_name(&new.name)?;
        check_numbers(&new.phone_numbers)?;
        check_time("start_time", new.start_time)?;
        check_time("end_time", new.end_time)?;
        let campaign = self.app.services.storage.campaigns.create(new.of(caller.user)).await?;
        Ok(CreatedCampaign::Created(Json(campaign.into())))
    }

    /// Get a campaign
    #[oai(path = "/:campaign_id", method = "get", operation_id = "get_campaign")]
    async fn get(&self, caller: Caller, campaign_id: Path<Uuid>) -> Result<Json<CampaignObject>> {
        let (campaigns, id) = (&self.app.services.storage.campaigns, CampaignId::from(campaign_id.0));
        Ok(Json(campaigns.find(caller.user, id).await?.into()))
    }

    /// Change a campaign
    ///
    /// A draft or a paused one. What is absent stays as it is. A paused one whose end is put into the past is completed.
    #[oai(path = "/:campaign_id", method = "put", operation_id = "update_campaign")]
    async fn update(
        &self,
        caller: Caller,
        campaign_id: Path<Uuid>,
        body: Body<CampaignPatch>,
    ) -> Result<Json<CampaignObject>> {
        let patch = body.value;
        patch.name.as_deref().map_or(Ok(()), check_name)?;
        patch.phone_numbers.as_deref().map_or(Ok(()), check_numbers)?;
        check_time("start_time", patch.start_time)?;
        check_time("end_time", patch.end_time)?;
        let (campaigns, id) = (&self.app.services.storage.campaigns, CampaignId::from(campaign_id.0));
        Ok(Json(campaigns.change(caller.user, id, patch.into()).await?.into()))
    }

    /// Delete a campaign
    ///
    /// One that is not active.
    #[oai(path = "/:campaign_id", method = "delete", operation_id = "delete_campaign")]
    async fn delete(&self, caller: Caller, campaign_id: Path<Uuid>) -> Result<Done> {
        let (campaigns, id) = (&self.app.services.storage.campaigns, CampaignId::from(campaign_id.0));
        campaigns.delete(caller.user, id).await?;
        Ok(Done::NoContent)
    }

    /// Launch a campaign
    ///
    /// A draft, or a paused one, which goes on. It needs an active agent, and an end that has not passed.
    #[oai(path = "/:campaign_id/launch", method = "post", operation_id = "launch_campaign")]
    async fn launch(&self, caller: Caller, campaign_id: Path<Uuid>) -> Result<Json<CampaignObject>> {
        let (campaigns, id) = (&self.app.services.storage.campaigns, CampaignId::from(campaign_id.0));
        Ok(Json(campaigns.launch(caller.user, id).await?.into()))
    }

    /// Pause an active campaign
    #[oai(path = "/:campaign_id/pause", method = "post", operation_id = "pause_campaign")]
    async fn pause(&self, caller: Caller, campaign_id: Path<Uuid>) -> Result<Json<CampaignObject>> {
        let (campaigns, id) = (&self.app.services.storage.campaigns, CampaignId::from(campaign_id.0));
        Ok(Json(campaigns.pause(caller.user, id).await?.into()))
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() { Err(ApiError::invalid("name", "must not be blank")) } else { Ok(()) }
}

fn check_numbers(numbers: &[String]) -> Result<()> {
    match numbers.iter().position(|number| !phone_number::is_valid(number)) {
        Some(index) => Err(ApiError::invalid(format!("phone_numbers.{index}"), phone_number::ISSUE)),
        None => Ok(()),
    }
}

/// Times that are no longer, or not yet, written with four digits of a year, the databases would not sort.
fn check_time(field: &str, time: Option<DateTime<Utc>>) -> Result<()> {
    if time.is_some_and(|time| !(1..=9999).contains(&time.year())) {
        return Err(ApiError::invalid(field, "must lie between the years 1 and 9999"));
    }
    Ok(())
}
