//! Deliveries of paused endpoints: set aside, released in order, skipped, limited.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use postrider_ledger::pause;
use postrider_ledger::replay::Rendition;
use postrider_model::delivery::{DeliveryStatus, DiscardReason, EndpointStatus, FailingEndpoints, Lane, Trigger};
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{DeliveryId, EndpointId, Generation};
use postrider_model::limits::{DELIVERY_LIFETIME, SET_ASIDE_OVERHEAD_BYTES};
use postrider_model::ordering::Ordering;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::config::{EndpointDraft, Tenant, TenantDraft};
use postrider_store::feed::FeedScope;
use postrider_store::history::DeliveryRow;
use postrider_store::intervention::{InterventionReason, InterventionTarget};
use postrider_store::outbox::OutboxEntry;
use postrider_store::pauses::{TendLimits, Tended};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryTask, SetAside};

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome, snapshot};

const LIMITS: TendLimits = TendLimits { releases: 2, discards: 3, retention_days: 30, pause: Duration::ZERO };

async fn switch(store: &Store, endpoint: EndpointId, status: EndpointStatus) -> i64 {
    let edit = move |draft: &mut EndpointDraft| {
        draft.status = status;
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, endpoint, None, edit).await.unwrap().version
}

/// Records an event that was accepted this long ago and decided while the endpoint was paused.
async fn wait_for_paused(store: &Store, tenant: &Tenant, endpoint: EndpointId, ago: Duration) -> AcceptedEvent {
    let event = event(tenant.id, UnixMillis::now().minus(ago));
    let decided = Decision {
        paused: vec![endpoint],
        payload_bytes: 100,
        ..decision(&event, vec![endpoint], i64::from(i32::MAX))
    };
    let config_version = store.feed().config_version().await.unwrap();
    let expires_at = decided.decided_at.plus(DELIVERY_LIFETIME);
    let decided = Decision { config_version, expires_at, ..decided };
    store.record().create_partitions(event.event_day).await.unwrap();
    store.record().write(&batch(vec![event.clone()], vec![decided], vec![])).await.unwrap();
    event
}

async fn row(store: &Store, event: &AcceptedEvent, endpoint: EndpointId) -> DeliveryRow {
    let id = DeliveryId::derive(event.tenant, &event.id, endpoint, &Generation::First);
    store.history().get_delivery(None, id).await.unwrap().unwrap()
}

/// Tends the endpoint that is due, if one is. Returns the result and the published deliveries.
async fn tend_once(store: &Store, limits: TendLimits) -> (Option<Tended>, Vec<DeliveryTask>) {
    let published = Mutex::new(Vec::new());
    let publish = async |page: Rendition| {
        let tasks = page.events.into_iter().flat_map(|event| event.tasks).map(|(task, _)| task);
        published.lock().unwrap().extend(tasks);
        Ok::<_, Infallible>(())
    };
    let tended = pause::tend(store, &Profiles::builtin(), limits, publish).await.unwrap();
    (tended, published.into_inner().unwrap())
}

/// Tends endpoints until none is due. Returns the published deliveries in order.
async fn tend(fixture: &Fixture, limits: TendLimits) -> Vec<DeliveryTask> {
    let mut all = Vec::new();
    fixture.sql().await.execute("UPDATE endpoint_pauses SET look_at = 'epoch', counted_at = NULL", &[]).await.unwrap();
    while let (Some(_), tasks) = tend_once(&fixture.store, limits).await {
        all.extend(tasks);
    }
    all
}

#[tokio::test]
async fn what_waits_for_a_paused_endpoint_is_released_in_order_of_acceptance() {
    let fixture = Fixture::new("pausedorder").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    switch(store, endpoint, EndpointStatus::Paused).await;
    let mut events = Vec::new();
    for seconds in [30, 50, 10, 40, 20] {
        events.push(wait_for_paused(store, &tenant, endpoint, Duration::from_secs(seconds)).await);
    }
    events.sort_by_key(|event| event.accepted_at);
    let waiting = row(store, &events[0], endpoint).await;
    assert_eq!((waiting.status, waiting.next_attempt_at), (DeliveryStatus::Pending, None));
    assert_eq!(waiting.set_aside_bytes, Some(100));
    let phase = DeliveryFilter { phase: Some(DeliveryPhase::Paused), ..DeliveryFilter::default() };
    let listed = store.history().list_deliveries(Some(tenant.id), &phase, &Default::default()).await.unwrap();
    assert_eq!(listed.items.len(), 5);
    for phase in DeliveryPhase::ALL.into_iter().filter(|phase| *phase != DeliveryPhase::Paused) {
        let other = DeliveryFilter { phase: Some(phase), holding: vec![endpoint], ..DeliveryFilter::default() };
        let listed = store.history().list_deliveries(Some(tenant.id), &other, &Default::default()).await.unwrap();
        assert_eq!(listed.items, [], "{phase}");
    }

    // Nothing leaves while it is paused, and neither limits nor the reconciler count what waits.
    assert_eq!(tend(&fixture, LIMITS).await, []);
    store.record().count_waiting().await.unwrap();
    assert_eq!(store.history().waiting_of(tenant.id).await.unwrap(), 0);
    assert!(store.history().oldest_unattempted().await.unwrap().is_none());
    let far = UnixMillis::now().plus(Duration::from_secs(86_400));
    assert!(!store.has_overdue(events[0].event_day, far).await.unwrap());
    let totals = store.config().set_aside(&[endpoint]).await.unwrap()[&endpoint];
    assert_eq!((totals.deliveries, totals.bytes), (5, 5 * (100 + SET_ASIDE_OVERHEAD_BYTES)));
    assert_eq!(totals.oldest_at, Some(events[0].accepted_at));

    switch(store, endpoint, EndpointStatus::Active).await;
    let tasks = tend(&fixture, LIMITS).await;
    let released: Vec<_> = tasks.iter().map(|task| task.delivery.event.clone()).collect();
    assert_eq!(released, events.iter().map(|event| event.id.clone()).collect::<Vec<_>>());
    assert!(tasks.iter().all(|task| (task.epoch, task.number, task.lane) == (1, 1, Lane::Bulk)), "{tasks:?}");
    assert!(tasks.iter().all(|task| task.trigger == Trigger::First));
    let released = row(store, &events[4], endpoint).await;
    assert_eq!((released.epoch, released.set_aside_bytes, released.number), (1, None, 0));
    assert!(released.next_attempt_at.is_some() && released.expires_at == tasks[4].expires_at);
    assert_eq!(tend(&fixture, LIMITS).await, [], "each is released once");
    assert_eq!(store.config().set_aside(&[endpoint]).await.unwrap()[&endpoint].deliveries, 0);

    // A decision that is recorded late, after the resume, is released too.
    let late = wait_for_paused(store, &tenant, endpoint, Duration::from_secs(5)).await;
    let tasks = tend(&fixture, LIMITS).await;
    assert_eq!(tasks.iter().map(|task| &task.delivery.event).collect::<Vec<_>>(), [&late.id]);
}

#[tokio::test]
async fn a_page_that_was_published_and_not_committed_is_published_again() {
    let fixture = Fixture::new("pausedcrash").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    switch(store, endpoint, EndpointStatus::Paused).await;
    let first = wait_for_paused(store, &tenant, endpoint, Duration::from_secs(20)).await;
    let second = wait_for_paused(store, &tenant, endpoint, Duration::from_secs(10)).await;
    switch(store, endpoint, EndpointStatus::Active).await;
    let lost = async |_: Rendition| Err::<(), _>("the confirm is lost");
    assert!(pause::tend(store, &Profiles::builtin(), LIMITS, lost).await.is_err());
    assert!(row(store, &first, endpoint).await.set_aside_bytes.is_some());
    // A dispatcher delivered one of the published copies before the page is published again.
    let mut delivered = outcome(&first, endpoint, 1, DeliveryStatus::Delivered, Some(200));
    delivered.epoch = 1;
    store.record().write(&batch(vec![], vec![], vec![delivered])).await.unwrap();
    let tasks = tend(&fixture, LIMITS).await;
    assert_eq!(tasks.iter().map(|task| &task.delivery.event).collect::<Vec<_>>(), [&second.id]);
    assert_eq!(row(store, &first, endpoint).await.status, DeliveryStatus::Delivered);
}

#[tokio::test]
async fn a_delivery_that_is_cancelled_while_it_is_published_stays_cancelled() {
    let fixture = Fixture::new("pausedcancel").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    switch(store, endpoint, EndpointStatus::Paused).await;
    let event = wait_for_paused(store, &tenant, endpoint, Duration::from_secs(20)).await;
    switch(store, endpoint, EndpointStatus::Active).await;
    let id = row(store, &event, endpoint).await.delivery.id;
    let publish = async |_: Rendition| {
        store.cancel_delivery(None, id).await.unwrap();
        Ok::<_, Infallible>(())
    };
    pause::tend(store, &Profiles::builtin(), LIMITS, publish).await.unwrap();
    let ended = row(store, &event, endpoint).await;
    assert_eq!((ended.status, ended.set_aside_bytes), (DeliveryStatus::Cancelled, None));
    // The published copy has the epoch 1.
    let [stale] = snapshot(store, FeedScope::DISPATCHER).await.interventions.try_into().unwrap();
    assert!(stale.least_epoch > 1 && stale.reason == InterventionReason::Cancelled, "{stale:?}");
}

#[tokio::test]
async fn a_delivery_that_a_dispatcher_set_aside_continues_with_its_next_attempt() {
    let fixture = Fixture::new("pausedretry").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let id = endpoint.id;
    let event = event(tenant.id, UnixMillis::now().minus(Duration::from_secs(20)));
    let decided = decision(&event, vec![id], endpoint.version);
    let failed = outcome(&event, id, 1, DeliveryStatus::Pending, Some(500));
    let at = UnixMillis::now();
    let mut set_aside = outcome(&event, id, 2, DeliveryStatus::Pending, None);
    (set_aside.attempt, set_aside.at, set_aside.next_attempt_at) = (None, at, Some(at));
    set_aside.set_aside = Some(SetAside { number: 2, bytes: 70 });
    // The reports merge in any order.
    store.record().write(&batch(vec![], vec![], vec![set_aside.clone()])).await.unwrap();
    store.record().write(&batch(vec![event.clone()], vec![decided], vec![failed])).await.unwrap();
    let waiting = row(store, &event, id).await;
    assert_eq!((waiting.number, waiting.set_aside_bytes, waiting.next_attempt_at), (1, Some(70), None));
    switch(store, id, EndpointStatus::Paused).await;
    switch(store, id, EndpointStatus::Active).await;
    let tasks = tend(&fixture, LIMITS).await;
    assert_eq!((tasks.len(), tasks[0].number, tasks[0].trigger, tasks[0].epoch), (1, 2, Trigger::Retry, 1));
    // The copy that the dispatcher may not have acknowledged is stale.
    let [stale] = snapshot(store, FeedScope::DISPATCHER).await.interventions.try_into().unwrap();
    assert_eq!((stale.target, stale.least_epoch), (InterventionTarget::Delivery(tasks[0].delivery.id), 1));
    // A second report about the old copy changes nothing.
    store.record().write(&batch(vec![], vec![], vec![set_aside])).await.unwrap();
    assert_eq!(row(store, &event, id).await.set_aside_bytes, None);
}

#[tokio::test]
async fn skipping_discards_what_was_accepted_until_then_page_by_page() {
    let fixture = Fixture::new("pausedskip").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    switch(store, endpoint, EndpointStatus::Paused).await;
    let mut events = Vec::new();
    for seconds in 10..17 {
        events.push(wait_for_paused(store, &tenant, endpoint, Duration::from_secs(seconds)).await);
    }
    let until = store.skip_set_aside(Some(tenant.id), endpoint).await.unwrap();
    assert!(store.skip_set_aside(Some(tenant.id), endpoint).await.unwrap() >= until, "a repeat is harmless");
    let stranger = fixture.tenant().await;
    let refused = store.skip_set_aside(Some(stranger.id), endpoint).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    tokio::time::sleep(Duration::from_millis(2)).await;
    let later = wait_for_paused(store, &tenant, endpoint, Duration::ZERO).await;
    let (first, _) = tend_once(store, LIMITS).await;
    assert_eq!(first.map(|tended| (tended.released, tended.discarded)), Some((0, 3)), "a page at a time");
    assert_eq!(tend(&fixture, LIMITS).await, []);
    for event in &events {
        let row = row(store, event, endpoint).await;
        assert_eq!((row.status, row.discard_reason), (DeliveryStatus::Discarded, Some(DiscardReason::Skipped)));
        assert_eq!(row.set_aside_bytes, None);
    }
    assert_eq!(row(store, &later, endpoint).await.status, DeliveryStatus::Pending);
    switch(store, endpoint, EndpointStatus::Active).await;
    assert_eq!(tend(&fixture, LIMITS).await.len(), 1);
}

#[tokio::test]
async fn what_is_over_a_limit_is_discarded_oldest_first() {
    let fixture = Fixture::new("pausedlimit").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    switch(store, endpoint, EndpointStatus::Paused).await;
    let day = Duration::from_secs(86_400);
    let old = wait_for_paused(store, &tenant, endpoint, day * 8).await;
    let recent = wait_for_paused(store, &tenant, endpoint, day * 6).await;
    let mut events = vec![recent];
    for seconds in [30, 20, 10] {
        events.push(wait_for_paused(store, &tenant, endpoint, Duration::from_secs(seconds)).await);
    }
    tend(&fixture, LIMITS).await;
    let ended = row(store, &old, endpoint).await;
    assert_eq!((ended.status, ended.discard_reason), (DeliveryStatus::Discarded, Some(DiscardReason::PauseLimit)));
    let edit = |draft: &mut TenantDraft| {
        draft.limits.paused_bytes = Some(2 * (100 + SET_ASIDE_OVERHEAD_BYTES));
        Ok::<_, ()>(())
    };
    store.config().edit_tenant(tenant.id, None, edit).await.unwrap();
    tend(&fixture, LIMITS).await;
    let mut left = Vec::new();
    for event in &events {
        left.push(row(store, event, endpoint).await.set_aside_bytes.is_some());
    }
    assert_eq!(left, [false, false, true, true]);
    // The time of the pause does not use up the lifetime.
    switch(store, endpoint, EndpointStatus::Active).await;
    let least = UnixMillis::now().plus(DELIVERY_LIFETIME);
    let tasks = tend(&fixture, LIMITS).await;
    assert!(tasks.len() == 2 && tasks.iter().all(|task| task.expires_at >= least), "{tasks:?}");
}

#[tokio::test]
async fn what_waits_ends_with_its_endpoint() {
    let fixture = Fixture::new("pausedends").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let check = async |status: Option<EndpointStatus>, reason| {
        let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
        switch(store, endpoint, EndpointStatus::Paused).await;
        let event = wait_for_paused(store, &tenant, endpoint, Duration::from_secs(9)).await;
        match status {
            Some(status) => drop(switch(store, endpoint, status).await),
            None => store.config().delete_endpoint(None, endpoint, None).await.unwrap(),
        }
        assert_eq!(tend(&fixture, LIMITS).await, []);
        assert_eq!(row(store, &event, endpoint).await.discard_reason, Some(reason));
    };
    check(Some(EndpointStatus::Inactive), DiscardReason::EndpointInactive).await;
    check(None, DiscardReason::EndpointDeleted).await;
}

#[tokio::test]
async fn a_failing_endpoint_is_paused_where_its_tenant_prefers_that() {
    let fixture = Fixture::new("pausedengine").await;
    let store = &fixture.store;
    let draft = TenantDraft { failing_endpoints: FailingEndpoints::Pause, ..TenantDraft::new("Acme", "standard") };
    let tenant = store.config().create_tenant(&draft).await.unwrap();
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    assert_eq!(store.config().stop_endpoint(endpoint, "why").await.unwrap(), Some(EndpointStatus::Paused));
    assert_eq!(store.config().stop_endpoint(endpoint, "why").await.unwrap(), None);
    let paused = store.config().get_endpoint(None, endpoint).await.unwrap().unwrap();
    assert_eq!((paused.status, paused.paused_reason.as_deref()), (EndpointStatus::Paused, Some("why")));
    assert!(paused.paused_at.is_some() && paused.disabled_reason.is_none());
    switch(store, endpoint, EndpointStatus::Active).await;
    let resumed = store.config().get_endpoint(None, endpoint).await.unwrap().unwrap();
    assert_eq!((resumed.paused_reason, resumed.paused_at), (None, None));
    let entries = store.outbox_claim(10, Duration::ZERO).await.unwrap();
    let told = entries.iter().map(|entry| match entry {
        OutboxEntry::Event(event) => event.event_type.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), ["endpoint.paused", "endpoint.resumed"]);
    let health = store.config().endpoints_health(&[endpoint]).await.unwrap().pop().unwrap().1;
    assert_eq!(health.off, None, "a paused endpoint misses nothing");

    let mut ordered = new_endpoint("ordered");
    ordered.draft.document.ordering = Some(Ordering::default());
    let ordered = store.config().create_endpoint(tenant.id, &ordered).await.unwrap().id;
    assert_eq!(store.config().stop_endpoint(ordered, "why").await.unwrap(), Some(EndpointStatus::Disabled));
}
