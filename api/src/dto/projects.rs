//! Projects and their voice sessions.

use poem_openapi::{Enum, Object};
use storage::projects::Project;
use storage::voice_sessions::VoiceSession;

use super::time::Timestamp;

/// What a project is made of, or becomes where it is replaced.
#[derive(Object)]
#[oai(rename = "NewProject")]
pub(crate) struct ProjectText {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: String,
    #[oai(validator(max_length = 10_000))]
    pub(crate) description: Option<String>,
}

/// What is absent stays as it is.
#[derive(Object)]
pub(crate) struct ProjectPatch {
    #[oai(validator(min_length = 1, max_length = 255))]
    pub(crate) name: Option<String>,
    #[oai(validator(max_length = 10_000))]
    pub(crate) description: Option<String>,
}

#[derive(Object)]
#[oai(rename = "Project")]
pub(crate) struct ProjectObject {
    id: i64,
    name: String,
    description: Option<String>,
    /// The number of the account that it belongs to.
    owner: i64,
    created_at: Timestamp,
}

#[derive(Object)]
pub(crate) struct StartVoiceSession {
    pub(crate) project_id: i64,
}

#[derive(Object)]
pub(crate) struct FinishVoiceSession {
    pub(crate) session_id: i64,
}

#[derive(Object)]
#[oai(rename = "VoiceSession")]
pub(crate) struct VoiceSessionObject {
    id: i64,
    /// Id of the project.
    project: i64,
    status: VoiceSessionStatus,
    started_at: Timestamp,
    /// Null while it runs.
    finished_at: Option<Timestamp>,
    /// Whole seconds; null while it runs.
    duration_seconds: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum VoiceSessionStatus {
    Started,
    Finished,
}

impl ProjectObject {
    /// `owner` is the number of the project's owner.
    pub(crate) fn new(project: Project, owner: i64) -> Self {
        Self {
            id: project.id.0,
            name: project.name,
            description: project.description,
            owner,
            created_at: project.created_at.into(),
        }
    }
}

impl From<VoiceSession> for VoiceSessionObject {
    fn from(session: VoiceSession) -> Self {
        let status = match session.finished_at {
            None => VoiceSessionStatus::Started,
            Some(_) => VoiceSessionStatus::Finished,
        };
        Self {
            id: session.id.0,
            project: session.project.0,
            status,
            started_at: session.started_at.into(),
            duration_seconds: session.duration_seconds(),
            finished_at: session.finished_at.map(Into::into),
        }
    }
}
