//! What fails and what waits over all tenants, and what it costs to read it.

use postrider_model::delivery::DeliveryStatus::{Delivered, Pending};
use postrider_model::ids::EndpointId;
use postrider_model::stats::IntervalLength;
use postrider_model::time::UnixMillis;
use postrider_store::stats::StatsOf;

use crate::stats::{HOUR, MINUTE, forget_scans, scans};
use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

#[tokio::test]
async fn failures_of_all_tenants_are_ranked_and_read_by_index() {
    let fixture = Fixture::new("fleet").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let mut made = Vec::new();
    for name in ["one", "two", "fine"] {
        made.push(store.config().create_endpoint(tenant, &new_endpoint(name)).await.unwrap().id);
    }
    let event = event(tenant, UnixMillis::now());
    let waits = EndpointId::generate();
    let failures = |endpoint: EndpointId, count: u16| -> Vec<_> {
        (1..=count).map(|number| outcome(&event, endpoint, number, Pending, Some(500))).collect()
    };
    let fine = vec![outcome(&event, made[2], 1, Delivered, Some(200))];
    let reports = [failures(made[0], 2), failures(made[1], 6), fine].concat();
    store.record().write(&batch(vec![event.clone()], vec![decision(&event, vec![waits], 1)], reports)).await.unwrap();
    // The history of forty other endpoints for ten days, and of deliveries that have ended.
    let columns = "successes, failures, retries, duration_us, first_attempts, first_within_5s, first_within_30s";
    let today = UnixMillis::now().day();
    let history = format!(
        "INSERT INTO endpoint_hours (endpoint, hour, {columns})
         SELECT md5(e::text)::uuid, date_trunc('hour', now()) - h * interval '1 hour', 60, 1, 0, 300, 60, 60, 60
         FROM generate_series(1, 40) e, generate_series(30, 269) h;
         INSERT INTO endpoint_minutes (endpoint, minute, {columns})
         SELECT md5(e::text)::uuid, date_trunc('minute', now()) - m * interval '1 minute', 1, 0, 0, 5, 1, 1, 1
         FROM generate_series(1, 40) e, generate_series(60, 600) m;
         INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
             delivery_day, event_day, epoch, status, number, event_id, type)
         SELECT gen_random_uuid(), '{}', gen_random_uuid(), now(), now(), now(), now(), 0, '{today}', '{today}', 0, 4, 1, 'e' || n,
             'a.b' FROM generate_series(0, 20000) n;
         ANALYZE",
        tenant.0
    );
    fixture.sql().await.batch_execute(&history).await.unwrap();
    forget_scans(&fixture).await;

    let from = UnixMillis(event.accepted_at.0 - HOUR);
    let failing = store.history().failing_endpoints(from, 2).await.unwrap();
    assert_eq!(
        failing.iter().map(|one| (one.endpoint, one.failures)).collect::<Vec<_>>(),
        [(made[1], 6), (made[0], 2)]
    );
    let tenants = store.history().failing_tenants(from, 10).await.unwrap();
    let [of_tenant] = tenants.as_slice() else { panic!("{tenants:?}") };
    assert_eq!((of_tenant.tenant, of_tenant.failures, of_tenant.successes, of_tenant.endpoints), (tenant, 8, 1, 2));
    assert_eq!(store.history().count_failing_endpoints().await.unwrap(), 1);
    let oldest = store.history().oldest_unattempted().await.unwrap().unwrap();
    assert_eq!(oldest.endpoint, waits);
    let (start, end) = (UnixMillis(from.0.div_euclid(MINUTE) * MINUTE + HOUR), UnixMillis(from.0 + 2 * HOUR));
    let minutes = store.history().stats(StatsOf::All, IntervalLength::Minute, start, end).await.unwrap();
    assert_eq!(minutes.iter().map(|(_, stats)| stats.attempts()).sum::<u64>(), 9);
    let seen = scans(&fixture).await;
    let deliveries = format!("deliveries_{}", today.to_string().replace('-', ""));
    for table in ["endpoint_hours", "endpoint_minutes", &deliveries] {
        let (whole, by_index) = seen[table];
        assert_eq!((whole, by_index > 0), (0, true), "{table}");
    }
}
