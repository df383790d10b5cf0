//! Lost events and deliveries are found and get a new epoch. All others are not changed.

use postrider_ledger::reconcile::{Overdue, accepted_again, repair_overdue};
use postrider_model::delivery::{DeliveryStatus, Trigger};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::config::EndpointDraft;
use postrider_store::feed::FeedScope;
use postrider_store::intervention::InterventionReason;
use postrider_store::outbox::OutboxEntry;
use postrider_store::reconcile::{Look, Looked, Repaired};
use postrider_wire::messages::{AcceptedEvent, Decision};
use std::time::Duration;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome, snapshot};

fn ago(seconds: i64) -> UnixMillis {
    UnixMillis(UnixMillis::now().0 - seconds * 1_000)
}

/// Counts every delivery that was due before `before` as lost, and none as held.
fn overdue(before: UnixMillis) -> Overdue {
    Overdue { before, at_latest: before, held_max: 0 }
}

#[tokio::test]
async fn an_undecided_event_is_republished_in_a_new_epoch_until_it_is_decided() {
    let fixture = Fixture::new("reconcile_events").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let at = ago(600);
    let (decided, young) = (event(tenant, at), event(tenant, ago(1)));
    let (deliver_at, expires_at) = (Some(ago(-600)), Some(ago(-900)));
    let lost = AcceptedEvent { deliver_at, expires_at, ..event(tenant, at) };
    let day = at.day();
    let decision = decision(&decided, vec![], 1);
    store.record().write(&batch(vec![lost.clone(), decided, young], vec![decision], vec![])).await.unwrap();

    let all = Look { day, from: day.start(), until: ago(60), handed_out: ago(60), within: Duration::from_secs(60) };
    let take = async |look| match store.take_undecided(look, 10).await.unwrap() {
        Looked::Undecided { events, left_alone } => {
            (events.into_iter().map(accepted_again).collect::<Vec<_>>(), left_alone)
        }
        other => panic!("{other:?}"),
    };
    for (from, until) in [(ago(599), ago(60)), (day.start(), ago(601))] {
        let (events, left_alone) = take(Look { from, until, ..all }).await;
        assert!(events.is_empty() && !left_alone, "it is older or younger");
    }
    let (taken, left_alone) = take(all).await;
    assert_eq!((taken.len(), left_alone), (1, false));
    let (event, data) = &taken[0];
    assert_eq!((&event.id, event.epoch, &data[..]), (&lost.id, 1, &b"{\"a\":1}"[..]));
    assert_eq!((event.deliver_at, event.expires_at), (deliver_at, expires_at));
    let (taken, left_alone) = take(all).await;
    assert!(taken.is_empty() && left_alone, "it was taken just now, and is undecided");
    let (taken, _) = take(Look { handed_out: UnixMillis(UnixMillis::now().0 + 1), ..all }).await;
    assert_eq!((&taken[0].0.id, taken[0].0.epoch), (&lost.id, 2));
    let intervention = &snapshot(store, FeedScope::DISPATCHER).await.interventions[0];
    assert_eq!((intervention.least_epoch, intervention.reason), (2, InterventionReason::Superseded));
}

#[tokio::test]
async fn a_search_over_its_time_limit_finds_nothing_and_the_next_one_can() {
    let fixture = Fixture::new("reconcile_too_long").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let lost: Vec<AcceptedEvent> = (0..11).map(|_| event(tenant, ago(600))).collect();
    let day = lost[0].event_day;
    store.record().write(&batch(lost, vec![], vec![])).await.unwrap();
    // This lock makes scans of events wait until the transaction ends.
    let mut client = fixture.sql().await;
    let held = client.transaction().await.unwrap();
    held.batch_execute("LOCK TABLE interventions").await.unwrap();
    let look = Look { day, from: day.start(), until: ago(60), handed_out: ago(60), within: Duration::from_millis(50) };
    let looked = store.take_undecided(look, 10).await.unwrap();
    assert!(matches!(looked, Looked::TooLong), "{looked:?}");
    held.rollback().await.unwrap();
    let looked = store.take_undecided(Look { within: Duration::from_secs(60), ..look }, 10).await.unwrap();
    let Looked::Undecided { events, .. } = looked else { panic!("{looked:?}") };
    assert_eq!(events.len(), 10);
}

#[tokio::test]
async fn an_overdue_delivery_gets_a_new_epoch_or_ends_if_it_cannot_be_sent() {
    let fixture = Fixture::new("reconcile_deliveries").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let endpoint = store.config().create_endpoint(tenant, &new_endpoint("here")).await.unwrap();
    let at = ago(3_600);
    let events: Vec<AcceptedEvent> = (0..4).map(|_| event(tenant, at)).collect();
    let mut decisions: Vec<_> =
        events.iter().map(|event| decision(event, vec![endpoint.id], endpoint.version)).collect();
    // Event 1 has an endpoint that does not exist. The delivery of event 2 has expired (a dispatcher discards it). The delivery
    // of event 3 was delivered.
    decisions[1].matched = vec![EndpointId::generate()];
    decisions[2].expires_at = ago(60);
    let scheduled = event(tenant, at);
    let deliver_at = Some(ago(-3_600));
    decisions.push(Decision { deliver_at, ..decision(&scheduled, vec![endpoint.id], endpoint.version) });
    let events = [&events[..], &[scheduled]].concat();
    let delivered = outcome(&events[3], endpoint.id, 1, DeliveryStatus::Delivered, Some(200));
    store.record().write(&batch(events.clone(), decisions, vec![delivered])).await.unwrap();
    let rename = |draft: &mut EndpointDraft| {
        draft.document.name = "renamed".into();
        Ok::<_, ()>(())
    };
    store.config().edit_endpoint(None, endpoint.id, None, rename).await.unwrap();

    let none = repair_overdue(store, at.day(), Overdue { held_max: 3, at_latest: ago(7_200), ..overdue(ago(60)) }, 10);
    assert_eq!(none.await.unwrap(), Some(Repaired::default()), "all three may be held");
    let repaired = repair_overdue(store, at.day(), overdue(ago(60)), 10).await.unwrap().unwrap();
    assert_eq!(repaired, Repaired { again: 2, ended: 1 });
    assert!(!store.has_overdue(at.day(), ago(60)).await.unwrap(), "neither is the scheduled one");

    let entries = store.outbox_claim(10, Duration::ZERO).await.unwrap();
    let find = |entry: &OutboxEntry| match entry {
        OutboxEntry::Delivery(pending) if pending.task.delivery.event == events[0].id => Some(pending.clone()),
        _ => None,
    };
    assert_eq!(entries.len(), 2, "{entries:?}");
    let pending = entries.iter().find_map(find).expect("the delivery of the first event");
    let task = &pending.task;
    assert_eq!((task.epoch, task.number), (1, 1));
    assert_eq!((task.trigger, pending.source.document.name.as_str()), (Trigger::First, "here"));
    let discarded = "SELECT count(*) FROM deliveries WHERE status = 3 AND discard_reason IN (0, 1)";
    assert_eq!(fixture.number(discarded).await, 1);
}
