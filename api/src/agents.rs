//! Agents: who speaks in campaigns.

use std::sync::Arc;

use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use storage::agents::AgentFilter;
use storage::ids::AgentId;
use storage::page::Counted;
use uuid::Uuid;

use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::dto::agents::{AgentObject, AgentPatch, AgentStatus, NewAgent, VoiceParameters};
use crate::dto::{CountedList, Done, slice};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// Most bytes of voice parameters, written as JSON.
const LONGEST_PARAMETERS: usize = 16 << 10;

pub(crate) struct AgentsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum CreatedAgent {
    /// The agent exists now
    #[oai(status = 201)]
    Created(Json<AgentObject>),
}

#[OpenApi(prefix_path = "/agents", tag = "Tag::Agents")]
impl AgentsApi {
    /// List agents, newest first
    #[oai(path = "/", method = "get", operation_id = "list_agents")]
    async fn list(
        &self,
        caller: Caller,
        /// Only agents with this in their name or description, in capitals or not.
        #[oai(validator(max_length = 255))]
        search: Query<Option<String>>,
        status: Query<Option<AgentStatus>>,
        /// How many agents to leave out; 0 where absent.
        #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
        skip: Query<Option<u64>>,
        /// Most agents to list; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
    ) -> Result<Json<CountedList<AgentObject>>> {
        if search.0.as_deref().is_some_and(|text| text.contains('\0')) {
            return Err(ApiError::invalid("search", "must not hold NUL"));
        }
        let filter = AgentFilter { search: search.0, status: status.0.map(Into::into) };
        let slice = slice(skip.0, limit.0);
        let agents = self.app.services.storage.agents.list(caller.user, &filter, &slice).await?;
        let Counted { total, items } = agents;
        let items = items.into_iter().map(AgentObject::from).collect();
        Ok(Json(CountedList { total, skip: slice.skip, limit: slice.limit, items }))
    }

    /// Make an agent
    ///
    /// Its name must be the only one of its kind in the account.
    #[oai(path = "/", method = "post", operation_id = "create_agent")]
    async fn create(&self, caller: Caller, body: Body<NewAgent>) -> Result<CreatedAgent> {
        check_name(&body.value.name)?;
        check_parameters(body.value.voice_parameters.as_ref())?;
        let agent = self.app.services.storage.agents.create(body.value.of(caller.user)).await?;
        Ok(CreatedAgent::Created(Json(agent.into())))
    }

    /// Get an agent
    #[oai(path = "/:agent_id", method = "get", operation_id = "get_agent")]
    async fn get(&self, caller: Caller, agent_id: Path<Uuid>) -> Result<Json<AgentObject>> {
        let agent = self.app.services.storage.agents.find(caller.user, AgentId::from(agent_id.0)).await?;
        Ok(Json(agent.into()))
    }

    /// Change an agent
    ///
    /// What is absent stays as it is. The active campaigns of one that becomes inactive are paused.
    #[oai(path = "/:agent_id", method = "put", operation_id = "update_agent")]
    async fn update(
        &self,
        caller: Caller,
        agent_id: Path<Uuid>,
        body: Body<AgentPatch>,
    ) -> Result<Json<AgentObject>> {
        body.value.name.as_deref().map_or(Ok(()), check_name)?;
        check_parameters(body.value.voice_parameters.as_ref())?;
        let (agents, id) = (&self.app.services.storage.agents, AgentId::from(agent_id.0));
        Ok(Json(agents.change(caller.user, id, body.value.into()).await?.into()))
    }

    /// Delete an agent
    ///
    /// Its campaigns stay, without an agent; those that are active are paused.
    #[oai(path = "/:agent_id", method = "delete", operation_id = "delete_agent")]
    async fn delete(&self, caller: Caller, agent_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.agents.delete(caller.user, AgentId::from(agent_id.0)).await?;
        Ok(Done::NoContent)
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() { Err(ApiError::invalid("name", "must not be blank")) } else { Ok(()) }
}

fn check_parameters(parameters: Option<&VoiceParameters>) -> Result<()> {
    let length = parameters.map_or(0, |parameters| serde_json::json!(parameters).to_string().len());
    if length > LONGEST_PARAMETERS {
        let issue = format!("must be at most {LONGEST_PARAMETERS} bytes of JSON");
        return Err(ApiError::invalid("voice_parameters", issue));
    }
    Ok(())
}
