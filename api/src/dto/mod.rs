//! What goes over the wire: bodies that come in and objects that go out, with the names of the contract.

pub(crate) mod auth;
pub(crate) mod files;
pub(crate) mod jobs;
pub(crate) mod process;
pub(crate) mod projects;
pub(crate) mod time;
pub(crate) mod users;
pub(crate) mod voices;

use poem_openapi::types::{ParseFromJSON, ToJSON};
use poem_openapi::{ApiResponse, Object};
use storage::page::Page;

/// What was asked for is done, and there is nothing to say about it.
#[derive(ApiResponse)]
pub(crate) enum Done {
    /// Done
    #[oai(status = 204)]
    NoContent,
}

/// One page of a list, newest first.
#[derive(Object)]
pub(crate) struct Listed<T: ParseFromJSON + ToJSON> {
    pub(crate) items: Vec<T>,
    /// Send it as `cursor` for the next page; null on the last.
    pub(crate) next_cursor: Option<String>,
}

/// Items of a page where the client does not say.
const PAGE: u64 = 50;

pub(crate) fn page(limit: Option<u64>, cursor: Option<String>) -> Page {
    Page { limit: limit.unwrap_or(PAGE), cursor }
}
