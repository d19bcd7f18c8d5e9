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
use storage::page::{Listing, Page};

use crate::app::App;
use crate::caller::Caller;
use crate::dto::agents::AgentObject;
use crate::dto::auth::{ApiKeyObject, CurrentUser};
use crate::dto::calls::CallLogObject;
use crate::dto::campaigns::CampaignObject;
use crate::dto::files::FileObject;
use crate::dto::jobs::JobObject;
use crate::dto::time::Timestamp;
use crate::dto::users::Preferences;
use crate::dto::voices::VoiceObject;
use crate::error::Result;
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
    agents: Vec<AgentObject>,
    campaigns: Vec<CampaignObject>,
    call_logs: Vec<CallLogObject>,
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
    Agents,
    Campaigns,
    CallLogs,
}

impl Section {
    const ALL: [Self; 6] =
        [Self::ApiKeys, Self::Files, Self::Jobs, Self::Agents, Self::Campaigns, Self::CallLogs];

    fn name(self) -> &'static str {
        match self {
            Self::ApiKeys => "api_keys",
            Self::Files => "files",
            Self::Jobs => "jobs",
            Self::Agents => "agents",
            Self::Campaigns => "campaigns",
            Self::CallLogs => "call_logs",
        }
    }

    /// Rows that are read at once. A campaign may be large, and so may the transcript of a call.
    fn rows(self) -> u64 {
        match self {
            Self::ApiKeys | Self::Files | Self::Jobs | Self::Agents => 100,
            Self::CallLogs => 10,
            Self::Campaigns => 1,
        }
    }

    /// One page, each item as JSON.
    async fn page(self, app: &App, caller: &Caller, page: &Page) -> Result<Listing<String>> {
        let storage = &app.services.storage;
        Ok(match self {
            Self::ApiKeys => {
                let keys = storage.api_keys.list(caller.user, page).await?;
                keys.map(|key| ApiKeyObject::from(key).to_json_string())
            }
            Self::Files => {
                let now = Utc::now();
                let files = storage.files.list(caller.user, &Default::default(), page).await?;
                files.map(|file| FileObject::new(file, &caller.links, now).to_json_string())
            }
            Self::Jobs => {
                let Listing { items, next_cursor } =
                    storage.jobs.list(caller.user, &Default::default(), page).await?;
                let mut texts = vec![];
                for job in items {
                    texts.push(jobs::view(app, job).await?.show(&caller.links).to_json_string());
                }
                Listing { items: texts, next_cursor }
            }
            Self::Agents => {
                let agents = storage.agents.every(caller.user, page).await?;
                agents.map(|agent| AgentObject::from(agent).to_json_string())
            }
            Self::Campaigns => {
                let campaigns = storage.campaigns.every(caller.user, page).await?;
                campaigns.map(|campaign| CampaignObject::from(campaign).to_json_string())
            }
            Self::CallLogs => {
                let currency = &app.services.config.currency;
                let calls = storage.calls.every(caller.user, page).await?;
                calls.map(|call| CallLogObject::new(call, currency, &caller.links).to_json_string())
            }
        })
    }
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
