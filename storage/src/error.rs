//! What can go wrong at storage's door. What a client may be told of it, and under which status, is the API's to say.

use sea_orm::{DbErr, RuntimeErr};
use std::io;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not exist, or belongs to somebody else: the caller cannot tell which.
    #[error("not found")]
    NotFound,
    /// It exists, and its document lets the caller know that it is somebody else's to see or change.
    #[error("not permitted")]
    Forbidden,
    #[error("{0}")]
    Conflict(Conflict),
    /// A value that cannot be, seen only with the rows at hand.
    #[error("{field}: {issue}")]
    Input { field: String, issue: String },
    /// A field names a file or voice that does not exist for its owner.
    #[error("{field} names nothing that exists")]
    MissingInput { field: String },
    /// What is wrong with one of several jobs, which count from 0.
    #[error("job {index}: {error}")]
    OfJob { index: usize, error: Box<Self> },
    /// In bytes.
    #[error("the quota of {quota} bytes is used up ({used} are used)")]
    QuotaExceeded { quota: u64, used: u64 },
    /// The disk has no room left.
    #[error("no space is left on the disk")]
    Full,
    /// The cause is for the log, never for a client.
    #[error("storage failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What stands in the way of a change that would otherwise be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("an account with this e-mail address exists")]
    EmailTaken,
    #[error("another account holds the name")]
    NameTaken,
    #[error("a job that is not finished needs the file")]
    FileInUse,
    #[error("the job is finished")]
    JobFinished,
    #[error("the job has not failed")]
    JobNotFailed,
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    #[error("the voice is longer than the picture")]
    VoiceTooLong,
    #[error("parts of the upload are missing")]
    UploadIncomplete,
    #[error("the content does not have the checksum that was promised")]
    ChecksumMismatch,
    #[error("the room has a live session")]
    RoomLive,
    #[error("the session is not one that is yet to be")]
    SessionNotScheduled,
    #[error("the session is not live")]
    SessionNotLive,
    #[error("the user is not in the session")]
    NotJoined,
    #[error("the owner of the room is the host of its sessions")]
    OwnerIsHost,
    #[error("somebody shares their screen")]
    ScreenTaken,
    #[error("nobody shares their screen")]
    ScreenFree,
    #[error("an agent of this name exists")]
    AgentExists,
    #[error("the campaign has been launched")]
    CampaignLaunched,
    #[error("the campaign is active")]
    CampaignActive,
    #[error("the campaign is not active")]
    CampaignNotActive,
    #[error("the end of the campaign has passed")]
    CampaignOver,
    #[error("no active agent is in the campaign")]
    CampaignWithoutAgent,
    #[error("the session is recorded already")]
    RecordingRuns,
    #[error("the session is not being recorded")]
    NotRecording,
    #[error("the recording is not paused")]
    NotPaused,
    #[error("the recording has stopped")]
    RecordingStopped,
    #[error("the conversation is over")]
    ConversationOver,
}

impl Error {
    pub(crate) fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    pub(crate) fn input(field: &str, issue: impl Into<String>) -> Self {
        Self::Input { field: field.to_owned(), issue: issue.into() }
    }

    /// Says of which job it is, where it is the job's fault.
    pub(crate) fn of_job(self, index: usize) -> Self {
        match self {
            Self::Conflict(_) | Self::Input { .. } | Self::MissingInput { .. } => {
                Self::OfJob { index, error: Box::new(self) }
            }
            Self::NotFound
            | Self::Forbidden
            | Self::OfJob { .. }
            | Self::QuotaExceeded { .. }
            | Self::Full
            | Self::Internal(_) => self,
        }
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::internal(cause),
        }
    }
}

impl From<DbErr> for Error {
    fn from(cause: DbErr) -> Self {
        if is_disk_full(&cause) { Self::Full } else { Self::internal(cause) }
    }
}

impl From<serde_json::Error> for Error {
    fn from(cause: serde_json::Error) -> Self {
        Self::internal(cause)
    }
}

/// `SQLITE_FULL`. Postgres says 53100.
fn is_disk_full(cause: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = cause
    else {
        return false;
    };
    cause
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| matches!(code.as_ref(), "13" | "53100"))
}

#[cfg(test)]
mod tests {
    use super::Error;
    use std::io;

    #[test]
    fn a_full_disk_is_told_apart() {
        let no_space = io::Error::from_raw_os_error(28);
        assert!(matches!(Error::from(no_space), Error::Full));
        assert!(matches!(Error::from(io::Error::other("broken")), Error::Internal(_)));
    }
}
