//! A `SELECT` put together from optional conditions.

use tokio_postgres::types::ToSql;

type Param = Box<dyn ToSql + Sync + Send>;

/// Conditions and their parameters.
#[derive(Default)]
pub(crate) struct Query {
    conditions: Vec<String>,
    params: Vec<Param>,
}

impl Query {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a condition; each `?` in it takes one of `params`. Conditions are literals of this crate, never a caller's text.
    pub(crate) fn and(&mut self, condition: &'static str, params: impl IntoIterator<Item = Param>) {
        let mut text = String::with_capacity(condition.len() + 4);
        let mut params = params.into_iter();
        for part in condition.split_inclusive('?') {
            match (part.strip_suffix('?'), params.next()) {
                (Some(before), Some(param)) => {
                    self.params.push(param);
                    text.push_str(&format!("{before}${}", self.params.len()));
                }
                _ => text.push_str(part),
            }
        }
        self.conditions.push(text);
    }

    /// The whole statement.
    pub(crate) fn sql(&self, select: &str, order: &str, limit: i64) -> String {
        let conditions = if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") };
        format!("{select} WHERE {conditions} ORDER BY {order} LIMIT {limit}")
    }

    /// The parameters, in their order.
    pub(crate) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect()
    }
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
}
