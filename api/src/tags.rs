//! The headings of the document.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Accounts, tokens and keys
    Auth,
    /// What users are called, and what they prefer
    Users,
    /// Uploads and downloads
    Files,
    /// Jobs: what to do with files
    Processing,
    /// Webhooks: telling your server that a job has ended
    ///
    /// Standard Webhooks 1.0: the body is `{type, timestamp, data}`, with `job.completed`, `job.failed` or `job.cancelled` for
    /// its type and the job's status for its data, without what it made.
    Webhooks,
    /// Voices that speak
    Voices,
    /// Projects, and the voice sessions inside them
    Projects,
    /// Rooms, and the sessions held in them
    Rooms,
    /// Live voice
    Live,
    /// Agents that speak with whom they call
    Agents,
    /// Campaigns: whom an agent calls, and when
    Campaigns,
    /// Call logs, their recordings, and what they add up to
    Calls,
    /// For those who run the server
    Operations,
}
