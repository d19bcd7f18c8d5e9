//! The states of a job's row, and which may follow which.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// On disk, waiting for the dispatcher (or for its `run_after`).
    Waiting,
    /// Pushed to the queue of its kind; a worker will claim it.
    Queued,
    /// Claimed under a lease.
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// The five statuses that clients know. The difference between waiting and queued is ours alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    Queued,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub fn status(self) -> JobStatus {
        match self {
            Self::Waiting | Self::Queued => JobStatus::Queued,
            Self::Running => JobStatus::Processing,
            Self::Completed => JobStatus::Completed,
            Self::Failed => JobStatus::Failed,
            Self::Cancelled => JobStatus::Cancelled,
        }
    }

    pub fn is_terminal(self) -> bool {
        match self {
            Self::Waiting | Self::Queued | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether a row in this state may be changed to `next`.
    /// Running → waiting is a retry, a lost lease or a drain; failed → waiting is the owner's retry.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => matches!(next, Self::Queued | Self::Cancelled | Self::Failed),
            Self::Queued => matches!(next, Self::Waiting | Self::Running | Self::Cancelled | Self::Failed),
            Self::Running => {
                matches!(next, Self::Waiting | Self::Completed | Self::Failed | Self::Cancelled)
            }
            Self::Failed => matches!(next, Self::Waiting),
            Self::Completed | Self::Cancelled => false,
        }
    }
}

impl JobStatus {
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Processing, Self::Completed, Self::Failed, Self::Cancelled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// The row states that show as this status.
    pub fn states(self) -> &'static [JobState] {
        match self {
            Self::Queued => &[JobState::Waiting, JobState::Queued],
            Self::Processing => &[JobState::Running],
            Self::Completed => &[JobState::Completed],
            Self::Failed => &[JobState::Failed],
            Self::Cancelled => &[JobState::Cancelled],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{JobState, JobStatus};

    #[test]
    fn every_state_shows_as_the_status_that_lists_it() {
        for state in JobState::ALL {
            assert!(state.status().states().contains(&state));
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
        for status in JobStatus::ALL {
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn only_a_failed_job_comes_back_from_its_end() {
        for state in JobState::ALL.into_iter().filter(|state| state.is_terminal()) {
            for next in JobState::ALL {
                let allowed = state == JobState::Failed && next == JobState::Waiting;
                assert_eq!(state.may_become(next), allowed, "{state:?} to {next:?}");
            }
        }
    }
}
