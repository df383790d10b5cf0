//! The counts of each hour equal the sum of its minutes and of its causes, after concurrent writes and after retention.

use futures::future::join_all;
use postrider_model::endpoint::EndpointOrder;
use postrider_model::ids::EndpointId;
use postrider_model::latency::BUCKETS;
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::history::PageRequest;
use postrider_store::stats::{Stats, StatsOf};

use crate::stats::{HOUR, MINUTE, attempted, forget_scans, noon, scans};
use crate::support::{Fixture, LOCK_TIMEOUT, batch, new_endpoint};

const COUNTS: [&str; 12] = [
    "successes",
    "failures",
    "retries",
    "duration_us",
    "first_attempts",
    "first_within_5s",
    "first_within_30s",
    "answers_2xx",
    "answers_3xx",
    "answers_4xx",
    "answers_5xx",
    "unanswered",
];

/// Returns the number of hours, and the number of hours that differ from the sum of their minutes.
async fn hours(fixture: &Fixture) -> (i64, i64) {
    let sums = COUNTS.map(|column| format!("sum({column})::bigint")).join(", ");
    let latency: [String; BUCKETS] = std::array::from_fn(|bucket| format!("sum(latency[{}])::bigint", bucket + 1));
    let of = |table: &str, began: &str| {
        format!(
            "SELECT endpoint, date_bin('1 hour', {began}, '2000-01-01Z'), {sums}, {} FROM {table} GROUP BY 1, 2",
            latency.join(", ")
        )
    };
    let (minutes, hours) = (of("endpoint_minutes", "minute"), of("endpoint_hours", "hour"));
    let differ = format!(
        "SELECT count(*) FROM (({minutes} EXCEPT {hours}) UNION ALL ({hours} EXCEPT {minutes})) AS without_equal"
    );
    (fixture.number("SELECT count(*) FROM endpoint_hours").await, fixture.number(&differ).await)
}

#[tokio::test]
async fn an_hour_equals_the_sum_of_its_minutes_after_concurrent_duplicates() {
    let fixture = Fixture::new("hours").await;
    let store = &fixture.store;
    let endpoints: Vec<_> = (0..12).map(|_| EndpointId::generate()).collect();
    // Each batch has an attempt of every endpoint. All batches share the minutes of two hours.
    let about = |round: i64| {
        let one = |(number, endpoint): (usize, &EndpointId)| {
            let at = UnixMillis(noon().0 + HOUR - 4 * MINUTE + (round + number as i64) % 7 * MINUTE);
            attempted(*endpoint, at, 100, 1_000 << number, [Some(200), Some(503), None][number % 3])
        };
        batch(vec![], vec![], endpoints.iter().enumerate().map(one).collect())
    };
    let batches: Vec<_> = (0..24).map(about).collect();
    let again = batches.iter().chain(batches.iter().rev()).map(|batch| async {
        while let Err(error) = store.record().write(batch).await {
            assert!(error.is_retryable(), "{error}");
        }
    });
    join_all(again).await;
    assert_eq!(fixture.number("SELECT sum(successes + failures)::bigint FROM endpoint_minutes").await, 12 * 24);
    assert_eq!(hours(&fixture).await, (24, 0));
    let by_cause = "SELECT count(*) FROM (
        SELECT endpoint, hour, failures FROM endpoint_hours WHERE failures > 0
        EXCEPT SELECT endpoint, hour, sum(attempts) FROM endpoint_failures GROUP BY 1, 2) AS without_equal";
    assert_eq!(fixture.number(by_cause).await, 0, "the failures of an hour are the sum of its causes");
    assert_eq!(fixture.number("SELECT sum(attempts)::bigint FROM endpoint_failures").await, 8 * 24);
}

/// The number of attempts in each hour of a range.
async fn read(store: &Store, endpoint: EndpointId, from: UnixMillis, to: UnixMillis) -> Vec<(i64, u64)> {
    let hours = store.history().stats(StatsOf::Endpoint(endpoint), IntervalLength::Hour, from, to).await.unwrap();
    hours.iter().map(|(at, stats)| (at.0, Stats::attempts(stats))).collect()
}

#[tokio::test]
async fn a_range_has_the_hours_that_begin_in_it_and_a_list_has_them_all() {
    let fixture = Fixture::new("edges").await;
    let (store, tenant, at) = (&fixture.store, fixture.tenant().await.id, noon());
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap().id;
    let silent = store.config().create_endpoint(tenant, &new_endpoint("two")).await.unwrap().id;
    // The last millisecond before an hour, and the first and last millisecond of the hour.
    let times = [at.0 - 1, at.0, at.0 + HOUR - 1];
    let attempts = times.map(|at| attempted(endpoint, UnixMillis(at), 0, 4_000, Some(200)));
    store.record().write(&batch(vec![], vec![], attempts.to_vec())).await.unwrap();
    let before = UnixMillis(at.0 - HOUR);
    let after = UnixMillis(at.0 + HOUR);
    assert_eq!(read(store, endpoint, before, after).await, [(before.0, 1), (at.0, 2)]);
    assert_eq!(read(store, endpoint, before, at).await, [(before.0, 1)]);
    assert_eq!(read(store, endpoint, at, after).await, [(at.0, 2)]);
    assert_eq!(read(store, endpoint, after, UnixMillis(after.0 + HOUR)).await, []);
    let day = (at.day().start(), at.day().plus_days(1).start());
    let days = store.history().stats(StatsOf::Endpoint(endpoint), IntervalLength::Day, day.0, day.1).await.unwrap();
    assert_eq!(days.iter().map(|(at, stats)| (*at, stats.attempts())).collect::<Vec<_>>(), [(day.0, 3)]);

    forget_scans(&fixture).await;
    let listed = store
        .config()
        .list_endpoints(tenant, EndpointOrder::Newest, &PageRequest { limit: 5, cursor: None })
        .await
        .unwrap()
        .items;
    let counts: Vec<_> = listed.iter().map(|one| (one.endpoint.id, one.successes, one.failures)).collect();
    assert_eq!(counts, [(silent, 0, 0), (endpoint, 3, 0)]);
    let glance = store.history().hourly_counts(&[endpoint, silent], at).await.unwrap();
    assert_eq!(
        glance.iter().map(|hour| (hour.endpoint, hour.at, hour.successes)).collect::<Vec<_>>(),
        [(endpoint, at, 2)]
    );
    assert_eq!(scans(&fixture).await["endpoint_minutes"], (0, 0), "no minute is looked at");
}

#[tokio::test]
async fn hours_go_with_their_minutes_when_the_retention_is_over() {
    let fixture = Fixture::new("oldhours").await;
    let (store, endpoint, at) = (&fixture.store, EndpointId::generate(), noon());
    let yesterday = at.day();
    let last = UnixMillis(yesterday.plus_days(1).start().0 - 1);
    let times = [at, last, UnixMillis(last.0 + 1)];
    let attempts = times.map(|at| attempted(endpoint, at, 0, 4_000, Some(200)));
    store.record().write(&batch(vec![], vec![], attempts.to_vec())).await.unwrap();
    store.record().drop_partitions(yesterday.plus_days(30), 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(hours(&fixture).await, (3, 0), "30 days are kept");
    store.record().drop_partitions(yesterday.plus_days(31), 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(hours(&fixture).await, (1, 0));
    let today = UnixMillis(last.0 + 1);
    assert_eq!(read(store, endpoint, UnixMillis(0), UnixMillis(today.0 + HOUR)).await, [(today.0, 1)]);
}
