//! Pages of lists.

use postrider_model::limits::PAGE_DEFAULT;
use postrider_store::StoreError;
use postrider_store::history::{Page, PageRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The items of this page, newest first unless the operation says otherwise.
    pub data: Vec<T>,
    /// The `cursor` of the next page; `null` on the last page. A page of a filtered list reads at most 20,000 rows, so it may
    /// have fewer items than `limit`, or none, although further pages follow.
    #[schema(required = true, example = json!(null))]
    pub next_cursor: Option<String>,
}

/// The page of a list that a request selects.
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// Maximum number of items of the page.
    pub limit: u32,
    /// The `next_cursor` of the previous page; `None` for the first page.
    pub cursor: Option<String>,
}

impl Default for PageQuery {
    fn default() -> Self {
        Self { limit: PAGE_DEFAULT, cursor: None }
    }
}

impl<T> List<T> {
    /// Converts a page of the list called `list`.
    pub(crate) fn of<U>(list: &str, page: Page<U>, view: impl FnMut(U) -> T) -> Self {
        let next_cursor = page.next_cursor.map(|place| cursor_of(list, &place));
        Self { data: page.items.into_iter().map(view).collect(), next_cursor }
    }

    /// A list with one page.
    pub(crate) fn whole(data: impl IntoIterator<Item = T>) -> Self {
        Self { data: data.into_iter().collect(), next_cursor: None }
    }
}

impl PageQuery {
    /// Converts this query to a request to the store. `list` is the name of the list; a cursor of another list is refused.
    pub(crate) fn request(&self, list: &str) -> Result<PageRequest, Error> {
        let cursor = self.cursor.as_deref().map(|cursor| place_in(list, cursor)).transpose()?;
        Ok(PageRequest { limit: self.limit, cursor: cursor.map(str::to_owned) })
    }
}

/// Returns the cursor of the position `place`. It contains the name of the list, so that other lists refuse it.
pub(crate) fn cursor_of(list: &str, place: &str) -> String {
    format!("{list}.{place}")
}

/// Returns the position in `list` that `cursor` contains.
pub(crate) fn place_in<'a>(list: &str, cursor: &'a str) -> Result<&'a str, Error> {
    let place = cursor.strip_prefix(list).and_then(|rest| rest.strip_prefix('.'));
    Ok(place.ok_or(StoreError::InvalidCursor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_that_made_a_cursor_takes_it() {
        let cursor = cursor_of("events", "MTIz");
        assert_eq!(place_in("events", &cursor), Ok("MTIz"));
        for other in ["deliveries", "event", "event_types"] {
            assert!(matches!(place_in(other, &cursor), Err(Error::Invalid(_))), "{other}");
        }
        assert!(place_in("events", "MTIz").is_err());
    }
}
