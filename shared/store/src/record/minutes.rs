//! Counting attempts by endpoint, by minute and by hour, as part of the statement that inserts them.
//!
//! An hour holds what its minutes add up to, and is what long times are read from. So that this stays so beside recorders of a
//! release that knew no hours, a minute's row says how many of its attempts were counted by hour (`counted_by_hour`); a trigger
//! adds the rest (`migrations/V11__endpoint_hours.sql`).

use std::fmt::Write as _;

use postrider_model::latency::{BOUNDS_US, BUCKETS};

/// A time that intervals of any length begin at.
pub(crate) const WHOLE: &str = "2000-01-01 00:00:00+00";

/// The columns that are counts, and how each is made of attempts. They add up: over batches, minutes and endpoints.
pub(crate) const COUNTS: [(&str, &str); 12] = [
    ("successes", "count(*) FILTER (WHERE outcome = 0)"),
    ("failures", "count(*) FILTER (WHERE outcome <> 0)"),
    ("retries", "count(*) FILTER (WHERE number > 1)"),
    ("duration_us", "sum(duration_us)::bigint"),
    ("first_attempts", "count(since_accepted_ms)"),
    ("first_within_5s", "count(*) FILTER (WHERE since_accepted_ms < 5000)"),
    ("first_within_30s", "count(*) FILTER (WHERE since_accepted_ms < 30000)"),
    ("answers_2xx", "count(*) FILTER (WHERE status_code BETWEEN 200 AND 299)"),
    ("answers_3xx", "count(*) FILTER (WHERE status_code BETWEEN 300 AND 399)"),
    ("answers_4xx", "count(*) FILTER (WHERE status_code BETWEEN 400 AND 499)"),
    ("answers_5xx", "count(*) FILTER (WHERE status_code BETWEEN 500 AND 599)"),
    ("unanswered", "count(*) FILTER (WHERE status_code IS NULL)"),
];

/// Adds the attempts in `fresh` to their minutes and hours, test calls apart. Rows sorted by key, and every minute before any hour: two
/// recorders must not deadlock.
///
/// They are counted by bucket first, and those few rows are then turned into arrays: a filter a bucket on every attempt would
/// cost more.
pub(super) fn count(fresh: &str) -> String {
    let counts = COUNTS.map(|(column, count)| format!("{count} AS {column}")).join(",\n        ");
    let bounds = BOUNDS_US.map(|bound| bound.to_string()).join(",");
    let attempts = "successes + failures";
    let minutes = add("endpoint_minutes", "minute", "by_bucket", &[("counted_by_hour", attempts)]);
    let hours = add("endpoint_hours", "hour", "by_bucket, (SELECT count(*) FROM minutes) AS minutes_first", &[]);
    format!(
        "by_bucket AS (
    SELECT endpoint, date_bin('1 minute', started_at, '{WHOLE}') AS at,
        width_bucket(duration_us, '{{{bounds}}}'::bigint[]) AS bucket, count(*) AS attempts,
        {counts}
    FROM {fresh} WHERE trigger <> 4 GROUP BY 1, 2, 3
), minutes AS ({minutes}
    RETURNING 1
), hours AS ({hours}
)"
    )
}

/// Adds `counted`, by bucket, to the rows of `table`: one for each endpoint and `interval`. `besides` are further sums.
fn add(table: &str, interval: &str, counted: &str, besides: &[(&str, &str)]) -> String {
    let sums = COUNTS.iter().map(|(column, _)| (*column, *column)).chain(besides.iter().copied());
    let (mut columns, mut totals, mut added) = (String::new(), String::new(), String::new());
    for (column, summed) in sums {
        let _ = write!(columns, "{column}, ");
        let _ = write!(totals, "sum({summed})::bigint, ");
        let _ = write!(added, "{column} = had.{column} + excluded.{column}, ");
    }
    let latency = elements(0, |bucket| format!("coalesce(sum(attempts) FILTER (WHERE bucket = {bucket}), 0)"));
    let latency_added = elements(1, |element| format!("had.latency[{element}] + excluded.latency[{element}]"));
    format!(
        "
    INSERT INTO {table} AS had (endpoint, {interval}, {columns}latency)
    SELECT endpoint, date_bin('1 {interval}', at, '{WHOLE}'), {totals}{latency}::integer[]
    FROM {counted} GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (endpoint, {interval}) DO UPDATE SET {added}latency = {latency_added}"
    )
}

/// An array of one expression a bucket, numbered from `first`.
fn elements(first: usize, expression: impl Fn(usize) -> String) -> String {
    let mut array = String::from("ARRAY[");
    for bucket in first..first + BUCKETS {
        let comma = if bucket == first { "" } else { ", " };
        let _ = write!(array, "{comma}{}", expression(bucket));
    }
    array.push(']');
    array
}
