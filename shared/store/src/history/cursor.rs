//! Pages of lists, and the cursors between them.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postrider_model::limits::{PAGE_DEFAULT, PAGE_MAX};
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::sql::Ts;

/// The page to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Maximum number of rows, 1 to [`PAGE_MAX`] (clamped).
    pub limit: u32,
    /// The [`Page::next_cursor`] of the previous page; `None` reads the first page.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: PAGE_DEFAULT, cursor: None }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its rows.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` for the last page. A search that stops early returns a short page with a cursor.
    pub next_cursor: Option<String>,
}

/// The position after the last row of a page, in the order of time and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: UnixMillis,
    pub(crate) id: String,
}

impl PageRequest {
    /// Number of rows to fetch: one more than a page has. The extra row shows that another page follows.
    pub(crate) fn fetch(&self) -> i64 {
        i64::from(self.limit.clamp(1, PAGE_MAX)) + 1
    }

    /// Whether `rows`, fetched with [`PageRequest::fetch`], exceed the page.
    pub(crate) fn is_filled_by<T>(&self, rows: &[T]) -> bool {
        rows.len() > self.limit.clamp(1, PAGE_MAX) as usize
    }

    /// The position after which the page starts, as parameters of a statement. For pages sorted by time and id.
    pub(crate) fn after<T: FromStr>(&self) -> Result<(Option<Ts>, Option<T>), StoreError> {
        match self.cursor()? {
            Some(cursor) => Ok((Some(Ts(cursor.at)), Some(cursor.id()?))),
            None => Ok((None, None)),
        }
    }

    pub(crate) fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        self.cursor.as_deref().map(Cursor::decode).transpose()
    }
}

impl<T> Page<T> {
    /// Makes a page of rows that were fetched with [`PageRequest::fetch`].
    pub(crate) fn of(mut items: Vec<T>, page: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Self {
        let limit = page.limit.clamp(1, PAGE_MAX) as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = if more { items.last().map(|last| cursor(last).encode()) } else { None };
        Self { items, next_cursor }
    }

    /// Makes a page that may be shorter than its limit: `items` are the first of `found` rows.
    pub(crate) fn cut(items: Vec<T>, page: &PageRequest, found: usize, cursor: impl Fn(&T) -> Cursor) -> Self {
        if items.len() == found {
            return Self::of(items, page, cursor);
        }
        let next_cursor = items.last().map(|last| cursor(last).encode());
        Self { items, next_cursor }
    }

    /// Makes a page of a search that found too few rows to fill it. `end` is the position at which the search stopped, if rows
    /// after it were not searched.
    pub(crate) fn searched(items: Vec<T>, end: Option<Cursor>) -> Self {
        Self { items, next_cursor: end.map(|end| end.encode()) }
    }
}

impl Cursor {
    pub(crate) fn of(at: UnixMillis, id: impl ToString) -> Self {
        Self { at, id: id.to_string() }
    }

    pub(crate) fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", self.at.0, self.id))
    }

    fn decode(text: &str) -> Result<Self, StoreError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::InvalidCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::InvalidCursor)?;
        let (at, id) = text.split_once(':').ok_or(StoreError::InvalidCursor)?;
        let at = at.parse().map_err(|_| StoreError::InvalidCursor)?;
        // PostgreSQL stores no times outside this range.
        let sane = (-62_000_000_000_000..=253_000_000_000_000).contains(&at);
        if !sane || id.is_empty() || id.contains('\0') {
            return Err(StoreError::InvalidCursor);
        }
        Ok(Self { at: UnixMillis(at), id: id.to_owned() })
    }

    pub(crate) fn id<T: FromStr>(&self) -> Result<T, StoreError> {
        self.id.parse().map_err(|_| StoreError::InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    proptest! {
        #[test]
        fn what_a_caller_sends_as_a_cursor_reads_back_or_is_refused(
            text in postrider_fuzz::bytes(["1700000000123:evt_a:b", "-1:0194f6c0-a1b2-7c3d-8e9f-001122334455", "0:7"]),
            encoded in any::<bool>(),
        ) {
            let text = if encoded { URL_SAFE_NO_PAD.encode(&*text) } else { String::from_utf8_lossy(&text).into_owned() };
            if let Ok(cursor) = Cursor::decode(&text) {
                prop_assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor.clone());
                prop_assert!(!cursor.id.is_empty() && !cursor.id.contains('\0'));
                // PostgreSQL can store the time, so the time and the id can be parameters.
                let _ = (Ts(cursor.at), cursor.id::<Uuid>());
            }
        }
    }

    #[test]
    fn a_cursor_reads_back_and_others_are_refused() {
        let cursor = Cursor::of(UnixMillis(1_700_000_000_123), "evt_a:b");
        assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        for bad in ["", "x", "%", "MTIz", &URL_SAFE_NO_PAD.encode("9223372036854775807:a")] {
            assert!(matches!(Cursor::decode(bad), Err(StoreError::InvalidCursor)), "{bad}");
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let page = PageRequest { limit: 2, cursor: None };
        let of = |items: Vec<i64>| Page::of(items, &page, |at| Cursor::of(UnixMillis(*at), at));
        assert!(of(vec![1, 2]).next_cursor.is_none());
        let more = of(vec![1, 2, 3]);
        assert_eq!(more.items, [1, 2]);
        assert_eq!(Cursor::decode(&more.next_cursor.unwrap()).unwrap(), Cursor::of(UnixMillis(2), 2));
    }
}
