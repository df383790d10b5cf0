//! The audit: balanced days, rows that are still on their way, and missing rows.

use std::time::Duration;

use postrider_ledger::audit::{self, AuditOptions, AuditReport, Gap};
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::messages::{AcceptedEvent, NumbersReport};

use crate::support::{Fixture, batch, decision, event, outcome};

const OPTIONS: AuditOptions = AuditOptions { days: 2, recheck_after: Duration::ZERO };

/// Returns `count` events of one ingest process, with sequence numbers from 0, accepted two minutes ago.
async fn numbered(fixture: &Fixture, count: u64) -> Vec<AcceptedEvent> {
    let tenant = fixture.tenant().await.id;
    let at = UnixMillis(UnixMillis::now().0 - 120_000);
    (0..count).map(|sequence| AcceptedEvent { instance: 7, sequence, ..event(tenant, at) }).collect()
}

fn reported(settled_below: u64, given_up: Vec<u64>) -> RecordBatch {
    let report = NumbersReport { instance: 7, settled_below, given_up, reported_at: UnixMillis::now() };
    RecordBatch { numbers: vec![report], ..RecordBatch::default() }
}

async fn audit(fixture: &Fixture) -> AuditReport {
    audit::run(&fixture.store, &OPTIONS).await.unwrap()
}

#[tokio::test]
async fn every_term_is_counted_and_the_equations_hold() {
    let fixture = Fixture::new("audit_terms").await;
    let events = numbered(&fixture, 4).await;
    let (first, second) = (EndpointId::generate(), EndpointId::generate());
    let decisions = vec![
        decision(&events[0], vec![first, second], 1),
        decision(&events[1], vec![first], 1),
        decision(&events[2], vec![], 1),
    ];
    let outcomes = vec![
        outcome(&events[0], first, 1, DeliveryStatus::Delivered, Some(200)),
        outcome(&events[0], second, 1, DeliveryStatus::Failed, Some(400)),
    ];
    fixture.store.record().write(&batch(events, decisions, outcomes)).await.unwrap();
    fixture.store.record().write(&reported(4, vec![])).await.unwrap();
    let report = audit(&fixture).await;
    assert!(report.conserved, "{report:#?}");
    let day = &report.tenants[0];
    assert_eq!((day.accepted, day.decided, day.undecided, day.matched), (4, 3, 1, 3));
    assert_eq!((day.standing.delivered, day.standing.failed, day.standing.pending), (1, 1, 1));
    assert_eq!(report.instances[0].recorded, 4);
    assert_eq!(fixture.number("SELECT count(*) FROM audits WHERE conserved AND report ? 'tenants'").await, 1);
}

#[tokio::test]
async fn a_row_that_is_removed_behind_its_back_is_a_gap_by_name() {
    let fixture = Fixture::new("audit_gaps").await;
    let events = numbered(&fixture, 5).await;
    let endpoint = EndpointId::generate();
    let decisions: Vec<_> = events.iter().map(|event| decision(event, vec![endpoint], 1)).collect();
    fixture.store.record().write(&batch(events.clone(), decisions, vec![])).await.unwrap();
    fixture.store.record().write(&reported(5, vec![])).await.unwrap();
    assert!(audit(&fixture).await.conserved);

    let sql = fixture.sql().await;
    let remove = |table: &str, column: &str, event: &AcceptedEvent| {
        format!("DELETE FROM {table} WHERE {column} = '{}'", event.id)
    };
    sql.batch_execute(&remove("events", "id", &events[1])).await.unwrap();
    sql.batch_execute(&remove("deliveries", "event_id", &events[2])).await.unwrap();
    let report = audit(&fixture).await;
    let (tenant, day) = (events[0].tenant, events[0].event_day);
    let expected = [
        Gap::Numbers { instance: 7, first: 1, last: 1 },
        Gap::Event { tenant, day, event: events[1].id.clone() },
        Gap::Delivery { tenant, day, event: events[2].id.clone(), endpoint },
    ];
    assert_eq!(report.gaps, expected);
    assert!(!report.conserved && !report.tenants[0].conserved);
    assert_eq!(report.gaps_total, 3);
}

#[tokio::test]
async fn what_was_given_up_or_repeated_or_is_not_settled_is_no_gap() {
    let fixture = Fixture::new("audit_no_gaps").await;
    let mut events = numbered(&fixture, 6).await;
    // Number 1 was given up. Number 3 repeats the event of number 2 in the same batch, number 4 repeats it in another batch.
    // Number 5 is not settled.
    events[3].id = events[2].id.clone();
    events[4].id = events[2].id.clone();
    let later = vec![events[4].clone()];
    let now = vec![events[0].clone(), events[2].clone(), events[3].clone()];
    fixture.store.record().write(&batch(now, vec![], vec![])).await.unwrap();
    fixture.store.record().write(&batch(later, vec![], vec![])).await.unwrap();
    fixture.store.record().write(&reported(5, vec![1])).await.unwrap();
    let report = audit(&fixture).await;
    assert!(report.conserved, "{report:#?}");
    assert_eq!((report.instances[0].recorded, report.instances[0].excused), (2, 3));
    fixture.store.record().write(&reported(6, vec![])).await.unwrap();
    assert_eq!(audit(&fixture).await.gaps, [Gap::Numbers { instance: 7, first: 5, last: 5 }]);
}

#[tokio::test]
async fn what_is_recorded_before_what_it_follows_from_is_on_its_way() {
    let fixture = Fixture::new("audit_on_the_way").await;
    let events = numbered(&fixture, 3).await;
    let endpoint = EndpointId::generate();
    // The decision of the first event was recorded before the event. The outcome of the second event was recorded before its
    // decision.
    let decided = decision(&events[0], vec![], 1);
    let delivered = outcome(&events[1], endpoint, 1, DeliveryStatus::Delivered, Some(200));
    fixture.store.record().write(&batch(vec![events[1].clone()], vec![decided], vec![delivered])).await.unwrap();
    let report = audit(&fixture).await;
    assert!(report.conserved, "{report:#?}");
    assert_eq!(report.tenants[0].on_the_way, 2);
    let day = &report.tenants[0];
    assert_eq!((day.accepted, day.decided, day.undecided, day.matched), (1, 0, 1, 1));
}
