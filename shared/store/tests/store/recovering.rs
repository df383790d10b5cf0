//! Recoveries: what an endpoint did not receive is delivered once, and what waits for a retry is attempted now.

use std::convert::Infallible;

use postrider_ledger::replay::{self, Counted, DryRunLimits, PageLimits, Rendition};
use postrider_model::delivery::DeliveryStatus::{self, Cancelled, Delivered, Discarded, Failed, Pending};
use postrider_model::delivery::{BodyKind, EndpointStatus, Trigger};
use postrider_model::ids::{EndpointId, EventId, Generation};
use postrider_model::replay::{ReplayMode, ReplaySelection};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::config::{EndpointDraft, Tenant};
use postrider_store::feed::FeedScope;
use postrider_store::intervention::{InterventionReason, InterventionTarget};
use postrider_store::replay::{ReplayAction, ReplayRequest};
use postrider_store::{Store, StoreError};
use postrider_wire::messages::DeliveryTask;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome, snapshot};

fn recovery(endpoint: EndpointId, from: UnixMillis) -> ReplayRequest {
    let selection = ReplaySelection {
        endpoint: Some(endpoint),
        event: None,
        from: Some(from),
        to: UnixMillis(UnixMillis::now().0 + 1),
        event_types: Vec::new(),
        attributes: Default::default(),
        only_failed: false,
        mode: ReplayMode::Recover,
    };
    ReplayRequest { selection, text: "recover".into(), idempotency_key: None }
}

/// Records an event that was decided for `matched` at a configuration version, and one report of each status.
async fn record(
    store: &Store,
    tenant: &Tenant,
    (matched, version): (&[EndpointId], i64),
    reports: &[(EndpointId, DeliveryStatus)],
) -> EventId {
    let event = event(tenant.id, UnixMillis(UnixMillis::now().0 - 1_000));
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
        // Deliveries that were decided before keep their format.
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
    // Decided, and without an attempt: it is on its way.
    record(store, &tenant, decided, &[]).await;
    // An event of a time at which the endpoint was on and did not match was not missed.
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

    // Another recovery finds nothing: everything is delivered or on its way.
    store.create_replay(tenant.id, &asked).await.unwrap();
    assert_eq!(feed(store).await, []);
    let health = store.config().endpoints_health(&[id]).await.unwrap().pop().unwrap().1;
    assert!(health.recovered_at.is_some());
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
    store.steer_replay(None, first, ReplayAction::Cancel).await.unwrap();
    assert_ne!(again(from.0 - 1).await.unwrap(), first);
}
