//! Counts by minute and hour, and the cost of reading them and the history.

use std::collections::BTreeMap;

use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, Trigger};
use postrider_model::filters::{DeliveryFilter, EventFilter};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::stats::IntervalLength;
use postrider_model::time::{Day, UnixMillis};
use postrider_store::history::PageRequest;
use postrider_store::stats::{Stats, StatsOf};
use postrider_wire::messages::OutcomeReport;

use crate::support::{Fixture, batch, event, new_endpoint, outcome};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;

/// Yesterday at noon UTC, which is the start of an hour.
pub(crate) fn noon() -> UnixMillis {
    UnixMillis(UnixMillis::now().day().plus_days(-1).start().0 + 12 * HOUR)
}

/// The first attempt of an event that was accepted at `at`. The attempt started `wait_ms` later and took `took_us`.
pub(crate) fn attempted(
    endpoint: EndpointId,
    at: UnixMillis,
    wait_ms: i64,
    took_us: u64,
    code: Option<u16>,
) -> OutcomeReport {
    let mut report = outcome(&event(TenantId::generate(), at), endpoint, 1, DeliveryStatus::Pending, code);
    let attempt = report.attempt.as_mut().unwrap();
    (attempt.started_at, attempt.duration_us) = (UnixMillis(at.0 + wait_ms), took_us);
    if code == Some(200) {
        (report.status, attempt.outcome) = (DeliveryStatus::Delivered, Outcome::Success);
    }
    report
}

#[tokio::test]
async fn each_attempt_is_counted_once_in_its_minute() {
    let fixture = Fixture::new("stats").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let [one, two] = [
        store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap().id,
        store.config().create_endpoint(tenant, &new_endpoint("two")).await.unwrap().id,
    ];
    let foreign = EndpointId::generate();
    let at = noon();
    let later = UnixMillis(at.0 + 90 * MINUTE);
    let mut test = attempted(one, at, 0, 1_000, Some(200));
    test.attempt.as_mut().unwrap().trigger = Trigger::Test;
    let mut retry = attempted(one, at, MINUTE, 50_000, Some(503));
    retry.attempt.as_mut().unwrap().number = 2;
    let all = batch(
        vec![],
        vec![],
        vec![
            attempted(one, at, 0, 4_000, Some(200)),
            attempted(one, at, 6_000, 80_000, Some(404)),
            attempted(one, at, 40_000, 2_000_000, None),
            retry,
            test,
            attempted(two, at, 0, 4_000, Some(200)),
            attempted(two, later, 0, 4_000, Some(302)),
            attempted(foreign, at, 0, 4_000, Some(200)),
        ],
    );
    store.record().write(&all).await.unwrap();
    store.record().write(&all).await.unwrap();

    let read = async |of, by| store.history().stats(of, by, at, UnixMillis(at.0 + 2 * HOUR)).await.unwrap();
    let minutes = read(StatsOf::Endpoint(one), IntervalLength::Minute).await;
    let [(first, stats), (second, retried)] = minutes.as_slice() else { panic!("{minutes:?}") };
    assert_eq!((*first, *second), (at, UnixMillis(at.0 + MINUTE)));
    let expected = Stats {
        successes: 1,
        failures: 2,
        duration_us: 2_084_000,
        first_attempts: 3,
        first_within_5s: 1,
        first_within_30s: 2,
        answers: [1, 0, 1, 0],
        unanswered: 1,
        latency: stats.latency,
        ..Stats::default()
    };
    assert_eq!(*stats, expected);
    let is_about = |percent, ms: u128| {
        let read = stats.latency.percentile(percent).unwrap().as_millis();
        assert!((ms * 3 / 5..=ms * 5 / 3).contains(&read), "p{percent}: {read} ms");
    };
    is_about(33.0, 4);
    is_about(66.0, 80);
    is_about(99.0, 2_000);
    assert_eq!((retried.retries, retried.answers, retried.first_attempts), (1, [0, 0, 0, 1], 0));

    // A second batch, like a batch of another recorder, adds to the same minute.
    store.record().write(&batch(vec![], vec![], vec![attempted(one, at, 0, 4_000, Some(200))])).await.unwrap();
    let minutes = read(StatsOf::Endpoint(one), IntervalLength::Minute).await;
    assert_eq!((minutes[0].1.successes, minutes[0].1.answers), (2, [2, 0, 1, 0]));
    assert_ne!(minutes[0].1.latency, stats.latency);

    store.config().delete_endpoint(Some(tenant), two, None).await.unwrap();
    let hours = read(StatsOf::Tenant(tenant), IntervalLength::Hour).await;
    let figures: Vec<_> = hours.iter().map(|(at, stats)| (*at, stats.attempts(), stats.answers[1])).collect();
    assert_eq!(figures, [(at, 6, 0), (UnixMillis(at.0 + HOUR), 1, 1)], "of both endpoints of this tenant only");
    let outside = store
        .history()
        .stats(StatsOf::Tenant(tenant), IntervalLength::Hour, UnixMillis(at.0 - HOUR), at)
        .await
        .unwrap();
    assert!(outside.is_empty(), "the end of a range is not in it");
}

/// The numbers of sequential scans and index scans of each table or partition since [`forget_scans`].
pub(crate) async fn scans(fixture: &Fixture) -> BTreeMap<String, (i64, i64)> {
    hang_up(fixture).await;
    let sql = "SELECT relname::text, seq_scan, coalesce(idx_scan, 0) FROM pg_stat_user_tables";
    let rows = fixture.sql().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
}

pub(crate) async fn forget_scans(fixture: &Fixture) {
    hang_up(fixture).await;
    fixture.sql().await.query("SELECT pg_stat_reset()", &[]).await.unwrap();
}

/// Closes every connection and waits until its server process has ended, because the process reports its counts when it exits.
async fn hang_up(fixture: &Fixture) {
    fixture.terminate_all().await;
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let sql = fixture.sql().await;
    while sql.query_one(others, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
}

/// Fills every partition with events of ten tenants, one of them `tenant`, over the whole day.
async fn fill(fixture: &Fixture, tenant: TenantId) {
    let whose = format!("CASE n % 10 WHEN 0 THEN '{}'::uuid ELSE md5((n % 10)::text)::uuid END", tenant.0);
    let sql = fixture.sql().await;
    for day in fixture.store.record().partition_days().await.unwrap() {
        let at = format!("timestamptz '{day} 00:00:00+00' + n * interval '20 seconds'");
        sql.batch_execute(&format!(
            "INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type)
             SELECT {at}, {at}, 1, n, {whose}, '{day}', 0, 0, '{day}_' || n, 'a.b' FROM generate_series(0, 4319) n;
             INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
                 delivery_day, event_day, epoch, status, number, event_id, type)
             SELECT gen_random_uuid(), {whose}, gen_random_uuid(), {at}, {at}, {at}, {at}, 0, '{day}', '{day}', 0, 4, 1,
                 '{day}_' || n, 'a.b' FROM generate_series(0, 4319) n"
        ))
        .await
        .unwrap();
    }
    sql.batch_execute("ANALYZE").await.unwrap();
}

#[tokio::test]
async fn lists_of_a_time_read_no_partition_as_a_whole_that_the_time_excludes() {
    let fixture = Fixture::new("pruning").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let today = UnixMillis::now().day();
    // There are partitions of old days, yesterday, today and future days.
    store.record().create_partitions(today.plus_days(-12)).await.unwrap();
    fill(&fixture, tenant).await;
    let noon = UnixMillis(today.start().0 + 12 * HOUR);
    let (from, to) = (Some(noon), Some(UnixMillis(noon.0 + HOUR)));
    let deliveries = DeliveryFilter { from, to, ..DeliveryFilter::default() };
    let events = EventFilter { from, to, ..EventFilter::default() };
    let page = PageRequest { limit: 5, cursor: None };
    let name = |table: &str, day: Day| format!("{table}_{}", day.to_string().replace('-', ""));

    forget_scans(&fixture).await;
    assert_eq!(store.history().list_events(Some(tenant), &events, &page).await.unwrap().items.len(), 5);
    assert_eq!(store.history().list_deliveries(Some(tenant), &deliveries, &page).await.unwrap().items.len(), 5);
    let seen = scans(&fixture).await;
    assert!(seen[&name("events", today)].1 > 0 && seen[&name("deliveries", today)].1 > 0, "{seen:?}");
    for (partition, (whole, _)) in &seen {
        let log = partition.starts_with("events_") || partition.starts_with("deliveries_");
        assert!(!log || *whole == 0, "{partition} was read as a whole for a tenant: {seen:?}");
    }

    // No index serves a list of all tenants, so only the days in the range may be read.
    forget_scans(&fixture).await;
    assert_eq!(store.history().list_events(None, &events, &page).await.unwrap().items.len(), 5);
    assert_eq!(store.history().list_deliveries(None, &deliveries, &page).await.unwrap().items.len(), 5);
    let seen = scans(&fixture).await;
    for day in store.record().partition_days().await.unwrap() {
        let (event_scans, delivery_scans) = (seen[&name("events", day)], seen[&name("deliveries", day)]);
        assert_eq!(event_scans != (0, 0), day == today, "events of {day}: {event_scans:?}");
        let may_hold_some = day == today || day == today.plus_days(-1);
        assert!(may_hold_some || delivery_scans == (0, 0), "deliveries of {day}: {delivery_scans:?}");
    }
}

#[tokio::test]
async fn a_tenants_stats_are_read_by_index() {
    let fixture = Fixture::new("statsplan").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("one")).await.unwrap().id;
    let at = noon();
    store.record().write(&batch(vec![], vec![], vec![attempted(endpoint, at, 0, 4_000, Some(200))])).await.unwrap();
    // Forty other endpoints have attempts in every minute of the day, and forty other tenants in every hour.
    let day = at.day().start();
    let columns = "successes, failures, retries, duration_us, first_attempts, first_within_5s, first_within_30s";
    let others = format!(
        "INSERT INTO endpoint_minutes (endpoint, minute, {columns})
         SELECT md5(e::text)::uuid, timestamptz '{day}' + m * interval '1 minute', 1, 0, 0, 5, 1, 1, 1
         FROM generate_series(1, 40) e, generate_series(0, 1439) m;
         INSERT INTO tenant_hours
         SELECT md5(t::text)::uuid, timestamptz '{day}' + h * interval '1 hour', 60, 0, 0, 300, 60, 60, 60, 60, 0, 0, 0, 0, 0,
             array_fill(2, ARRAY[28])
         FROM generate_series(1, 40) t, generate_series(0, 23) h;
         ANALYZE"
    );
    fixture.sql().await.batch_execute(&others).await.unwrap();
    forget_scans(&fixture).await;
    let day = (at.day().start(), at.day().plus_days(1).start());
    let read = store.history().stats(StatsOf::Tenant(tenant), IntervalLength::Hour, day.0, day.1).await.unwrap();
    assert_eq!(read.iter().map(|(_, stats)| stats.attempts()).collect::<Vec<_>>(), [1]);
    let read = store
        .history()
        .stats(StatsOf::Tenant(tenant), IntervalLength::Minute, at, UnixMillis(at.0 + HOUR))
        .await
        .unwrap();
    assert_eq!(read.iter().map(|(_, stats)| stats.attempts()).collect::<Vec<_>>(), [1]);
    for table in ["tenant_hours", "endpoint_minutes"] {
        let (whole, by_index) = scans(&fixture).await[table];
        assert_eq!((whole, by_index > 0), (0, true), "{table}");
    }
}
