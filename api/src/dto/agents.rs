//! Agents.

use std::collections::BTreeMap;

use poem_openapi::{Enum, Object};
use serde_json::Value;
use storage::agents::{Agent, AgentChange};
use storage::ids::UserId;
use uuid::Uuid;

use super::time::Timestamp;

/// How the agent is to sound, such as `voice_id`, `speed` and `tone`; kept as sent.
pub(crate) type VoiceParameters = BTreeMap<String, Value>;

#[derive(Object)]
pub(crate) struct NewAgent {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: String,
    #[oai(validator(max_length = 10_000))]
    description: Option<String>,
    #[oai(validator(min_length = 1, max_length = 100))]
    llm_provider: String,
    #[oai(validator(min_length = 1, max_length = 200))]
    llm_model: String,
    #[oai(validator(min_length = 1, max_length = 100))]
    stt_provider: String,
    #[oai(validator(min_length = 1, max_length = 100))]
    tts_provider: String,
    #[oai(validator(max_length = 32_000))]
    system_prompt: String,
    /// Such as `en` or `pt-BR`.
    #[oai(validator(min_length = 2, max_length = 35))]
    language: String,
    /// How the agent is to sound; kept as sent.
    pub(crate) voice_parameters: Option<VoiceParameters>,
}

/// What is absent stays as it is.
#[derive(Object)]
pub(crate) struct AgentPatch {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: Option<String>,
    #[oai(validator(max_length = 10_000))]
    description: Option<String>,
    #[oai(validator(min_length = 1, max_length = 100))]
    llm_provider: Option<String>,
    #[oai(validator(min_length = 1, max_length = 200))]
    llm_model: Option<String>,
    #[oai(validator(min_length = 1, max_length = 100))]
    stt_provider: Option<String>,
    #[oai(validator(min_length = 1, max_length = 100))]
    tts_provider: Option<String>,
    #[oai(validator(max_length = 32_000))]
    system_prompt: Option<String>,
    /// Such as `en` or `pt-BR`.
    #[oai(validator(min_length = 2, max_length = 35))]
    language: Option<String>,
    /// All of them together.
    pub(crate) voice_parameters: Option<VoiceParameters>,
    status: Option<AgentStatus>,
}

#[derive(Object)]
#[oai(rename = "Agent")]
pub(crate) struct AgentObject {
    id: Uuid,
    user_id: Uuid,
    name: String,
    description: Option<String>,
    llm_provider: String,
    llm_model: String,
    stt_provider: String,
    tts_provider: String,
    system_prompt: String,
    language: String,
    voice_parameters: VoiceParameters,
    status: AgentStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// An inactive one takes no part in campaigns.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::agents::AgentStatus")]
pub(crate) enum AgentStatus {
    Active,
    Inactive,
}

impl NewAgent {
    pub(crate) fn of(self, owner: UserId) -> storage::agents::NewAgent {
        storage::agents::NewAgent {
            owner,
            name: self.name,
            description: self.description,
            llm_provider: self.llm_provider,
            llm_model: self.llm_model,
            stt_provider: self.stt_provider,
            tts_provider: self.tts_provider,
            system_prompt: self.system_prompt,
            language: self.language,
            voice_parameters: self.voice_parameters.unwrap_or_default().into_iter().collect(),
        }
    }
}

impl From<AgentPatch> for AgentChange {
    fn from(patch: AgentPatch) -> Self {
        Self {
            name: patch.name,
            description: patch.description,
            llm_provider: patch.llm_provider,
            llm_model: patch.llm_model,
            stt_provider: patch.stt_provider,
            tts_provider: patch.tts_provider,
            system_prompt: patch.system_prompt,
            language: patch.language,
            voice_parameters: patch.voice_parameters.map(|parameters| parameters.into_iter().collect()),
            status: patch.status.map(Into::into),
        }
    }
}

impl From<Agent> for AgentObject {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id.as_uuid(),
            user_id: agent.owner.as_uuid(),
            name: agent.name,
            description: agent.description,
            llm_provider: agent.llm_provider,
            llm_model: agent.llm_model,
            stt_provider: agent.stt_provider,
            tts_provider: agent.tts_provider,
            system_prompt: agent.system_prompt,
            language: agent.language,
            voice_parameters: agent.voice_parameters.into_iter().collect(),
            status: agent.status.into(),
            created_at: agent.created_at.into(),
            updated_at: agent.updated_at.into(),
        }
    }
}
