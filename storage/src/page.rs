//! Lists come a page at a time, newest first. A cursor names the last row seen, not a count of rows,
//! so rows that come or go in between neither repeat nor hide others.

use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

/// Most items of one page.
pub const LARGEST_PAGE: u64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At least 1, at most [`LARGEST_PAGE`]; what lies outside is brought inside.
    pub limit: u64,
    /// `next_cursor` of the page before; none is the first page. A cursor that we did not make is
    /// [`Error::Input`] with the field `cursor`.
    pub cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// None on the last page.
    pub next_cursor: Option<String>,
}

/// A part of a list whose items count up, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedPage {
    /// At least 1, at most [`LARGEST_PAGE`]; what lies outside is brought inside.
    pub limit: u64,
    /// Only items with a smaller number: the last one of the page before.
    pub before: Option<i64>,
}

/// A part of a list whose readers count what they have seen, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// How many items come before it.
    pub skip: u64,
    /// At least 1, at most [`LARGEST_PAGE`]; what lies outside is brought inside.
    pub limit: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted<T> {
    /// Of the whole list.
    pub total: u64,
    pub items: Vec<T>,
}

impl Page {
    /// The first page, as large as pages go.
    pub fn first() -> Self {
        Self { limit: LARGEST_PAGE, cursor: None }
    }

    fn limit(&self) -> u64 {
        self.limit.clamp(1, LARGEST_PAGE)
    }
}

impl<T> Listing<T> {
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Listing<U> {
        Listing { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }

    pub(crate) fn try_map<U>(self, convert: impl FnMut(T) -> Result<U>) -> Result<Listing<U>> {
        let items = self.items.into_iter().map(convert).collect::<Result<_>>()?;
        Ok(Listing { items, next_cursor: self.next_cursor })
    }
}

/// Where a row stands in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

/// The columns by which a table is listed.
pub(crate) struct Keys<C> {
    pub(crate) created_at: C,
    pub(crate) id: C,
}

/// Narrows `select` to one page, and one row more that tells whether another page follows.
pub(crate) fn narrow<E, C>(select: Select<E>, keys: Keys<C>, page: &Page) -> Result<Select<E>>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    let mut select = select;
    if let Some(cursor) = &page.cursor {
        let last = Position::parse(cursor).ok_or_else(|| Error::input("cursor", "is not one of ours"))?;
        // Implied by the second condition, and what lets the index start at the cursor.
        select = select.filter(keys.created_at.lte(last.created_at)).filter(
            Condition::any()
                .add(keys.created_at.lt(last.created_at))
                .add(Condition::all().add(keys.created_at.eq(last.created_at)).add(keys.id.lt(last.id))),
        );
    }
    Ok(select.order_by_desc(keys.created_at).order_by_desc(keys.id).limit(page.limit() + 1))
}

/// Narrows `select` to one page by the column that counts up.
pub(crate) fn narrow_numbered<E, C>(select: Select<E>, number: C, page: &NumberedPage) -> Select<E>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    let select = match page.before {
        Some(before) => select.filter(number.lt(before)),
        None => select,
    };
    select.order_by_desc(number).limit(page.limit.clamp(1, LARGEST_PAGE))
}

/// Narrows `select` to one slice.
pub(crate) fn narrow_slice<E, C>(select: Select<E>, keys: Keys<C>, slice: &Slice) -> Select<E>
where
    E: EntityTrait,
    C: ColumnTrait,
{
    select
        .order_by_desc(keys.created_at)
        .order_by_desc(keys.id)
        .offset(slice.skip.min(i64::MAX as u64))
        .limit(slice.limit.clamp(1, LARGEST_PAGE))
}

/// The page out of the rows that [`narrow`] selected.
pub(crate) fn listing<R>(rows: Vec<R>, page: &Page, position: impl Fn(&R) -> Position) -> Listing<R> {
    let limit = page.limit() as usize;
    let mut items = rows;
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = if more { items.last().map(|row| position(row).to_text()) } else { None };
    Listing { items, next_cursor }
}

impl Position {
    fn to_text(self) -> String {
        format!("{:016x}{}", self.created_at.timestamp_micros(), self.id.simple())
    }

    fn parse(text: &str) -> Option<Self> {
        let (micros, id) = text.split_at_checked(16)?;
        let micros = i64::from_str_radix(micros, 16).ok()?;
        if id.len() != 32 {
            return None;
        }
        Some(Self { created_at: DateTime::from_timestamp_micros(micros)?, id: Uuid::try_parse(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::Position;
    use chrono::DateTime;
    use uuid::Uuid;

    #[test]
    fn a_cursor_is_read_back_and_nonsense_is_refused() {
        let position = Position {
            created_at: DateTime::from_timestamp_micros(1_795_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        assert_eq!(Position::parse(&position.to_text()), Some(position));
        for text in ["", "x", "é", &"z".repeat(48), &position.to_text()[1..], "00000000000000001"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }
}
