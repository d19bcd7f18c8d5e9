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
