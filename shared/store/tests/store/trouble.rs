//! Lists that show trouble: endpoints in the order of trouble, deliveries with failures, and pending deliveries by phase.

use postrider_model::delivery::DeliveryStatus::{self, Delivered, Pending};
use postrider_model::delivery::EndpointStatus;
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::endpoint::EndpointOrder;
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::StoreError;
use postrider_store::config::EndpointDraft;
use postrider_store::history::PageRequest;
use postrider_wire::messages::Decision;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

fn page(limit: u32, cursor: Option<String>) -> PageRequest {
    PageRequest { limit, cursor }
}

#[tokio::test]
async fn endpoints_in_trouble_come_first_on_every_page() {
    let fixture = Fixture::new("trouble").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let mut made = Vec::new();
    for name in ["disabled", "failing", "unsteady", "older", "off", "newer"] {
        made.push(store.config().create_endpoint(tenant, &new_endpoint(name)).await.unwrap().id);
    }
    let event = event(tenant, UnixMillis::now());
    let failures = |endpoint: EndpointId, count: u16| -> Vec<_> {
        (1..=count).map(|number| outcome(&event, endpoint, number, Pending, Some(500))).collect()
    };
    let reports = [failures(made[1], 5), failures(made[2], 1)].concat();
    store.record().write(&batch(vec![], vec![], reports)).await.unwrap();
    store.config().stop_endpoint(made[0], "why").await.unwrap();
    let off = |draft: &mut EndpointDraft| {
        draft.status = EndpointStatus::Inactive;
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, made[4], None, off).await.unwrap();

    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let listed = store.config().list_endpoints(tenant, EndpointOrder::Trouble, &page(2, cursor)).await.unwrap();
        names.extend(listed.items.into_iter().map(|item| item.endpoint.document.name));
        cursor = listed.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names, ["disabled", "failing", "unsteady", "newer", "older", "off"]);
    let newest = store.config().list_endpoints(tenant, EndpointOrder::Newest, &page(1, None)).await.unwrap();
    assert_eq!(newest.items[0].endpoint.document.name, "newer");
    let foreign = store.history().list_deliveries(Some(tenant), &DeliveryFilter::default(), &page(1, None)).await;
    let wrong = page(1, foreign.unwrap().next_cursor);
    let refused = store.config().list_endpoints(tenant, EndpointOrder::Trouble, &wrong).await;
    assert!(matches!(refused, Err(StoreError::InvalidCursor)), "{refused:?}");
}

#[tokio::test]
async fn the_count_of_deliveries_with_failures_is_that_of_their_list() {
    let fixture = Fixture::new("faileddeliveries").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
    let mut rows = batch(vec![], vec![], vec![]);
    // One delivery is delivered immediately, one is delivered after two failures, one fails after three, one is pending after
    // one failure.
    for attempts in
        [&[Delivered][..], &[Pending, Pending, Delivered], &[Pending, Pending, DeliveryStatus::Failed], &[Pending]]
    {
        let event = event(tenant, UnixMillis::now());
        let report = |(status, number): (&DeliveryStatus, u16)| {
            let code = if *status == Delivered { 200 } else { 500 };
            outcome(&event, endpoint, number, *status, Some(code))
        };
        let reports: Vec<_> = attempts.iter().zip(1..).map(report).collect();
        let more = batch(vec![event.clone()], vec![decision(&event, vec![endpoint], 1)], reports);
        rows.events.extend(more.events);
        rows.decisions.extend(more.decisions);
        rows.outcomes.extend(more.outcomes);
    }
    store.record().write(&rows).await.unwrap();
    let listed = store.config().list_endpoints(tenant, EndpointOrder::Newest, &page(1, None)).await.unwrap();
    let filter = DeliveryFilter { endpoint: Some(endpoint), failed_attempts: Some(true), ..DeliveryFilter::default() };
    let found = store.history().list_deliveries(Some(tenant), &filter, &page(10, None)).await.unwrap();
    assert_eq!((listed.items[0].failed_deliveries, found.items.len(), listed.items[0].failures), (3, 3, 6));
}

#[tokio::test]
async fn pending_deliveries_are_listed_by_what_they_wait_for() {
    let fixture = Fixture::new("phases").await;
    let (store, tenant) = (&fixture.store, TenantId::generate());
    let (held, other) = (EndpointId::generate(), EndpointId::generate());
    let event = event(tenant, UnixMillis::now());
    let (mut retrying, mut overdue) =
        (outcome(&event, held, 1, Pending, Some(500)), outcome(&event, other, 1, Pending, Some(500)));
    retrying.next_attempt_at = Some(UnixMillis(UnixMillis::now().0 + 3_600_000));
    overdue.next_attempt_at = Some(UnixMillis(UnixMillis::now().0 - 3_600_000));
    let done = outcome(&event, EndpointId::generate(), 1, Delivered, Some(200));
    let queued = EndpointId::generate();
    let rows = batch(vec![event.clone()], vec![decision(&event, vec![queued], 1)], vec![retrying, overdue, done]);
    store.record().write(&rows).await.unwrap();
    let endpoints = async |phase, holding: &[EndpointId]| {
        let filter = DeliveryFilter { phase: Some(phase), holding: holding.to_vec(), ..DeliveryFilter::default() };
        let found = store.history().list_deliveries(Some(tenant), &filter, &page(10, None)).await.unwrap();
        found.items.into_iter().map(|row| row.delivery.endpoint).collect::<Vec<_>>()
    };
    let later = EndpointId::generate();
    let scheduled =
        Decision { deliver_at: Some(UnixMillis(UnixMillis::now().0 + 3_600_000)), ..decision(&event, vec![later], 1) };
    store.record().write(&batch(vec![], vec![scheduled], vec![])).await.unwrap();
    assert_eq!(endpoints(DeliveryPhase::Scheduled, &[]).await, [later]);
    assert_eq!(endpoints(DeliveryPhase::Queued, &[]).await, [queued]);
    assert_eq!(endpoints(DeliveryPhase::Retrying, &[held]).await, [held]);
    assert_eq!(endpoints(DeliveryPhase::Waiting, &[held]).await, [other]);
    assert_eq!(endpoints(DeliveryPhase::Held, &[held]).await, []);
    assert_eq!(endpoints(DeliveryPhase::Held, &[held, other]).await, [other]);
    assert_eq!(endpoints(DeliveryPhase::Waiting, &[held, other]).await, []);
}
