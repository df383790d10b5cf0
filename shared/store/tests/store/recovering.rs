//! Recoveries: events that an endpoint did not receive are delivered once, and deliveries that wait for a retry are attempted
//! now.

use std::convert::Infallible;
use std::time::Duration;

use postrider_ledger::replay::{self, Counted, DryRunLimits, FeedError, PageLimits, Rendition};
use postrider_model::delivery::DeliveryStatus::{self, Cancelled, Delivered, Discarded, Failed, Pending};
use postrider_model::delivery::{BodyKind, EndpointStatus, Trigger};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation};
use postrider_model::replay::{ReplayMode, ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::config::{EndpointDraft, Tenant};
use postrider_store::feed::FeedScope;
use postrider_store::intervention::{InterventionReason, InterventionTarget};
use postrider_store::outbox::OutboxEntry;
use postrider_store::replay::{ReplayAction, ReplayRequest};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::DeliveryTask;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome, snapshot};

fn recovery(endpoint: EndpointId, from: UnixMillis) -> ReplayRequest {
    let selection = ReplaySelection {
        endpoint: Some(endpoint),
        event: None,
        from: Some(from),
        to: UnixMillis::now().minus(Duration::from_secs(15)),
        event_types: Vec::new(),
        attributes: Default::default(),
        only_failed: false,
        mode: ReplayMode::Recover,
    };
    ReplayRequest { selection, text: "recover".into(), idempotency_key: None }
}

/// Records an event that was decided for `matched` at a configuration version, and one report for each status.
async fn record(
    store: &Store,
    tenant: &Tenant,
    (matched, version): (&[EndpointId], i64),
    reports: &[(EndpointId, DeliveryStatus)],
) -> EventId {
    // The event is old enough that a recovery does not wait for its records.
    let event = event(tenant.id, UnixMillis::now().minus(Duration::from_secs(20)));
    let report = |(endpoint, status): &(EndpointId, DeliveryStatus)| {
        let code = if *status == Delivered { 200 } else { 500 };
        let mut report = outcome(&event, *endpoint, 2, *status, Some(code));
        let in_an_hour = UnixMillis(UnixMillis::now().0 + 3_600_000);
        report.next_attempt_at = (*status == Pending).then_some(in_an_hour);
        report
    };
    let decided = decision(&event, matched.to_vec(), version);
    let reports = reports.iter().map(report).collect();
    store.record().write(&batch(vec![event.clone()], vec![decided], reports)).await.unwrap();
    event.id
}

async fn switch(store: &Store, endpoint: EndpointId, status: EndpointStatus) -> i64 {
    let edit = move |draft: &mut EndpointDraft| {
        draft.status = status;
        // Deliveries that were decided before this edit keep their format.
        draft.document.ascii_json = true;
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, endpoint, None, edit).await.unwrap().version
}

async fn feed(store: &Store) -> Vec<(DeliveryTask, BodyKind)> {
    let mut seen = Vec::new();
    let publish = |page: Rendition| {
        seen.extend(page.events.into_iter().flat_map(|event| event.tasks));
        async { Ok::<_, Infallible>(()) }
    };
    let limits = PageLimits { events: 100, deliveries: 100 };
    replay::feed(store, &Profiles::builtin(), limits, publish).await.unwrap();
    seen
}

async fn count(store: &Store, tenant: &Tenant, asked: &ReplayRequest) -> Counted {
    let (profiles, limits) = (Profiles::builtin(), DryRunLimits::default());
    replay::count(store, &profiles, tenant.id, &asked.selection, limits).await.unwrap().expect("within the limits")
}

#[tokio::test]
async fn a_recovery_delivers_what_failed_and_what_was_missed_and_hurries_what_waits() {
    let fixture = Fixture::new("recover").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let begin = UnixMillis(UnixMillis::now().0 - 60_000);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let neighbour = store.config().create_endpoint(tenant.id, &new_endpoint("n")).await.unwrap().id;
    let (id, on) = (endpoint.id, endpoint.version);
    let decided = ([id, neighbour], on);
    let decided = (&decided.0[..], decided.1);
    let failed = record(store, &tenant, decided, &[(id, Failed), (neighbour, Failed)]).await;
    let discarded = record(store, &tenant, decided, &[(id, Discarded)]).await;
    let waiting = record(store, &tenant, decided, &[(id, Pending), (neighbour, Pending)]).await;
    record(store, &tenant, decided, &[(id, Delivered)]).await;
    record(store, &tenant, decided, &[(id, Cancelled)]).await;
    // This event is decided and has no attempt yet: its delivery is on its way.
    record(store, &tenant, decided, &[]).await;
    // The endpoint did not miss this event: it was on at that time, and did not match.
    record(store, &tenant, (&[neighbour], on), &[]).await;
    let off = switch(store, id, EndpointStatus::Inactive).await;
    let missed = record(store, &tenant, (&[neighbour], off), &[]).await;

    let asked = recovery(id, begin);
    let counted = Counted { events: 4, deliveries: 3, missed: 1, hurried: 1 };
    assert_eq!(count(store, &tenant, &asked).await, counted, "also while it is off");
    switch(store, id, EndpointStatus::Active).await;
    assert_eq!(count(store, &tenant, &asked).await, counted);

    let recovery = store.create_replay(tenant.id, &asked).await.unwrap();
    let tasks = feed(store).await;
    assert!(tasks.iter().all(|(task, _)| task.delivery.endpoint == id), "{tasks:?}");
    let of = |event: &EventId| tasks.iter().find(|(task, _)| task.delivery.event == *event).expect("a task");
    for event in [&failed, &discarded, &missed] {
        let (task, body) = of(event);
        assert_eq!((&task.delivery.generation, task.number), (&Generation::Replay(recovery), 1));
        assert_eq!((task.trigger, *body), (Trigger::Replay, BodyKind::AsciiJson));
    }
    let (task, body) = of(&waiting);
    assert_eq!((&task.delivery.generation, task.number, task.extra, task.epoch), (&Generation::First, 3, 1, 1));
    assert_eq!((task.trigger, *body), (Trigger::Manual, BodyKind::Json), "no attempt changes the bytes");
    assert_eq!(tasks.len(), 4);

    // The copy that waits for the retry is stale, and its attempt is due now.
    let [stale] = snapshot(store, FeedScope::DISPATCHER).await.interventions.try_into().unwrap();
    assert_eq!((stale.target, stale.least_epoch), (InterventionTarget::Delivery(task.delivery.id), 1));
    assert_eq!(stale.reason, InterventionReason::Superseded);
    let row = store.history().get_delivery(None, task.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.epoch, row.number), (Pending, 1, 2));
    assert!(row.next_attempt_at.unwrap() <= UnixMillis::now());

    // Another recovery finds nothing, because every event is delivered or on its way.
    store.create_replay(tenant.id, &asked).await.unwrap();
    assert_eq!(feed(store).await, []);
    let health = store.config().endpoints_health(&[id]).await.unwrap().pop().unwrap().1;
    assert_eq!(health.recoveries.len(), 2);
}

#[tokio::test]
async fn a_delivery_that_is_cancelled_while_a_recovery_publishes_stays_cancelled() {
    let fixture = Fixture::new("recovercancel").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let decided = (&[endpoint.id][..], endpoint.version);
    record(store, &tenant, decided, &[(endpoint.id, Failed)]).await;
    let waiting = record(store, &tenant, decided, &[(endpoint.id, Pending)]).await;
    let waiting = DeliveryId::derive(tenant.id, &waiting, endpoint.id, &Generation::First);
    let begin = UnixMillis::now().minus(Duration::from_secs(60));
    store.create_replay(tenant.id, &recovery(endpoint.id, begin)).await.unwrap();

    let published = std::sync::Mutex::new(Vec::new());
    let publish = async |page: Rendition| {
        let mut ids = page.events.iter().flat_map(|event| &event.tasks).map(|(task, _)| task.delivery.id);
        published.lock().unwrap().extend(&mut ids);
        if published.lock().unwrap().len() == 1 {
            store.cancel_delivery(None, waiting).await.unwrap();
        }
        Ok::<_, Infallible>(())
    };
    let limits = PageLimits { events: 100, deliveries: 100 };
    let fed = replay::feed(store, &Profiles::builtin(), limits, publish).await.unwrap().unwrap();
    assert_eq!((fed.deliveries, fed.finished), (1, true), "only the failed event");
    assert!(!published.into_inner().unwrap().contains(&waiting));
    let row = store.history().get_delivery(None, waiting).await.unwrap().unwrap();
    assert_eq!((row.status, row.epoch), (Cancelled, 0));
}

#[tokio::test]
async fn an_attempt_that_a_recovery_committed_is_published_by_the_outbox_relay_after_a_crash() {
    let fixture = Fixture::new("recovercrash").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let waiting = record(store, &tenant, (&[endpoint.id], endpoint.version), &[(endpoint.id, Pending)]).await;
    let begin = UnixMillis::now().minus(Duration::from_secs(60));
    store.create_replay(tenant.id, &recovery(endpoint.id, begin)).await.unwrap();

    let limits = PageLimits { events: 100, deliveries: 100 };
    let crash = |_| async { Err::<(), _>("the broker is away") };
    let failed = replay::feed(store, &Profiles::builtin(), limits, crash).await;
    assert!(matches!(failed, Err(FeedError::Publish(_))), "{failed:?}");
    let entries = store.outbox_claim(10, Duration::ZERO).await.unwrap();
    let delivery = |entry| if let OutboxEntry::Delivery(entry) = entry { Some(entry) } else { None };
    let [entry] = &entries.into_iter().filter_map(delivery).collect::<Vec<_>>()[..] else { panic!("not one delivery") };
    assert_eq!((&entry.task.delivery.event, entry.task.epoch, entry.task.number), (&waiting, 1, 3));
    // Another recovery does not change the delivery, because the retry is already due.
    store.create_replay(tenant.id, &recovery(endpoint.id, begin)).await.unwrap();
    assert_eq!(feed(store).await, []);
}

#[tokio::test]
async fn a_missed_event_whose_recovery_was_cancelled_is_missed_again() {
    let fixture = Fixture::new("missedagain").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let id = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    let off = switch(store, id, EndpointStatus::Inactive).await;
    let missed = record(store, &tenant, (&[], off), &[]).await;
    switch(store, id, EndpointStatus::Active).await;
    let asked = recovery(id, UnixMillis::now().minus(Duration::from_secs(60)));
    let first = store.create_replay(tenant.id, &asked).await.unwrap();
    assert_eq!(feed(store).await.len(), 1);
    store.steer_replay(None, first, ReplayAction::Cancel).await.unwrap();
    store.create_replay(tenant.id, &asked).await.unwrap();
    let [(task, _)] = &feed(store).await[..] else { panic!("not one delivery") };
    assert_eq!(task.delivery.event, missed);
}

#[tokio::test]
async fn a_recovery_until_now_waits_until_its_last_events_are_on_record() {
    let fixture = Fixture::new("recoverlate").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let mut asked = recovery(endpoint.id, UnixMillis::now().minus(Duration::from_secs(60)));
    asked.selection.to = UnixMillis::now();
    let id = store.create_replay(tenant.id, &asked).await.unwrap();
    // This event was accepted before the request, but the recorder writes it after the first page.
    let failed = record(store, &tenant, (&[endpoint.id], endpoint.version), &[(endpoint.id, Failed)]).await;
    let [(task, _)] = &feed(store).await[..] else { panic!("not one delivery") };
    assert_eq!(task.delivery.event, failed);
    assert_eq!(feed(store).await, []);
    let status = store.get_replay(None, id).await.unwrap().unwrap().status;
    assert_eq!(status, ReplayStatus::Running, "events of the last seconds may follow");
}

#[tokio::test]
async fn an_endpoint_has_one_unfinished_recovery() {
    let fixture = Fixture::new("onerecovery").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap().id;
    let other = store.config().create_endpoint(tenant.id, &new_endpoint("o")).await.unwrap().id;
    let from = UnixMillis(UnixMillis::now().0 - 60_000);
    let first = store.create_replay(tenant.id, &recovery(endpoint, from)).await.unwrap();
    let again = async |from: i64| store.create_replay(tenant.id, &recovery(endpoint, UnixMillis(from))).await;
    assert_eq!(again(from.0).await.unwrap(), first);
    assert_eq!(again(from.0 + 1_000).await.unwrap(), first, "the first one covers it");
    let refused = again(from.0 - 1).await;
    assert!(
        matches!(&refused, Err(StoreError::Conflict(detail)) if detail.contains("has not finished")),
        "{refused:?}"
    );
    assert_ne!(store.create_replay(tenant.id, &recovery(other, from)).await.unwrap(), first);

    // A recovery with other events, a later end or its own key is not a repeat, so it is refused. While the first recovery is
    // paused, every repeat is refused too.
    let refused = async |asked: &ReplayRequest| {
        let refused = store.create_replay(tenant.id, asked).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    };
    let mut narrowed = recovery(endpoint, from);
    narrowed.selection.event_types = vec!["a.b".parse().unwrap()];
    refused(&narrowed).await;
    let mut later = recovery(endpoint, from);
    later.selection.to = UnixMillis::now().plus(Duration::from_secs(120));
    refused(&later).await;
    refused(&ReplayRequest { idempotency_key: Some("own".into()), ..recovery(endpoint, from) }).await;
    store.steer_replay(None, first, ReplayAction::Pause).await.unwrap();
    refused(&recovery(endpoint, from)).await;
    store.steer_replay(None, first, ReplayAction::Cancel).await.unwrap();
    assert_ne!(again(from.0 - 1).await.unwrap(), first);
}
