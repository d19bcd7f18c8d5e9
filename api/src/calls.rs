//! Call logs: what is known of each call.

use std::sync::Arc;

use chrono::NaiveDate;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Html, Json};
use poem_openapi::{ApiResponse, OpenApi};
use storage::calls::CallFilter;
use storage::ids::{AgentId, CallId, CampaignId};
use storage::page::Slice;
use uuid::Uuid;

use crate::app::App;
use crate::call_import::{self, SentCalls};
use crate::call_report;
use crate::caller::{Access, Caller};
use crate::dto::Done;
use crate::dto::calls::{CallLogObject, CallPage, CallStatus, ImportReport};
use crate::error::{ApiError, Result};
use crate::phone_number;
use crate::tags::Tag;

/// Calls of one page where the client does not say.
const PAGE: u64 = 50;

pub(crate) struct CallsApi {
    pub(crate) app: Arc<App>,
}

#[derive(ApiResponse)]
enum Report {
    /// A page for people
    #[oai(status = 200)]
    Page(
        Html<String>,
        /// Lets nothing in but the page's own style and the recording.
        #[oai(header = "Content-Security-Policy")]
        String,
    ),
}

#[OpenApi(prefix_path = "/call-logs", tag = "Tag::Calls")]
impl CallsApi {
    /// List call logs, newest first
    #[oai(path = "/", method = "get", operation_id = "list_call_logs")]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a filter of the query, and the library takes them so"
    )]
    async fn list(
        &self,
        caller: Caller,
        agent_id: Query<Option<Uuid>>,
        campaign_id: Query<Option<Uuid>>,
        status: Query<Option<CallStatus>>,
        /// Exactly, with its `+`, which a URL has as `%2B`.
        phone_number: Query<Option<String>>,
        /// The first day, such as 2024-01-01, in UTC.
        start_date: Query<Option<String>>,
        /// The last day, such as 2024-01-31, in UTC.
        end_date: Query<Option<String>>,
        /// Calls to pass over.
        #[oai(validator(minimum(value = "0"), maximum(value = "1000000000")))]
        skip: Query<Option<u64>>,
        /// Calls of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
    ) -> Result<Json<CallPage>> {
        let filter = CallFilter {
            agent: agent_id.0.map(AgentId::from),
            campaign: campaign_id.0.map(CampaignId::from),
            status: status.0.map(Into::into),
            phone_number: phone_number.0.map(number).transpose()?,
            from: start_date.0.map(|text| day("start_date", &text)).transpose()?,
            until: end_date.0.map(|text| day("end_date", &text)).transpose()?,
        };
        let slice = Slice { skip: skip.0.unwrap_or(0), limit: limit.0.unwrap_or(PAGE) };
        let calls = self.app.services.storage.calls.list(caller.user, &filter, &slice).await?;
        Ok(Json(CallPage::new(calls, &slice)))
    }

    /// Import call logs
    ///
    /// As CSV, whose first line names the columns, or as lines of JSON, both in UTF-8. Columns are the fields of
    /// `ImportedCall`, of which `phone_number` and `status` must be there; in CSV, emotions and key phrases are separated
    /// by semicolons. Lines are taken in blocks as they come, and those at fault are passed over and named in the answer.
    /// A call that was imported before stays as it is: told by its `external_id`; where it has none, but a time, by all
    /// that its line says. So an import that broke off is sent again.
    #[oai(path = "/import", method = "post", operation_id = "import_call_logs")]
    async fn import(&self, caller: Caller, sent: SentCalls) -> Result<Json<ImportReport>> {
        Ok(Json(call_import::import(&self.app, caller.user, sent).await?))
    }

    /// Get a call log
    #[oai(path = "/:call_id", method = "get", operation_id = "get_call_log")]
    async fn get(&self, caller: Caller, call_id: Path<Uuid>) -> Result<Json<CallLogObject>> {
        let call = self.app.services.storage.calls.find(caller.user, CallId::from(call_id.0)).await?;
        Ok(Json(CallLogObject::new(call, &self.app.services.config.currency, &caller.links)))
    }

    /// Delete a call log
    ///
    /// It leaves the analytics too. Its recording stays a file.
    #[oai(path = "/:call_id", method = "delete", operation_id = "delete_call_log")]
    async fn delete(&self, caller: Caller, call_id: Path<Uuid>) -> Result<Done> {
        self.app.services.storage.calls.delete(caller.user, CallId::from(call_id.0)).await?;
        Ok(Done::NoContent)
    }

    /// Read a call log
    ///
    /// As a page for people, with the recording to listen to.
    #[oai(path = "/:call_id/report", method = "get", operation_id = "get_call_report")]
    async fn report(&self, access: Access, call_id: Path<Uuid>) -> Result<Report> {
        let (calls, id) = (&self.app.services.storage.calls, CallId::from(call_id.0));
        let call = match access {
            Access::Owner(caller) => calls.find(caller.user, id).await?,
            Access::Signed => calls.find_signed(id).await?,
        };
        let page = call_report::page(&self.app, &call);
        Ok(Report::Page(Html(page.html), page.policy))
    }
}

/// In a query a `+` that is not escaped is a space.
fn number(text: String) -> Result<String> {
    match phone_number::is_valid(&text) {
        true => Ok(text),
        false => Err(ApiError::invalid("phone_number", "must be as in E.164, with %2B for its +")),
    }
}

fn day(field: &str, text: &str) -> Result<NaiveDate> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    day.ok_or_else(|| ApiError::invalid(field, "must be a day such as 2024-01-31"))
}
