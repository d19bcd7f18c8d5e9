//! Why a job ended without a result: a stable code, a sentence for its owner, and whether trying again may help.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The `error` of a job's status. The cause in detail goes to the log, never in here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable, lower case with underscores, such as `media_truncated`.
    pub code: String,
    /// What happened and what to do about it. Holds no path, no SQL and no token.
    pub message: String,
    /// True when the same job may succeed later; the engine then tries again by itself.
    pub retryable: bool,
    /// Trying again sooner is not wanted, whatever the usual wait is.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// The input or the request is at fault: trying again gives the same.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retryable: false, retry_after: None }
    }

    /// Something around the job failed: trying again may help.
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retryable: true, retry_after: None }
    }

    /// The same failure, after which nothing is tried again for so long.
    pub fn not_before(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn internal() -> Self {
        Self::transient(
            "internal_error",
            "Something failed on our side. The log of the server has the cause.",
        )
    }

    pub fn poison() -> Self {
        Self::permanent(
            "poison",
            "The worker crashed each time it ran this job, so it is not run again. The input may be at fault.",
        )
    }

    pub fn timed_out() -> Self {
        Self::permanent("timed_out", "The job took longer than the limit for its kind. Try a shorter input.")
    }
}
