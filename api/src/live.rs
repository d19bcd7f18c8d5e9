//! Live voice: the way into a room of the media server.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use storage::live_names::LiveName;
use uuid::Uuid;

use crate::Guests;
use crate::app::App;
use crate::body::Body;
use crate::caller::{Caller, Visitor};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

/// For how long a token opens the room. Whoever is in it then stays in.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// For how long after the last token for it a name stays its account's: longer than a call.
const NAME_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A `LiveKit` server, and the key by which it knows ours.
#[derive(Clone)]
pub struct LiveKit {
    /// Where clients find it, such as `wss://livekit.example`; none leaves that to them.
    pub url: Option<String>,
    pub api_key: String,
    pub api_secret: String,
}

pub(crate) struct LiveApi {
    pub(crate) app: Arc<App>,
}

#[derive(Object)]
struct LiveToken {
    /// Opens the room to this identity, for an hour.
    token: String,
    /// Where the media server is, if that is configured.
    url: Option<String>,
}

#[derive(Object)]
struct NewAgentSession {
    /// Name of the room in which the agent speaks.
    #[oai(validator(min_length = 1, max_length = 128))]
    room: String,
    /// With whom it speaks.
    #[oai(validator(min_length = 1, max_length = 128))]
    identity: String,
    /// What it is told to be; the caller's own preference where absent.
    #[oai(validator(max_length = 20000))]
    system_prompt: Option<String>,
}

#[derive(Object)]
struct AgentSession {
    session_id: Uuid,
}

#[OpenApi(tag = "Tag::Live")]
impl LiveApi {
    /// Get a `LiveKit` token
    ///
    /// An identity that an account took in a room is its own until a day after its last token.
    #[oai(path = "/token", method = "get", operation_id = "get_live_token")]
    async fn token(
        &self,
        visitor: Visitor,
        /// Name of the room to join.
        #[oai(validator(min_length = 1, max_length = 128))]
        room: Query<String>,
        /// Who joins it; unique in the room.
        #[oai(validator(min_length = 1, max_length = 128))]
        identity: Query<String>,
        /// How the others see them.
        #[oai(validator(max_length = 200))]
        name: Query<Option<String>>,
    ) -> Result<Json<LiveToken>> {
        let (room, identity) = (plain("room", room.0)?, plain("identity", identity.0)?);
        let name = name.0.map(|name| plain("name", name)).transpose()?;
        let server = self.app.services.config.livekit.as_ref();
        let server = server.ok_or_else(|| ApiError::not_configured("No LiveKit server is configured"))?;
        let caller = self.entrant(visitor)?;
        self.admit(caller, LiveName { room: &room, identity: &identity }).await?;
        let token = server.token(Entry { room, identity, name }, Utc::now())?;
        Ok(Json(LiveToken { token, url: server.url.clone() }))
    }

    /// Start a session with a voice agent
    ///
    /// This server has no live audio, and refuses.
    #[oai(path = "/session", method = "post", operation_id = "start_agent_session")]
    async fn start_session(
        &self,
        visitor: Visitor,
        _body: Body<NewAgentSession>,
    ) -> Result<Json<AgentSession>> {
        self.entrant(visitor)?;
        Err(ApiError::not_configured("This server has no live audio"))
    }
}

impl LiveApi {
    /// Who comes, if they are no guest.
    fn entrant(&self, visitor: Visitor) -> Result<Option<Caller>> {
        // A token that is no good is said to be: whoever sends one does not mean to be a guest.
        match (visitor.0?, self.app.services.config.guests) {
            (None, Guests::KeptOut) => Err(ApiError::unauthenticated()),
            (caller, Guests::Welcome | Guests::KeptOut) => Ok(caller),
        }
    }

    async fn admit(&self, caller: Option<Caller>, name: LiveName<'_>) -> Result<()> {
        let names = &self.app.services.storage.live_names;
        match caller {
            Some(caller) => Ok(names.hold(caller.user, name, NAME_LIFETIME).await?),
            None if names.is_held(name).await? => {
                Err(ApiError::conflict("Somebody else has this identity in this room"))
            }
            None => Ok(()),
        }
    }
}

/// Who enters which room.
struct Entry {
    room: String,
    identity: String,
    name: Option<String>,
}

/// What `LiveKit` reads in a token.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    nbf: i64,
    exp: i64,
    video: VideoGrant<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VideoGrant<'a> {
    room_join: bool,
    room: &'a str,
}

impl LiveKit {
    fn token(&self, entry: Entry, now: DateTime<Utc>) -> Result<String> {
        let claims = Claims {
            iss: &self.api_key,
            sub: &entry.identity,
            name: entry.name.as_deref(),
            nbf: now.timestamp(),
            exp: now.timestamp().saturating_add_unsigned(TOKEN_LIFETIME.as_secs()),
            video: VideoGrant { room_join: true, room: &entry.room },
        };
        let key = EncodingKey::from_secret(self.api_secret.as_bytes());
        encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(ApiError::internal)
    }
}

fn plain(field: &str, text: String) -> Result<String> {
    match text.contains('\0') {
        true => Err(ApiError::invalid(field, "must not hold NUL")),
        false => Ok(text),
    }
}
