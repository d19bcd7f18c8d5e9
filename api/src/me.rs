//! What the owner of an account may want of all of it at once.

use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;
use storage::audit::EventKind;

use crate::accounts;
use crate::app::App;
use crate::body::Body;
use crate::caller::Caller;
use crate::dto::Done;
use crate::dto::auth::PasswordProof;
use crate::error::{ApiError, Result};
use crate::export::{self, Export};
use crate::tags::Tag;

pub(crate) struct MeApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/api/v1/auth/me", tag = "Tag::Auth")]
impl MeApi {
    /// Erase the account
    ///
    /// With its files, jobs, webhooks, voices, projects, rooms, history, keys and logins, for good.
    #[oai(path = "/", method = "delete", operation_id = "erase_account")]
    async fn erase(&self, caller: Caller, body: Body<PasswordProof>, request: &Request) -> Result<Done> {
        let user = accounts::confirm(&self.app, caller.user, body.value.password).await?;
        let user =
            user.ok_or_else(|| ApiError::invalid("password", "is not the password of this account"))?;
        self.app.services.storage.erase(user.id).await?;
        self.app.record(request, EventKind::AccountErased, Some(user.id)).await?;
        Ok(Done::NoContent)
    }

    /// Take out all that the account holds
    ///
    /// What is written down of it; the bytes of files are behind their URLs.
    #[oai(path = "/export", method = "get", operation_id = "export_account")]
    async fn export(&self, caller: Caller) -> Result<Export> {
        export::export(self.app.clone(), caller).await
    }
}
