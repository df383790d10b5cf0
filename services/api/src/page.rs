//! Lists.

use postrider_runtime::problem::Problem;
use postrider_store::log::{Page, PageRequest};
use serde::Serialize;
use utoipa::ToSchema;

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
    pub(crate) fn of<U>(page: Page<U>, show: impl FnMut(U) -> T) -> Self {
        Self { data: page.items.into_iter().map(show).collect(), next_cursor: page.next_cursor }
    }

    /// A list that has one page.
    pub(crate) fn whole(data: Vec<T>) -> Self {
        Self { data, next_cursor: None }
    }
}

/// Which page the caller asks for.
pub(crate) fn page_request(params: &Params) -> Result<PageRequest, Problem> {
    Ok(PageRequest { limit: params.limit()?, cursor: params.cursor().map(str::to_owned) })
}
