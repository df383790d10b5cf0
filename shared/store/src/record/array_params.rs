//! Passes many rows to one statement, as one array parameter for each column.

use std::borrow::Cow;

use deadpool_postgres::Object;
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Error, Row, Statement};
use uuid::Uuid;

use crate::sql::{Date, Ts};

/// The parameters of a statement, each of which is an array.
pub(super) trait ArrayParams {
    /// Whether there are no rows.
    fn is_empty(&self) -> bool;

    /// The parameters of the statement.
    fn params(&self) -> Vec<&(dyn ToSql + Sync)>;
}

/// The SQL name of the type of an array's elements.
pub(super) trait Element {
    const TYPE: &'static str;
}

macro_rules! elements {
    ($($type:ty = $name:literal),+ $(,)?) => {
        $(impl Element for $type {
            const TYPE: &'static str = $name;
        })+
    };
}

elements! {
    i16 = "smallint", i32 = "int", i64 = "bigint", Uuid = "uuid", Ts = "timestamptz", Date = "date", &str = "text",
    String = "text", Cow<'_, str> = "text", &[u8] = "bytea", Vec<u8> = "bytea",
}

impl<T> Element for Json<T> {
    const TYPE: &'static str = "jsonb";
}

impl<T: Element> Element for Option<T> {
    const TYPE: &'static str = T::TYPE;
}

/// Defines the arrays of a statement: the values from which a row is made, and for each column its type and its value in a row.
macro_rules! array_params {
    (
        $(#[$doc:meta])*
        $name:ident $(<$life:lifetime>)? of ($($from:ident: $from_type:ty),+) {
            $($column:ident $(as $sql_name:literal)?: $type:ty = $value:expr,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name $(<$life>)? {
            $($column: Vec<$type>,)+
            rows: usize,
        }

        impl $(<$life>)? $name $(<$life>)? {
            /// The name and the element type of each column.
            const COLUMNS: &'static [(&'static str, &'static str)] = &[$((
                $crate::sql::column_name!($column $(: $sql_name)?),
                <$type as $crate::record::array_params::Element>::TYPE,
            )),+];

            fn push(&mut self, $($from: $from_type),+) {
                $(self.$column.push($value);)+
                self.rows += 1;
            }
        }

        impl $(<$life>)? $crate::record::array_params::ArrayParams for $name $(<$life>)? {
            fn is_empty(&self) -> bool {
                self.rows == 0
            }

            fn params(&self) -> Vec<&(dyn tokio_postgres::types::ToSql + Sync)> {
                vec![$(&self.$column),+]
            }
        }
    };
}

pub(super) use array_params;

/// The name and the element type of each column.
pub(super) type Columns = [(&'static str, &'static str)];

/// `SELECT unnest($1::uuid[]) AS id, …`: SQL that turns the arrays into rows.
pub(super) fn select(columns: &Columns) -> String {
    let columns = columns.iter().zip(1..).map(|((name, of), number)| format!("unnest(${number}::{of}[]) AS {name}"));
    format!("SELECT {}", columns.collect::<Vec<_>>().join(", "))
}

/// `INSERT INTO …`: SQL that inserts the rows of the arrays; `table` may have an alias.
pub(super) fn insert(table: &str, columns: &Columns) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    format!("INSERT INTO {table} ({}) {} ", names.join(", "), select(columns))
}

/// A statement with its parameters. `None`: there are no rows, and the statement is not run.
pub(super) struct Prepared<'a>(Option<(Statement, Vec<&'a (dyn ToSql + Sync)>)>);

/// Prepares a statement. This takes a round trip, but only once per connection.
pub(super) async fn prepare<'a>(client: &Object, sql: &str, rows: &'a impl ArrayParams) -> Result<Prepared<'a>, Error> {
    if rows.is_empty() {
        return Ok(Prepared(None));
    }
    Ok(Prepared(Some((client.prepare_cached(sql).await?, rows.params()))))
}

impl Prepared<'_> {
    /// Runs the statement. Returns the number of rows that it changed.
    pub(super) async fn execute(&self, client: &Object) -> Result<u64, Error> {
        let Some((statement, params)) = &self.0 else { return Ok(0) };
        client.execute(statement, params).await
    }

    /// Runs the statement. Returns its rows.
    pub(super) async fn query(&self, client: &Object) -> Result<Vec<Row>, Error> {
        let Some((statement, params)) = &self.0 else { return Ok(Vec::new()) };
        client.query(statement, params).await
    }
}
