//! The answer to whoever lists campaigns. Each may have a hundred thousand numbers, so they are read one at a time, while
//! the answer is written.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use poem::{Body, IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{ToJSON, Type};
use storage::campaigns::Campaigns;
use storage::error::Error as StorageError;
use storage::ids::{CampaignId, UserId};
use storage::page::{Counted, Slice};

use crate::app::App;
use crate::dto::CountedList;
use crate::dto::campaigns::CampaignObject;

pub(crate) struct CampaignList(Response);

impl CampaignList {
    /// What fails later cuts the answer off.
    pub(crate) fn new(app: &App, owner: UserId, listed: (Counted<CampaignId>, Slice)) -> Self {
        let campaigns = app.services.storage.campaigns.clone();
        let (Counted { total, items }, Slice { skip, limit }) = listed;
        let head = format!("{{\"total\":{total},\"skip\":{skip},\"limit\":{limit},\"items\":[");
        let body = Body::from_bytes_stream(text(head, campaigns, owner, items));
        Self(Response::builder().content_type("application/json; charset=utf-8").body(body))
    }
}

fn text(
    head: String,
    campaigns: Campaigns,
    owner: UserId,
    ids: Vec<CampaignId>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    async_stream::try_stream! {
        yield Bytes::from(head);
        let mut separator = "";
        for id in ids {
            let campaign = match campaigns.find(owner, id).await {
                Ok(campaign) => campaign,
                // Deleted since the ids were read.
                Err(StorageError::NotFound) => continue,
                Err(error) => Err(io::Error::other(error))?,
            };
            yield Bytes::from(format!("{separator}{}", CampaignObject::from(campaign).to_json_string()));
            separator = ",";
        }
        yield Bytes::from_static(b"]}");
    }
}

impl IntoResponse for CampaignList {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for CampaignList {
    fn meta() -> MetaResponses {
        let schema = CountedList::<CampaignObject>::schema_ref();
        let media = MetaMediaType { content_type: "application/json; charset=utf-8", schema };
        MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(200),
                status_range: None,
                content: vec![media],
                headers: vec![],
            }],
        }
    }

    fn register(registry: &mut Registry) {
        CountedList::<CampaignObject>::register(registry);
    }
}
