//! The headings of the document.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Accounts, tokens and keys
    Auth,
    /// Uploads and downloads
    Files,
    /// Jobs: what to do with files
    Processing,
    /// Voices that speak
    Voices,
    /// Live voice
    Live,
    /// For those who run the server
    Operations,
}
