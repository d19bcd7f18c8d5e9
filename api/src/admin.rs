//! For administrators: who has an account, what the jobs of all come to, and what each may have. What users made and said
//! stays theirs: nothing here leads to it.

use std::num::NonZeroU32;
use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use storage::audit::EventKind;
use storage::ids::{ApiKeyId, UserId};
use storage::jobs::JobFilter;
use storage::users::{Access, Administered};
use uuid::Uuid;

use crate::app::App;
use crate::body::Body;
use crate::caller::Administrator;
use crate::dto::admin::{AccountChange, AccountObject, ForeignJob, KeyChange};
use crate::dto::jobs::{JobKind, JobStatus};
use crate::dto::{Done, Listed, check_plain, page};
use crate::error::{ApiError, Result};
use crate::tags::Tag;

pub(crate) struct AdminApi {
    pub(crate) app: Arc<App>,
}

#[OpenApi(prefix_path = "/api/v1/admin", tag = "Tag::Operations")]
impl AdminApi {
    /// List the accounts, newest first
    #[oai(path = "/users", method = "get", operation_id = "list_accounts")]
    async fn list_users(
        &self,
        _administrator: Administrator,
        /// The account of this address alone.
        email: Query<Option<String>>,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<AccountObject>>> {
        let users = &self.app.services.storage.users;
        check_plain("email", email.0.as_deref())?;
        let Some(email) = email.0 else {
            let users = users.list(&page(limit.0, cursor.0)).await?.map(AccountObject::from);
            return Ok(Json(Listed { items: users.items, next_cursor: users.next_cursor }));
        };
        let items = users.by_email(&email).await?.into_iter().map(AccountObject::from).collect();
        Ok(Json(Listed { items, next_cursor: None }))
    }

    /// Get an account
    #[oai(path = "/users/:user_id", method = "get", operation_id = "get_account")]
    async fn get_user(
        &self,
        _administrator: Administrator,
        user_id: Path<Uuid>,
    ) -> Result<Json<AccountObject>> {
        Ok(Json(self.app.services.storage.users.get(UserId::from(user_id.0)).await?.into()))
    }

    /// Disable or enable an account, or set its quota
    ///
    /// The logins and keys of a disabled account are as if they did not exist, until it is enabled again.
    #[oai(path = "/users/:user_id", method = "patch", operation_id = "update_account")]
    async fn update_user(
        &self,
        administrator: Administrator,
        user_id: Path<Uuid>,
        body: Body<AccountChange>,
        request: &Request,
    ) -> Result<Json<AccountObject>> {
        let AccountChange { disabled, quota_bytes } = body.value;
        let user = UserId::from(user_id.0);
        if disabled == Some(true) && administrator.0.user == user {
            return Err(ApiError::conflict("Another administrator must disable this account"));
        }
        let access = disabled.map(|disabled| if disabled { Access::Disabled } else { Access::Enabled });
        let change = Administered { access, quota_bytes };
        let account = self.app.services.storage.users.administer(user, change).await?;
        if let Some(access) = access {
            let kind = match access {
                Access::Disabled => EventKind::AccountDisabled,
                Access::Enabled => EventKind::AccountEnabled,
            };
            self.app.record(request, kind, Some(user)).await?;
        }
        Ok(Json(account.into()))
    }

    /// Give an API key a rate of its own
    #[oai(
        path = "/users/:user_id/api-keys/:key_id",
        method = "patch",
        operation_id = "update_account_api_key"
    )]
    async fn update_key(
        &self,
        _administrator: Administrator,
        user_id: Path<Uuid>,
        key_id: Path<Uuid>,
        body: Body<KeyChange>,
    ) -> Result<Done> {
        let rate = NonZeroU32::new(body.value.requests_per_minute)
            .ok_or_else(|| ApiError::invalid("requests_per_minute", "must be at least 1"))?;
        let (user, key) = (UserId::from(user_id.0), ApiKeyId::from(key_id.0));
        self.app.services.storage.api_keys.set_rate(user, key, rate).await?;
        Ok(Done::NoContent)
    }

    /// List the jobs of all users, newest first
    #[oai(path = "/jobs", method = "get", operation_id = "list_all_jobs")]
    async fn list_jobs(
        &self,
        _administrator: Administrator,
        status: Query<Option<JobStatus>>,
        kind: Query<Option<JobKind>>,
        /// Of this user alone.
        user_id: Query<Option<Uuid>>,
        /// Items of one page; 50 where absent.
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u64>>,
        cursor: Query<Option<String>>,
    ) -> Result<Json<Listed<ForeignJob>>> {
        let filter = JobFilter {
            status: status.0.map(Into::into),
            kind: kind.0.map(Into::into),
            ..JobFilter::default()
        };
        let page = page(limit.0, cursor.0);
        let jobs = &self.app.services.storage.jobs;
        let jobs = match user_id.0 {
            Some(user) => jobs.list(UserId::from(user), &filter, &page).await?,
            None => jobs.list_all(&filter, &page).await?,
        };
        let jobs = jobs.map(ForeignJob::from);
        Ok(Json(Listed { items: jobs.items, next_cursor: jobs.next_cursor }))
    }
}
