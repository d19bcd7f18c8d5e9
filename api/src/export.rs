//! All that an account holds, as one JSON document. It is written while it is read, so memory does not grow with it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use futures_util::Stream;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ToJSON, Type};
use poem_openapi::{ApiResponse, Object};
use serde_json::json;
use storage::page::{Listing, NumberedPage, Page};

use crate::app::App;
use crate::caller::Caller;
use crate::dto::agents::AgentObject;
use crate::dto::auth::{ApiKeyObject, CurrentUser};
use crate::dto::calls::CallLogObject;
use crate::dto::campaigns::CampaignObject;
use crate::dto::files::FileObject;
use crate::dto::jobs::JobObject;
use crate::dto::projects::{ProjectObject, VoiceSessionObject};
use crate::dto::rooms::{MessageObject, ParticipantObject, RecordingObject, RoomObject, SessionObject};
use crate::dto::time::Timestamp;
use crate::dto::users::{HistoryDetail, Preferences};
use crate::dto::voices::VoiceObject;
use crate::dto::webhooks::DeliveryObject;
use crate::error::{ApiError, Result};
use crate::jobs;

/// What the document holds. The bytes of files are behind their `download_url`.
#[derive(Object)]
#[oai(rename = "AccountExport")]
struct ExportObject {
    exported_at: Timestamp,
    account: CurrentUser,
    preferences: Preferences,
    voices: Vec<VoiceObject>,
    api_keys: Vec<ApiKeyObject>,
    files: Vec<FileObject>,
    jobs: Vec<JobObject>,
    webhook_deliveries: Vec<DeliveryObject>,
    agents: Vec<AgentObject>,
    campaigns: Vec<CampaignObject>,
    call_logs: Vec<CallLogObject>,
    projects: Vec<ProjectObject>,
    /// Of the projects.
    voice_sessions: Vec<VoiceSessionObject>,
    rooms: Vec<RoomObject>,
    /// Of the rooms.
    room_sessions: Vec<SessionObject>,
    /// Of the rooms.
    recordings: Vec<RecordingObject>,
    /// In whosever rooms.
    participations: Vec<ParticipantObject>,
    /// One's own, in whosever rooms.
    chat_messages: Vec<MessageObject>,
    /// With the voice agent.
    history: Vec<HistoryDetail>,
}

pub(crate) struct Export(Response);

/// Begins the export. What fails later cuts the answer off.
pub(crate) async fn export(app: Arc<App>, caller: Caller) -> Result<Export> {
    let storage = &app.services.storage;
    let account = CurrentUser::from(storage.users.get(caller.user).await?);
    let preferences = Preferences::from(storage.users.preferences(caller.user).await?);
    let voices = storage.voices.list(caller.user, &Default::default()).await?;
    let voices: Vec<_> = voices.into_iter().map(|voice| VoiceObject::from(voice).to_json()).collect();
    let head = json!({
        "exported_at": Timestamp::from(Utc::now()).to_json(),
        "account": account.to_json(),
        "preferences": preferences.to_json(),
        "voices": voices,
    });
    let response = Response::builder()
        .content_type("application/json")
        .header(
            header::CONTENT_DISPOSITION,
            HeaderValue::from_static("attachment; filename=\"voxmill.json\""),
        )
        .body(Body::from_bytes_stream(text(app, caller, head.to_string())));
    Ok(Export(response))
}

/// The lists that may be long.
#[derive(Clone, Copy)]
enum Section {
    ApiKeys,
    Files,
    Jobs,
    WebhookDeliveries,
    Agents,
    Campaigns,
    CallLogs,
    Projects,
    VoiceSessions,
    Rooms,
    RoomSessions,
    Recordings,
    Participations,
    ChatMessages,
    History,
}

impl Section {
    const ALL: [Self; 15] = [
        Self::ApiKeys,
        Self::Files,
        Self::Jobs,
        Self::WebhookDeliveries,
        Self::Agents,
        Self::Campaigns,
        Self::CallLogs,
        Self::Projects,
        Self::VoiceSessions,
        Self::Rooms,
        Self::RoomSessions,
        Self::Recordings,
        Self::Participations,
        Self::ChatMessages,
        Self::History,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::ApiKeys => "api_keys",
            Self::Files => "files",
            Self::Jobs => "jobs",
            Self::WebhookDeliveries => "webhook_deliveries",
            Self::Agents => "agents",
            Self::Campaigns => "campaigns",
            Self::CallLogs => "call_logs",
            Self::Projects => "projects",
            Self::VoiceSessions => "voice_sessions",
            Self::Rooms => "rooms",
            Self::RoomSessions => "room_sessions",
            Self::Recordings => "recordings",
            Self::Participations => "participations",
            Self::ChatMessages => "chat_messages",
            Self::History => "history",
        }
    }

    /// Rows that are read at once. A campaign may be large, and so may what was said in a call
    /// or a conversation.
    fn rows(self) -> u64 {
        match self {
            Self::ApiKeys
            | Self::Files
            | Self::Jobs
            | Self::WebhookDeliveries
            | Self::Agents
            | Self::Projects
            | Self::VoiceSessions
            | Self::Rooms
            | Self::RoomSessions
            | Self::Recordings
            | Self::Participations
            | Self::ChatMessages => 100,
            Self::CallLogs => 10,
            Self::Campaigns | Self::History => 1,
        }
    }

    /// One page, each item as JSON.
    async fn page(self, app: &App, caller: &Caller, page: &Page) -> Result<Listing<String>> {
        let (storage, user) = (&app.services.storage, caller.user);
        Ok(match self {
            Self::ApiKeys => {
                let keys = storage.api_keys.list(user, page).await?;
                keys.map(|key| ApiKeyObject::from(key).to_json_string())
            }
            Self::Files => {
                let now = Utc::now();
                let files = storage.files.list(user, &Default::default(), page).await?;
                files.map(|file| FileObject::new(file, &caller.links, now).to_json_string())
            }
            Self::Jobs => {
                let Listing { items, next_cursor } =
                    storage.jobs.list(user, &Default::default(), page).await?;
                let mut texts = vec![];
                for job in items {
                    texts.push(jobs::view(app, job).await?.show(&caller.links).to_json_string());
                }
                Listing { items: texts, next_cursor }
            }
            Self::WebhookDeliveries => storage
                .webhooks
                .list(user, &Default::default(), page)
                .await?
                .map(text_of::<DeliveryObject, _>),
            Self::Agents => {
                let agents = storage.agents.every(user, page).await?;
                agents.map(|agent| AgentObject::from(agent).to_json_string())
            }
            Self::Campaigns => {
                let campaigns = storage.campaigns.every(user, page).await?;
                campaigns.map(|campaign| CampaignObject::from(campaign).to_json_string())
            }
            Self::CallLogs => {
                let currency = &app.services.config.currency;
                let calls = storage.calls.every(user, page).await?;
                calls.map(|call| CallLogObject::new(call, currency, &caller.links).to_json_string())
            }
            Self::Projects => {
                let projects = storage.projects.list(user, &numbered(page)?).await?;
                let owner = storage.users.get(user).await?.number;
                numbered_listing(projects, |project| project.id.0)
                    .map(|project| ProjectObject::new(project, owner).to_json_string())
            }
            Self::VoiceSessions => {
                let sessions = storage.voice_sessions.list_all(user, &numbered(page)?).await?;
                numbered_listing(sessions, |session| session.id.0).map(text_of::<VoiceSessionObject, _>)
            }
            Self::Rooms => storage.rooms.list(user, page).await?.map(text_of::<RoomObject, _>),
            Self::RoomSessions => {
                storage.meetings.list_all(user, page).await?.map(text_of::<SessionObject, _>)
            }
            Self::Recordings => {
                storage.recordings.list_all(user, page).await?.map(text_of::<RecordingObject, _>)
            }
            Self::Participations => {
                storage.meetings.list_parts(user, page).await?.map(text_of::<ParticipantObject, _>)
            }
            Self::ChatMessages => {
                storage.meetings.said_by(user, page).await?.map(text_of::<MessageObject, _>)
            }
            Self::History => {
                let Listing { items, next_cursor } = storage.conversations.list(user, page).await?;
                let mut texts = vec![];
                for conversation in items {
                    let said = storage.conversations.said(&conversation).await?;
                    texts.push(HistoryDetail::new(conversation, said).to_json_string());
                }
                Listing { items: texts, next_cursor }
            }
        })
    }
}

fn text_of<T: From<U> + ToJSON, U>(row: U) -> String {
    T::from(row).to_json_string()
}

/// The page of a list whose items count up; its cursor is the last number.
fn numbered(page: &Page) -> Result<NumberedPage> {
    let before = page.cursor.as_deref().map(str::parse).transpose().map_err(ApiError::internal)?;
    Ok(NumberedPage { limit: page.limit, before })
}

fn numbered_listing<T>(items: Vec<T>, number: impl Fn(&T) -> i64) -> Listing<T> {
    let next_cursor = items.last().map(|last| number(last).to_string());
    Listing { items, next_cursor }
}

fn text(
    app: Arc<App>,
    caller: Caller,
    head: String,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    async_stream::try_stream! {
        // The head is an object that goes on.
        yield Bytes::from(head.strip_suffix('}').unwrap_or(&head).to_owned());
        for section in Section::ALL {
            yield Bytes::from(format!(",\"{}\":[", section.name()));
            let (mut page, mut separator) = (Page { limit: section.rows(), cursor: None }, "");
            loop {
                let listed = section.page(&app, &caller, &page).await.map_err(io::Error::other)?;
                if !listed.items.is_empty() {
                    yield Bytes::from(format!("{separator}{}", listed.items.join(",")));
                    separator = ",";
                }
                if listed.next_cursor.is_none() {
                    break;
                }
                page.cursor = listed.next_cursor;
            }
            yield Bytes::from_static(b"]");
        }
        yield Bytes::from_static(b"}");
    }
}

impl IntoResponse for Export {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Export {
    fn meta() -> MetaResponses {
        let media = MetaMediaType { content_type: "application/json", schema: ExportObject::schema_ref() };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "All that the account holds",
                status: Some(200),
                status_range: None,
                content: vec![media],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        ExportObject::register(registry);
    }
}
