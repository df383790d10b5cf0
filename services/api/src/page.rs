//! Lists.

use postrider_http::problem::Problem;
use postrider_store::StoreError;
use postrider_store::history::{Page, PageRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::errors::store_problem;
use crate::request::Params;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The page's members, newest first unless the operation says otherwise.
    pub(crate) data: Vec<T>,
    /// Give it as `cursor` to get the next page; `null`: this is the last. A page of a filtered list may hold fewer members
    /// than asked for, even none, and still not be the last: each looks through 20,000 at most.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of `list`.
    pub(crate) fn of<U>(list: &str, page: Page<U>, show: impl FnMut(U) -> T) -> Self {
        let next_cursor = page.next_cursor.map(|cursor| cursor_of(list, &cursor));
        Self { data: page.items.into_iter().map(show).collect(), next_cursor }
    }

    /// A list that has one page.
    pub(crate) fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

/// A cursor names its list, so that no other list takes it.
pub(crate) fn cursor_of(list: &str, place: &str) -> String {
    format!("{list}.{place}")
}

/// The place in `list` that `cursor` stands for.
///
/// # Errors
/// 422 for a cursor of another list.
pub(crate) fn place_in<'a>(list: &str, cursor: &'a str) -> Result<&'a str, Problem> {
    let place = cursor.strip_prefix(list).and_then(|rest| rest.strip_prefix('.'));
    place.ok_or_else(|| store_problem(StoreError::InvalidCursor))
}

/// Which page of `list` the caller asks for.
pub(crate) fn page_request(list: &str, params: &Params) -> Result<PageRequest, Problem> {
    let cursor = params.cursor().map(|cursor| place_in(list, cursor)).transpose()?;
    Ok(PageRequest { limit: params.limit()?, cursor: cursor.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_taken_by_its_own_list_only() {
        let cursor = cursor_of("events", "MTIz");
        assert_eq!(place_in("events", &cursor).ok(), Some("MTIz"));
        for other in ["deliveries", "event", "event_types"] {
            assert_eq!(place_in(other, &cursor).unwrap_err().status, 422, "{other}");
        }
        assert!(place_in("events", "MTIz").is_err());
    }
}
