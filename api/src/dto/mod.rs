//! What goes over the wire: bodies that come in and objects that go out, with the names of the contract.

pub(crate) mod admin;
pub(crate) mod agents;
pub(crate) mod auth;
pub(crate) mod batches;
pub(crate) mod calls;
pub(crate) mod campaigns;
pub(crate) mod files;
pub(crate) mod jobs;
pub(crate) mod process;
pub(crate) mod projects;
pub(crate) mod rooms;
pub(crate) mod time;
pub(crate) mod users;
pub(crate) mod voices;
pub(crate) mod webhooks;

use poem_openapi::types::{ParseFromJSON, ToJSON};
use poem_openapi::{ApiResponse, Object};
use storage::page::{Listing, Page, Slice};

use crate::error::{ApiError, Result};

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

/// What `[onevoice]` wraps its objects in.
#[derive(Object)]
pub(crate) struct Data<T: ParseFromJSON + ToJSON> {
    pub(crate) data: T,
}

/// What `[onevoice]` wraps its lists in; one page, newest first.
#[derive(Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct DataList<T: ParseFromJSON + ToJSON> {
    pub(crate) data: Vec<T>,
    /// Where the next page starts; null on the last.
    pub(crate) next_cursor: Option<String>,
}

impl<T: ParseFromJSON + ToJSON> DataList<T> {
    pub(crate) fn of<U>(listing: Listing<U>) -> Self
    where
        T: From<U>,
    {
        Self { data: listing.items.into_iter().map(T::from).collect(), next_cursor: listing.next_cursor }
    }
}

/// What `[voiceera]` wraps its lists in; one part, newest first.
#[derive(Object)]
pub(crate) struct CountedList<T: ParseFromJSON + ToJSON> {
    /// How many there are, here or not.
    pub(crate) total: u64,
    pub(crate) skip: u64,
    pub(crate) limit: u64,
    pub(crate) items: Vec<T>,
}

/// Items of a page where the client does not say.
const PAGE: u64 = 50;

/// Refuses a text of a query that no text of a row can be equal to: not every database takes it.
pub(crate) fn check_plain(field: &str, text: Option<&str>) -> Result<()> {
    if text.is_some_and(|text| text.contains('\0')) {
        return Err(ApiError::invalid(field, "must not hold NUL"));
    }
    Ok(())
}

pub(crate) fn page(limit: Option<u64>, cursor: Option<String>) -> Page {
    Page { limit: limit.unwrap_or(PAGE), cursor }
}

pub(crate) fn slice(skip: Option<u64>, limit: Option<u64>) -> Slice {
    Slice { skip: skip.unwrap_or(0), limit: limit.unwrap_or(PAGE) }
}
