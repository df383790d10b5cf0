//! Failed attempts by hour and cause, and the endpoints with the lowest success rates.

use postrider_model::attempt::Outcome;
use postrider_model::delivery::Trigger;
use postrider_model::ids::EndpointId;
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use postrider_store::failures::{CauseCounts, FailureCause, IntervalFailures};
use postrider_store::stats::{EndpointCounts, StatsOf};

use crate::stats::{HOUR, MINUTE, attempted, forget_scans, noon, scans};
use crate::support::{Fixture, LOCK_TIMEOUT, batch, new_endpoint};

const TIMEOUT: FailureCause = FailureCause { outcome: Outcome::Timeout, status_code: None };

fn answered(code: u16) -> FailureCause {
    FailureCause { outcome: Outcome::HttpStatus, status_code: Some(code) }
}

#[tokio::test]
async fn each_failed_attempt_is_counted_once_in_its_hour_and_cause() {
    let fixture = Fixture::new("failures").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let [one, two] = [
        store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap().id,
        store.config().create_endpoint(tenant, &new_endpoint("two")).await.unwrap().id,
    ];
    let at = noon();
    let after = |minutes: i64| UnixMillis(at.0 + minutes * MINUTE);
    let mut test = attempted(one, at, 0, 1_000, Some(500));
    test.attempt.as_mut().unwrap().trigger = Trigger::Test;
    let all = batch(
        vec![],
        vec![],
        vec![
            attempted(one, at, 0, 1_000, Some(200)),
            attempted(one, after(5), 0, 1_000, Some(503)),
            attempted(one, after(50), 0, 1_000, Some(503)),
            attempted(one, after(10), 0, 1_000, None),
            attempted(two, after(70), 0, 1_000, Some(503)),
            attempted(two, after(71), 0, 1_000, Some(404)),
            attempted(EndpointId::generate(), at, 0, 1_000, Some(503)),
            test,
        ],
    );
    store.record().write(&all).await.unwrap();
    store.record().write(&all).await.unwrap();
    // A second batch, like a batch of another recorder, adds to the same hour.
    store.record().write(&batch(vec![], vec![], vec![attempted(one, after(2), 0, 1_000, Some(503))])).await.unwrap();

    let (from, to) = (at, UnixMillis(at.0 + 2 * HOUR));
    let causes = async |of, from, to| store.history().failure_causes(of, from, to).await.unwrap();
    let counts = |cause, attempts, endpoints, first, last| CauseCounts {
        cause,
        attempts,
        endpoints,
        first_at: after(first),
        last_at: after(last),
    };
    let of_tenant =
        [counts(answered(503), 4, 2, 2, 70), counts(answered(404), 1, 1, 71, 71), counts(TIMEOUT, 1, 1, 10, 10)];
    assert_eq!(causes(StatsOf::Tenant(tenant), from, to).await, of_tenant);
    let of_one = [counts(answered(503), 3, 1, 2, 50), counts(TIMEOUT, 1, 1, 10, 10)];
    assert_eq!(causes(StatsOf::Endpoint(one), from, to).await, of_one);
    assert_eq!(causes(StatsOf::Endpoint(one), UnixMillis(at.0 + HOUR), to).await, [], "the range has no failure");

    let over_time = async |of, by, from| {
        let chosen = [answered(503), TIMEOUT];
        store.history().failures_over_time(of, by, (from, to), &chosen).await.unwrap()
    };
    let interval = |at, cause, attempts| IntervalFailures { at, cause, attempts };
    let hours = [
        interval(at, Some(1), 3),
        interval(at, Some(2), 1),
        interval(after(60), Some(1), 1),
        interval(after(60), None, 1),
    ];
    assert_eq!(over_time(StatsOf::Tenant(tenant), IntervalLength::Hour, from).await, hours);
    let midnight = at.day().start();
    let day = [interval(midnight, Some(1), 4), interval(midnight, Some(2), 1), interval(midnight, None, 1)];
    assert_eq!(over_time(StatsOf::Tenant(tenant), IntervalLength::Day, midnight).await, day);
}

#[tokio::test]
async fn the_endpoints_with_the_lowest_success_rate_come_first() {
    let fixture = Fixture::new("worst").await;
    let (store, tenant, at) = (&fixture.store, fixture.tenant().await.id, noon());
    let mut made = Vec::new();
    for name in ["healthy", "half", "down", "down longer", "deleted"] {
        made.push(store.config().create_endpoint(tenant, &new_endpoint(name)).await.unwrap().id);
    }
    let attempts = |endpoint: usize, codes: &[u16]| {
        let attempt = |code: &u16| attempted(made[endpoint], at, 0, 1_000, Some(*code));
        codes.iter().map(attempt).collect::<Vec<_>>()
    };
    let reports = [
        attempts(0, &[200, 200]),
        attempts(1, &[200, 500, 500, 200]),
        attempts(2, &[500]),
        attempts(3, &[500, 404]),
        attempts(4, &[500, 500, 500]),
    ];
    store.record().write(&batch(vec![], vec![], reports.concat())).await.unwrap();
    store.config().delete_endpoint(Some(tenant), made[4], None).await.unwrap();
    let worst = async |by, limit| {
        let range = (at, UnixMillis(at.0 + HOUR));
        store.history().worst_endpoints(tenant, by, range, limit).await.unwrap()
    };
    let counts =
        |endpoint: usize, successes, failures| EndpointCounts { endpoint: made[endpoint], successes, failures };
    for by in [IntervalLength::Hour, IntervalLength::Minute] {
        assert_eq!(worst(by, 10).await, [counts(3, 0, 2), counts(2, 0, 1), counts(1, 2, 2)], "{by:?}");
    }
    assert_eq!(worst(IntervalLength::Hour, 1).await, [counts(3, 0, 2)]);
}

#[tokio::test]
async fn failures_are_read_by_index_and_deleted_with_their_hours() {
    let fixture = Fixture::new("failureplan").await;
    let (store, tenant, at) = (&fixture.store, fixture.tenant().await.id, noon());
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap().id;
    store.record().write(&batch(vec![], vec![], vec![attempted(endpoint, at, 0, 4_000, Some(500))])).await.unwrap();
    // Another tenant has a thousand endpoints with two causes in every hour of the day.
    let day = at.day().start();
    let others = format!(
        "INSERT INTO endpoint_failures (endpoint, hour, outcome, status_code, attempts, first_at, last_at)
         SELECT md5(e::text)::uuid, timestamptz '{day}' + h * interval '1 hour', 1, 500 + c, 9, now(), now()
         FROM generate_series(1, 1000) e, generate_series(0, 23) h, generate_series(0, 1) c;
         INSERT INTO endpoint_failure_days
         SELECT md5(e::text)::uuid, timestamptz '{day}' - d * interval '1 day', 1, 500 + c, now(), now()
         FROM generate_series(1, 1000) e, generate_series(0, 23) d, generate_series(0, 1) c;
         INSERT INTO tenant_failures
         SELECT md5(e::text)::uuid, timestamptz '{day}' + h * interval '1 hour', 1, 500 + c, 9, now(), now()
         FROM generate_series(1, 1000) e, generate_series(0, 23) h, generate_series(0, 1) c;
         ANALYZE"
    );
    fixture.sql().await.batch_execute(&others).await.unwrap();
    forget_scans(&fixture).await;
    let end = at.day().plus_days(1).start();
    for from in [day, UnixMillis(day.0 - 24 * HOUR)] {
        let found = store.history().failure_causes(StatsOf::Tenant(tenant), from, end).await.unwrap();
        assert_eq!(found.iter().map(|counts| (counts.attempts, counts.endpoints)).collect::<Vec<_>>(), [(1, 1)]);
    }
    let of = StatsOf::Tenant(tenant);
    let hours =
        store.history().failures_over_time(of, IntervalLength::Hour, (day, end), &[answered(500)]).await.unwrap();
    assert_eq!(hours, [IntervalFailures { at, cause: Some(1), attempts: 1 }]);
    let seen = scans(&fixture).await;
    for table in ["endpoint_failures", "endpoint_failure_days", "tenant_failures"] {
        let (whole, by_index) = seen[table];
        assert_eq!((whole, by_index > 0), (0, true), "{table}");
    }

    let rows = async || fixture.number("SELECT count(*) FROM endpoint_failures").await;
    store.record().drop_partitions(at.day().plus_days(30), 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(rows().await, 48_001, "30 days are kept");
    store.record().drop_partitions(at.day().plus_days(31), 30, LOCK_TIMEOUT).await.unwrap();
    assert_eq!(rows().await, 0);
}
