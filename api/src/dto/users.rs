//! Users as browsers see them, and what they prefer of voice agents.

use std::collections::HashMap;

use poem_openapi::{Enum, Object};
use serde_json::Value;
use storage::conversations::{Conversation, Utterance};
use storage::users::User;
use uuid::Uuid;

use super::time::Timestamp;

/// An account as `/api/auth` makes it. What is too short or blank is said in that door's own words.
#[derive(Object)]
pub(crate) struct SessionRegistration {
    #[oai(validator(max_length = 254))]
    pub(crate) email: String,
    /// At least 8 characters.
    #[oai(validator(max_length = 128))]
    pub(crate) password: String,
    #[oai(validator(max_length = 200))]
    pub(crate) display_name: String,
}

#[derive(Object)]
pub(crate) struct SessionUser {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) created_at: Timestamp,
}

/// Nobody is logged in.
#[derive(Object)]
pub(crate) struct NotAuthenticated {
    /// Always false.
    pub(crate) authenticated: bool,
}

/// That something was done.
#[derive(Object)]
pub(crate) struct Message {
    pub(crate) message: String,
}

#[derive(Object)]
pub(crate) struct Profile {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) preferences: Preferences,
}

/// What is absent stays as it is.
#[derive(Object)]
pub(crate) struct ProfileChange {
    #[oai(validator(max_length = 200))]
    pub(crate) display_name: Option<String>,
    #[oai(validator(max_length = 254))]
    pub(crate) email: Option<String>,
}

#[derive(Object)]
pub(crate) struct Preferences {
    /// A name such as `alloy` or `nova`.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub(crate) preferred_voice: String,
    /// ISO 639-1 code.
    #[oai(validator(min_length = 2, max_length = 3))]
    pub(crate) preferred_language: String,
    #[oai(validator(max_items = 100))]
    pub(crate) favorite_topics: Vec<String>,
    /// Empty leaves the agent its own.
    #[oai(validator(max_length = 20000))]
    pub(crate) system_prompt_override: String,
}

#[derive(Object)]
pub(crate) struct PasswordChange {
    #[oai(validator(max_length = 1024))]
    pub(crate) current_password: String,
    /// At least 8 characters.
    #[oai(validator(max_length = 128))]
    pub(crate) new_password: String,
}

/// One page of the conversations that a user has had.
#[derive(Object)]
pub(crate) struct History {
    /// Of all pages.
    pub(crate) count: u64,
    /// Where the next page is; null on the last.
    pub(crate) next: Option<String>,
    /// Where the page before is; null on the first.
    pub(crate) previous: Option<String>,
    pub(crate) results: Vec<HistorySession>,
}

#[derive(Object)]
pub(crate) struct HistorySession {
    pub(crate) id: Uuid,
    pub(crate) room: String,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) system_prompt: String,
    pub(crate) utterance_count: u64,
}

/// A conversation, and all that was said in it.
#[derive(Object)]
pub(crate) struct HistoryDetail {
    id: Uuid,
    room: String,
    started_at: Timestamp,
    /// Null while it goes on.
    ended_at: Option<Timestamp>,
    system_prompt: String,
    metadata: HashMap<String, Value>,
    /// In order.
    utterances: Vec<HistoryUtterance>,
}

#[derive(Object)]
struct HistoryUtterance {
    id: Uuid,
    /// Of the conversation.
    session: Uuid,
    role: Speaker,
    text: String,
    /// What happened where nothing was said, such as `speech_started`; else empty.
    event: String,
    is_final: bool,
    created_at: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase", remote = "storage::conversations::Speaker")]
enum Speaker {
    User,
    Agent,
}

/// Whose session it is.
#[derive(Object)]
pub(crate) struct ValidSession {
    /// Always true.
    pub(crate) valid: bool,
    pub(crate) user_id: Uuid,
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) preferences: Preferences,
}

/// It is nobody's session, or has ended.
#[derive(Object)]
pub(crate) struct InvalidSession {
    /// Always false.
    pub(crate) valid: bool,
}

impl From<User> for SessionUser {
    fn from(user: User) -> Self {
        Self {
            id: user.id.as_uuid(),
            email: user.email,
            display_name: user.display_name,
            created_at: user.created_at.into(),
        }
    }
}

impl Profile {
    pub(crate) fn new(user: User, preferences: storage::preferences::Preferences) -> Self {
        let SessionUser { id, email, display_name, created_at } = user.into();
        Self { id, email, display_name, created_at, preferences: preferences.into() }
    }
}

impl From<Conversation> for HistorySession {
    fn from(conversation: Conversation) -> Self {
        Self {
            id: conversation.id.as_uuid(),
            room: conversation.room,
            started_at: conversation.started_at.into(),
            ended_at: conversation.ended_at.map(Into::into),
            system_prompt: conversation.system_prompt,
            utterance_count: u64::from(conversation.utterances),
        }
    }
}

impl HistoryDetail {
    pub(crate) fn new(conversation: Conversation, said: Vec<Utterance>) -> Self {
        let metadata = match conversation.metadata {
            Value::Object(metadata) => metadata.into_iter().collect(),
            _no_object => HashMap::new(),
        };
        Self {
            id: conversation.id.as_uuid(),
            room: conversation.room,
            started_at: conversation.started_at.into(),
            ended_at: conversation.ended_at.map(Into::into),
            system_prompt: conversation.system_prompt,
            metadata,
            utterances: said.into_iter().map(HistoryUtterance::from).collect(),
        }
    }
}

impl From<Utterance> for HistoryUtterance {
    fn from(utterance: Utterance) -> Self {
        Self {
            id: utterance.id.as_uuid(),
            session: utterance.conversation.as_uuid(),
            role: utterance.role.into(),
            text: utterance.text,
            event: utterance.event,
            is_final: utterance.is_final,
            created_at: utterance.created_at.into(),
        }
    }
}

impl From<storage::preferences::Preferences> for Preferences {
    fn from(preferences: storage::preferences::Preferences) -> Self {
        let storage::preferences::Preferences {
            preferred_voice,
            preferred_language,
            favorite_topics,
            system_prompt_override,
        } = preferences;
        Self { preferred_voice, preferred_language, favorite_topics, system_prompt_override }
    }
}

impl From<Preferences> for storage::preferences::Preferences {
    fn from(preferences: Preferences) -> Self {
        let Preferences { preferred_voice, preferred_language, favorite_topics, system_prompt_override } =
            preferences;
        Self { preferred_voice, preferred_language, favorite_topics, system_prompt_override }
    }
}
