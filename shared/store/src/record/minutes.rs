//! Counting attempts by endpoint and minute, as part of the statement that inserts them.

use std::fmt::Write as _;

use postrider_model::latency::{BOUNDS_US, BUCKETS};

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

/// Adds the attempts in `fresh` to their minutes, test calls apart. Rows sorted by key: two recorders must not deadlock.
///
/// They are counted by bucket first, and those few rows are then turned into arrays: a filter a bucket on every attempt would
/// cost more.
pub(super) fn count(fresh: &str) -> String {
    let columns = COUNTS.map(|(column, _)| column).join(", ");
    let counts = COUNTS.map(|(column, count)| format!("{count} AS {column}")).join(",\n            ");
    let totals = COUNTS.map(|(column, _)| format!("sum({column})::bigint")).join(", ");
    let added = COUNTS.map(|(column, _)| format!("{column} = m.{column} + excluded.{column}")).join(", ");
    let bounds = BOUNDS_US.map(|bound| bound.to_string()).join(",");
    let latency = elements(0, |bucket| format!("coalesce(sum(attempts) FILTER (WHERE bucket = {bucket}), 0)"));
    let latency_added = elements(1, |element| format!("m.latency[{element}] + excluded.latency[{element}]"));
    format!(
        "
    INSERT INTO endpoint_minutes AS m (endpoint, minute, {columns}, latency)
    SELECT endpoint, minute, {totals}, {latency}::integer[]
    FROM (
        SELECT endpoint, date_bin('1 minute', started_at, '2000-01-01 00:00:00+00') AS minute,
            width_bucket(duration_us, '{{{bounds}}}'::bigint[]) AS bucket, count(*) AS attempts,
            {counts}
        FROM {fresh} WHERE trigger <> 4 GROUP BY 1, 2, 3
    ) AS by_bucket
    GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (endpoint, minute) DO UPDATE SET {added}, latency = {latency_added}"
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
