//! Accounts and jobs as administrators see them: what they cost, and nothing of what is in them.

use poem_openapi::Object;
use storage::jobs::Job;
use storage::users::User;
use uuid::Uuid;

use super::jobs::{JobKind, JobStatus, percent};
use super::time::Timestamp;

#[derive(Object)]
#[oai(rename = "AdministeredAccount")]
pub(crate) struct AccountObject {
    id: Uuid,
    number: i64,
    email: String,
    display_name: String,
    /// `user` or `admin`
    role: String,
    disabled: bool,
    quota_bytes: u64,
    created_at: Timestamp,
}

/// What is absent stays as it is.
#[derive(Object)]
pub(crate) struct AccountChange {
    pub(crate) disabled: Option<bool>,
    /// Bytes that the account may store.
    #[oai(validator(minimum(value = "0"), maximum(value = "1152921504606846976")))]
    pub(crate) quota_bytes: Option<u64>,
}

#[derive(Object)]
pub(crate) struct KeyChange {
    /// In place of the limits that hold for browsers.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    pub(crate) requests_per_minute: u32,
}

/// A job of whomever: what it is and how it goes, without what it reads, says or makes.
#[derive(Object)]
#[oai(rename = "AdministeredJob")]
pub(crate) struct ForeignJob {
    job_id: Uuid,
    owner_id: Uuid,
    kind: JobKind,
    status: JobStatus,
    progress: u32,
    stage: Option<String>,
    /// The code of the error of a failed one.
    error_code: Option<String>,
    /// Runs begun.
    attempts: u32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl From<User> for AccountObject {
    fn from(user: User) -> Self {
        Self {
            id: user.id.as_uuid(),
            number: user.number,
            email: user.email,
            display_name: user.display_name,
            role: user.role.as_str().to_owned(),
            disabled: user.disabled,
            quota_bytes: user.quota_bytes,
            created_at: user.created_at.into(),
        }
    }
}

impl From<Job> for ForeignJob {
    fn from(job: Job) -> Self {
        Self {
            job_id: job.id.as_uuid(),
            owner_id: job.owner.as_uuid(),
            kind: job.kind.into(),
            status: job.state.status().into(),
            progress: percent(&job),
            stage: job.stage,
            error_code: job.error.map(|error| error.code),
            attempts: job.attempt,
            created_at: job.created_at.into(),
            started_at: job.started_at.map(Into::into),
            finished_at: job.finished_at.map(Into::into),
        }
    }
}
