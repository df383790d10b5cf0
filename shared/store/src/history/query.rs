//! Builds a `SELECT` from optional conditions.

use deadpool_postgres::GenericClient;
use postrider_model::subscription::TypePattern;
use tokio_postgres::types::ToSql;

use super::{Cursor, Page, PageRequest};
use crate::error::StoreError;
use crate::sql::{FromRow, read_all, read_optional};

type Param = Box<dyn ToSql + Sync + Send>;

/// Maximum number of rows that a list with filters searches for one page. A filter is a condition that no index serves.
///
/// Without this maximum, a filter that few rows pass would read a tenant's whole history, such as 10 million rows. With the
/// maximum, a page may be short, and its cursor continues where the search stopped.
pub(crate) const SEARCHED: i64 = 20_000;

/// Conditions and their parameters. The conditions of the range are served by an index; the filters are applied row by row.
#[derive(Default)]
pub(crate) struct Query {
    range: Vec<Condition>,
    filters: Vec<Condition>,
}

struct Condition {
    /// The condition in SQL. Each `?` stands for one of `params`, in order.
    text: &'static str,
    params: Vec<Param>,
}

impl Query {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that an index serves, or that is cheap on the rows of an index. Each `?` in `text` stands for one of
    /// `params`. Conditions are literals of this crate, never text from a caller.
    pub(crate) fn and(&mut self, text: &'static str, params: impl IntoIterator<Item = Param>) {
        self.range.push(Condition { text, params: params.into_iter().collect() });
    }

    /// Adds a condition that no index serves.
    pub(crate) fn filter(&mut self, text: &'static str, params: impl IntoIterator<Item = Param>) {
        self.filters.push(Condition { text, params: params.into_iter().collect() });
    }

    /// Adds a filter on the column `type`.
    pub(crate) fn filter_type(&mut self, pattern: &TypePattern) {
        match pattern {
            TypePattern::All => {}
            TypePattern::Exact(name) => self.filter("type = ?", [Box::new(name.to_string()) as _]),
            TypePattern::Below(prefix) => self.filter("starts_with(type, ?)", [Box::new(prefix.to_string()) as _]),
        }
    }

    /// Whether there is a filter.
    fn is_filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// The whole statement: rows that meet all conditions, in this order. Its parameters are [`Query::params`].
    ///
    /// If there are filters, the statement searches only the first [`SEARCHED`] rows of the range.
    pub(crate) fn sql(&self, select: &str, order: &str, limit: i64) -> String {
        let (range, filters) = self.conditions();
        if !self.is_filtered() {
            return format!("{select} WHERE {range} ORDER BY {order} LIMIT {limit}");
        }
        format!(
            "SELECT * FROM ({select} WHERE {range} ORDER BY {order} LIMIT {SEARCHED}) searched
             WHERE {filters} ORDER BY {order} LIMIT {limit}"
        )
    }

    /// The conditions of the range, and the filters. Their parameters are [`Query::params`].
    pub(crate) fn conditions(&self) -> (String, String) {
        let (range, next) = numbered(&self.range, 1);
        (range, numbered(&self.filters, next).0)
    }

    /// Reads a page of the rows, in this order. If a search stops early, the page may be short or empty and have a cursor.
    pub(crate) async fn page<T: FromRow>(
        &self,
        client: &impl GenericClient,
        select: &str,
        order: &str,
        page: &PageRequest,
        cursor: impl Fn(&T) -> Cursor,
    ) -> Result<Page<T>, StoreError> {
        let found = read_all(client.query(&self.sql(select, order, page.fetch()), &self.params()).await?)?;
        if !self.is_filtered() || page.is_filled_by(&found) {
            return Ok(Page::of(found, page, cursor));
        }
        let end = read_optional(client.query_opt(&self.end_of_search(select, order), &params(&self.range)).await?)?;
        Ok(Page::searched(found, end.as_ref().map(cursor)))
    }

    /// Whether more rows are in the range than a search reads, so that rows that pass the filters may be left out.
    pub(crate) async fn is_cut(
        &self,
        client: &impl GenericClient,
        select: &str,
        order: &str,
    ) -> Result<bool, StoreError> {
        if !self.is_filtered() {
            return Ok(false);
        }
        Ok(client.query_opt(&self.end_of_search(select, order), &params(&self.range)).await?.is_some())
    }

    /// SQL for the last of the [`SEARCHED`] rows of a search; returns no row if the range has fewer. Its parameters are those
    /// of the range.
    fn end_of_search(&self, select: &str, order: &str) -> String {
        let (range, _) = numbered(&self.range, 1);
        format!("{select} WHERE {range} ORDER BY {order} LIMIT 1 OFFSET {}", SEARCHED - 1)
    }

    /// The parameters of all conditions, in order.
    pub(crate) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        params(self.range.iter().chain(&self.filters))
    }
}

fn params<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Vec<&'a (dyn ToSql + Sync)> {
    conditions
        .into_iter()
        .flat_map(|condition| &condition.params)
        .map(|param| &**param as &(dyn ToSql + Sync))
        .collect()
}

/// Joins conditions and replaces each `?` by a numbered `$n`, starting at `$next`. Returns the text and the next free number.
fn numbered(conditions: &[Condition], mut next: usize) -> (String, usize) {
    if conditions.is_empty() {
        return ("true".to_owned(), next);
    }
    let mut text = String::new();
    for condition in conditions {
        if !text.is_empty() {
            text.push_str(" AND ");
        }
        for part in condition.text.split_inclusive('?') {
            match part.strip_suffix('?') {
                Some(before) => {
                    text.push_str(&format!("{before}${next}"));
                    next += 1;
                }
                None => text.push_str(part),
            }
        }
    }
    (text, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_in_order() {
        let mut query = Query::new();
        assert_eq!(query.sql("SELECT 1", "1", 3), "SELECT 1 WHERE true ORDER BY 1 LIMIT 3");
        query.and("a = ?", [Box::new(1_i32) as _]);
        query.and("(b, c) < (?, ?)", [Box::new(2_i32) as _, Box::new(3_i32) as _]);
        query.and("d", []);
        assert_eq!(query.sql("S", "o", 1), "S WHERE a = $1 AND (b, c) < ($2, $3) AND d ORDER BY o LIMIT 1");
        assert_eq!(query.params().len(), 3);
    }

    #[test]
    fn filters_are_applied_to_the_first_rows_of_the_range() {
        let mut query = Query::new();
        query.filter("d = ?", [Box::new(4_i32) as _]);
        query.and("a = ?", [Box::new(1_i32) as _]);
        let text = query.sql("S", "o", 3);
        let words: Vec<&str> = text.split_whitespace().collect();
        let searched = format!("(S WHERE a = $1 ORDER BY o LIMIT {SEARCHED}) searched");
        assert_eq!(words.join(" "), format!("SELECT * FROM {searched} WHERE d = $2 ORDER BY o LIMIT 3"));
        assert_eq!((query.params().len(), params(&query.range).len()), (2, 1));
        let end = format!("S WHERE a = $1 ORDER BY o LIMIT 1 OFFSET {}", SEARCHED - 1);
        assert_eq!(query.end_of_search("S", "o"), end);
    }
}
