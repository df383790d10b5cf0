//! Lists with their filters and cursors, and idempotency.

use std::collections::BTreeMap;

use postrider_model::attempt::Outcome;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::endpoint::EndpointOrder;
use postrider_model::filters::{DeliveryFilter, EventFilter, ListOrder};
use postrider_model::ids::{EndpointId, EventId, Generation, RetryId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::history::PageRequest;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

#[tokio::test]
async fn pages_stay_put_while_rows_arrive() {
    let fixture = Fixture::new("pages").await;
    let (store, tenant, endpoint) = (&fixture.store, TenantId::generate(), EndpointId::generate());
    let start = UnixMillis::now();
    // Several events have the same millisecond, so that their ids decide the order.
    let mut events: Vec<_> = (0..25).map(|n| event(tenant, UnixMillis(start.0 + n / 4))).collect();
    let decisions = events.iter().map(|event| decision(event, vec![endpoint], 1)).collect();
    store.record().write(&batch(events.clone(), decisions, vec![])).await.unwrap();
    events.sort_by(|a, b| (b.accepted_at, &b.id).cmp(&(a.accepted_at, &a.id)));

    let (mut seen, mut cursor, mut deliveries, mut delivery_cursor) = (Vec::new(), None, Vec::new(), None);
    loop {
        let got = store.history().list_events(Some(tenant), &EventFilter::default(), &page(7, cursor)).await.unwrap();
        seen.extend(got.items.into_iter().map(|event| event.id));
        let filter = DeliveryFilter { endpoint: Some(endpoint), ..DeliveryFilter::default() };
        let rows = store.history().list_deliveries(Some(tenant), &filter, &page(7, delivery_cursor)).await.unwrap();
        deliveries.extend(rows.items.into_iter().map(|row| (row.delivery.created_at, row.delivery.id)));
        // In the meantime a newer row arrives, which would belong before the first page.
        let newer = event(tenant, UnixMillis(start.0 + 1_000 + seen.len() as i64));
        store
            .record()
            .write(&batch(vec![newer.clone()], vec![decision(&newer, vec![endpoint], 1)], vec![]))
            .await
            .unwrap();
        (cursor, delivery_cursor) = (got.next_cursor, rows.next_cursor);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, events.iter().map(|event| event.id.clone()).collect::<Vec<EventId>>());
    assert_eq!(deliveries.len(), 25);
    assert!(deliveries.is_sorted_by(|a, b| a > b));
    let bad =
        store.history().list_events(Some(tenant), &EventFilter::default(), &page(7, Some("nonsense".into()))).await;
    assert!(matches!(bad, Err(StoreError::InvalidCursor)));
    let not_a_uuid = store.history().list_events(Some(tenant), &EventFilter::default(), &page(1, None)).await.unwrap();
    let wrong_list = store
        .history()
        .list_deliveries(Some(tenant), &DeliveryFilter::default(), &page(1, not_a_uuid.next_cursor))
        .await;
    assert!(matches!(wrong_list, Err(StoreError::InvalidCursor)));
}

#[tokio::test]
async fn a_list_from_the_oldest_has_the_same_rows_in_the_reverse_order() {
    let fixture = Fixture::new("oldest").await;
    let (store, tenant, endpoint) = (&fixture.store, TenantId::generate(), EndpointId::generate());
    let start = UnixMillis::now();
    let events: Vec<_> = (0..10).map(|n| event(tenant, UnixMillis(start.0 + n / 3))).collect();
    let decisions = events.iter().map(|event| decision(event, vec![endpoint], 1)).collect();
    store.record().write(&batch(events.clone(), decisions, vec![])).await.unwrap();
    let listed = async |order| {
        let (mut events, mut deliveries, mut cursors) = (Vec::new(), Vec::new(), (None, None));
        loop {
            let filter = EventFilter { order, ..EventFilter::default() };
            let got = store.history().list_events(Some(tenant), &filter, &page(3, cursors.0)).await.unwrap();
            events.extend(got.items.into_iter().map(|event| event.id));
            let filter = DeliveryFilter { order, ..DeliveryFilter::default() };
            let rows = store.history().list_deliveries(Some(tenant), &filter, &page(3, cursors.1)).await.unwrap();
            deliveries.extend(rows.items.into_iter().map(|row| row.delivery.id));
            cursors = (got.next_cursor, rows.next_cursor);
            if cursors.0.is_none() {
                return (events, deliveries);
            }
        }
    };
    let (mut newest, oldest) = (listed(None).await, listed(Some(ListOrder::Oldest)).await);
    newest.0.reverse();
    newest.1.reverse();
    assert_eq!((oldest.0.len(), oldest.1.len()), (10, 10));
    assert_eq!(oldest, newest);
    let of_event = DeliveryFilter {
        event: Some(events[0].id.clone()),
        order: Some(ListOrder::Oldest),
        ..DeliveryFilter::default()
    };
    let rows = store.history().list_deliveries(Some(tenant), &of_event, &page(3, None)).await.unwrap();
    assert_eq!(rows.items.len(), 1);
}

#[tokio::test]
async fn filters_of_events_are_combined() {
    let fixture = Fixture::new("eventfilters").await;
    let (store, tenant) = (&fixture.store, TenantId::generate());
    let now = UnixMillis::now();
    let mut a = event(tenant, now);
    a.attributes.0.insert("sending_domain".into(), "example.com".into());
    let mut b = event(tenant, UnixMillis(now.0 + 10));
    b.attributes.0.insert("sending_domain".into(), "example.com".into());
    b.event_type = "Newsletter Opened".parse().unwrap();
    let c = event(TenantId::generate(), now);
    store.record().write(&batch(vec![a.clone(), b.clone(), c.clone()], vec![], vec![])).await.unwrap();
    let ids = async |tenant, filter: EventFilter| -> Vec<EventId> {
        let got = store.history().list_events(tenant, &filter, &PageRequest::default()).await.unwrap();
        got.items.into_iter().map(|event| event.id).collect()
    };
    let domain = |value: &str| EventFilter {
        attributes: BTreeMap::from([("sending_domain".into(), value.into())]),
        ..EventFilter::default()
    };
    assert_eq!(ids(Some(tenant), domain("example.com")).await, [b.id.clone(), a.id.clone()]);
    assert!(ids(Some(tenant), domain("example.org")).await.is_empty());
    let typed = |pattern: &str| EventFilter { event_type: Some(pattern.parse().unwrap()), ..domain("example.com") };
    assert_eq!(ids(Some(tenant), typed(b.event_type.as_str())).await, [b.id.clone()]);
    assert_eq!(ids(Some(tenant), typed("*")).await.len(), 2);
    let (below, _) = a.event_type.as_str().split_once('.').expect("a type with a dot");
    assert_eq!(ids(Some(tenant), typed(&format!("{below}.*"))).await, [a.id.clone()]);
    let until = EventFilter { from: Some(now), to: Some(UnixMillis(now.0 + 10)), ..EventFilter::default() };
    assert_eq!(ids(Some(tenant), until.clone()).await, [a.id.clone()]);
    assert_eq!(ids(None, until).await.len(), 2, "an operator sees every tenant's");
}

#[tokio::test]
async fn filters_of_deliveries_are_combined() {
    let fixture = Fixture::new("dlvfilters").await;
    let (store, tenant) = (&fixture.store, TenantId::generate());
    let (one, two) = (EndpointId::generate(), EndpointId::generate());
    let (a, b) = (event(tenant, UnixMillis::now()), event(tenant, UnixMillis(UnixMillis::now().0 + 50)));
    let mut test = outcome(&a, one, 1, DeliveryStatus::Delivered, Some(200));
    test.delivery.generation = Generation::Test(RetryId::generate());
    test.delivery.id = postrider_model::ids::DeliveryId::derive(tenant, &a.id, one, &test.delivery.generation);
    test.attempt.as_mut().unwrap().trigger = postrider_model::delivery::Trigger::Test;
    let message = batch(
        vec![a.clone(), b.clone()],
        vec![decision(&a, vec![one, two], 1), decision(&b, vec![one], 1)],
        vec![outcome(&a, one, 2, DeliveryStatus::Failed, Some(503)), test],
    );
    store.record().write(&message).await.unwrap();
    let count = async |filter: DeliveryFilter| {
        store.history().list_deliveries(Some(tenant), &filter, &PageRequest::default()).await.unwrap().items.len()
    };
    let all = DeliveryFilter::default;
    assert_eq!(count(all()).await, 4);
    assert_eq!(count(DeliveryFilter { endpoint: Some(one), ..all() }).await, 3);
    assert_eq!(count(DeliveryFilter { event: Some(a.id.clone()), ..all() }).await, 3);
    assert_eq!(count(DeliveryFilter { event: Some(a.id.clone()), endpoint: Some(one), ..all() }).await, 2);
    assert_eq!(count(DeliveryFilter { status: Some(DeliveryStatus::Pending), ..all() }).await, 2);
    for (codes, expected) in [("503", 1), ("5xx", 1), ("2xx", 1), ("4xx", 0), ("502", 0)] {
        assert_eq!(count(DeliveryFilter { status_code: codes.parse().ok(), ..all() }).await, expected, "{codes}");
    }
    assert_eq!(count(DeliveryFilter { outcome: Some(Outcome::HttpStatus), ..all() }).await, 1);
    assert_eq!(count(DeliveryFilter { outcome: Some(Outcome::Timeout), ..all() }).await, 0);
    assert_eq!(count(DeliveryFilter { test: Some(true), ..all() }).await, 1);
    assert_eq!(count(DeliveryFilter { test: Some(false), endpoint: Some(one), ..all() }).await, 2);
    assert_eq!(count(DeliveryFilter { from: Some(b.accepted_at), ..all() }).await, 1);
    assert_eq!(count(DeliveryFilter { event_type: Some("other".parse().unwrap()), ..all() }).await, 0);
    assert_eq!(count(DeliveryFilter { event_type: Some("*".parse().unwrap()), ..all() }).await, 4);
    assert_eq!(count(DeliveryFilter { failed_attempts: Some(true), ..all() }).await, 1, "the test succeeded at once");
    assert_eq!(count(DeliveryFilter { failed_attempts: Some(false), ..all() }).await, 3);
    let foreign =
        store.history().list_deliveries(Some(TenantId::generate()), &all(), &PageRequest::default()).await.unwrap();
    assert!(foreign.items.is_empty());
    assert_eq!(store.history().deliveries_of_event(tenant, &a.id, a.event_day).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_list_of_endpoints_counts_attempts_but_no_tests() {
    let fixture = Fixture::new("counts").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let other = store.config().create_endpoint(tenant.id, &new_endpoint("f")).await.unwrap();
    let event = event(tenant.id, UnixMillis::now());
    let mut test = outcome(&event, endpoint.id, 1, DeliveryStatus::Failed, Some(500));
    test.attempt.as_mut().unwrap().trigger = postrider_model::delivery::Trigger::Test;
    let reports = vec![
        outcome(&event, endpoint.id, 1, DeliveryStatus::Pending, Some(500)),
        outcome(&event, endpoint.id, 2, DeliveryStatus::Pending, None),
        outcome(&event, endpoint.id, 3, DeliveryStatus::Delivered, Some(200)),
        test,
    ];
    store.record().write(&batch(vec![], vec![], reports)).await.unwrap();
    let first = store.config().list_endpoints(tenant.id, EndpointOrder::Newest, &page(1, None)).await.unwrap();
    assert_eq!((first.items[0].endpoint.id, first.items[0].successes, first.usage), (other.id, 0, 2));
    let second =
        store.config().list_endpoints(tenant.id, EndpointOrder::Newest, &page(1, first.next_cursor)).await.unwrap();
    let summary = &second.items[0];
    assert_eq!((summary.endpoint.id, summary.successes, summary.failures), (endpoint.id, 1, 2));
    assert!(second.next_cursor.is_none());
}

#[tokio::test]
async fn endpoints_are_listed_by_name_page_by_page() {
    let fixture = Fixture::new("byname").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    for name in ["crm", "Billing", "archive", "CRM", "billing 2"] {
        store.config().create_endpoint(tenant.id, &new_endpoint(name)).await.unwrap();
    }
    let (mut names, mut cursor): (Vec<String>, _) = (Vec::new(), None);
    loop {
        let got = store.config().list_endpoints(tenant.id, EndpointOrder::Name, &page(2, cursor)).await.unwrap();
        // The next page continues after an endpoint that is deleted in the meantime.
        if let Some(deleted) = got.items.last().filter(|item| item.endpoint.document.name == "Billing") {
            store.config().delete_endpoint(Some(tenant.id), deleted.endpoint.id, None).await.unwrap();
        }
        names.extend(got.items.into_iter().map(|item| item.endpoint.document.name));
        cursor = got.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["archive", "Billing", "billing 2", "crm", "CRM"]);
}

#[tokio::test]
async fn a_search_for_rare_rows_continues_over_pages_and_finds_all() {
    let fixture = Fixture::new("search").await;
    let (store, tenant) = (&fixture.store, TenantId::generate());
    let day = UnixMillis::now().day();
    // One event every half second, starting at midnight. The rare events are the first, the last, and one in the middle.
    let at = format!("timestamptz '{day} 00:00:00+00' + n * interval '500 milliseconds'");
    let rare = "CASE WHEN n IN (1, 25000, 50000) THEN 'rare' ELSE 'common' END";
    let rows = format!(
        "INSERT INTO events (accepted_at, occurred_at, instance, sequence, tenant, event_day, origin, lane, id, type)
         SELECT {at}, {at}, 1, n, '{0}', '{day}', 0, 0, 'e' || n, {rare} FROM generate_series(1, 50000) n;
         INSERT INTO deliveries (id, tenant, endpoint, created_at, accepted_at, expires_at, reported_at, standing,
             delivery_day, event_day, epoch, status, number, event_id, type)
         SELECT gen_random_uuid(), '{0}', gen_random_uuid(), {at}, {at}, {at}, {at}, 0, '{day}', '{day}', 0, 4, 1,
             'e' || n, {rare} FROM generate_series(1, 50000) n;
         ANALYZE",
        tenant.0
    );
    fixture.sql().await.batch_execute(&rows).await.unwrap();

    let event_type = Some("rare".parse().unwrap());
    let events = EventFilter { event_type: event_type.clone(), ..EventFilter::default() };
    let deliveries = DeliveryFilter { event_type, ..DeliveryFilter::default() };
    let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let got = store.history().list_events(Some(tenant), &events, &page(2, cursor)).await.unwrap();
        found.extend(got.items.into_iter().map(|event| event.id.to_string()));
        (pages, cursor) = (pages + 1, got.next_cursor);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["e50000".into(), "e25000".into(), "e1".into()], 3));
    let (mut found, mut pages, mut cursor) = (Vec::new(), 0, None);
    loop {
        let got = store.history().list_deliveries(Some(tenant), &deliveries, &page(1, cursor)).await.unwrap();
        found.extend(got.items.into_iter().map(|row| row.delivery.event.to_string()));
        (pages, cursor) = (pages + 1, got.next_cursor);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec!["e50000".into(), "e25000".into(), "e1".into()], 3));
}
