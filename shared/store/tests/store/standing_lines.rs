//! Lines that would stand still, or whose deliveries must not be touched while they wait.

use std::time::Duration;

use postrider_ledger::manual_retry::retry_delivery;
use postrider_ledger::reconcile::{Overdue, repair_overdue};
use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_model::delivery_phase::DeliveryPhase;
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::ordering::{OnExhausted, Ordering};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::config::{Endpoint, NewEndpoint};
use postrider_store::lines::ReleasedRun;
use postrider_store::manual_retry::Retried;
use postrider_store::replay::ReplayAction;
use postrider_wire::messages::{AcceptedEvent, DeliveryTask, RunReport};
use postrider_wire::testing::first_task;
use uuid::Uuid;

use crate::lines::{advance, enqueued, ids, report};
use crate::replaying::asked;
use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

fn ago(seconds: i64) -> UnixMillis {
    UnixMillis(UnixMillis::now().0 - seconds * 1_000)
}

fn holding(name: &str) -> NewEndpoint {
    let mut new = new_endpoint(name);
    new.draft.document.ordering = Some(Ordering { key: None, on_exhausted: OnExhausted::Hold });
    new
}

/// An event of an hour ago that is decided, and its pending delivery.
async fn decided(store: &Store, endpoint: &Endpoint) -> (AcceptedEvent, DeliveryTask) {
    let event = event(endpoint.tenant, ago(3_600));
    let decision = decision(&event, vec![endpoint.id], endpoint.version);
    store.record().write(&batch(vec![event.clone()], vec![decision], vec![])).await.unwrap();
    let task = first_task(&event, endpoint.id);
    (event, task)
}

async fn record(store: &Store, event: &AcceptedEvent, endpoint: &Endpoint, status: DeliveryStatus) {
    let code = if status == DeliveryStatus::Delivered { 200 } else { 500 };
    let outcome = outcome(event, endpoint.id, 1, status, Some(code));
    store.record().write(&batch(vec![], vec![], vec![outcome])).await.unwrap();
}

async fn sweep(store: &Store) -> Vec<ReleasedRun> {
    store.lines().sweep(Uuid::nil(), &[], &[]).await.unwrap().expect("it sequences")
}

/// Repairs lines that have stood still for a moment.
async fn repair(store: &Store) -> usize {
    store.lines().repair_lines(Uuid::nil(), UnixMillis::now().plus(Duration::from_secs(1))).await.unwrap()
}

fn holds(run: &ReleasedRun, id: DeliveryId) -> RunReport {
    RunReport { holds: Some(id), ..report(run, &[]) }
}

#[tokio::test]
async fn a_delivery_behind_a_barrier_is_neither_lost_nor_retried() {
    let fixture = Fixture::new("lines-barrier").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &holding("e")).await.unwrap();
    let (before, after) = (decided(store, &endpoint).await, decided(store, &endpoint).await);
    let runs = advance(store, vec![enqueued("a", 0, &before.1), enqueued("x", 1, &after.1)], vec![]).await;
    assert_eq!(runs.iter().map(ids).collect::<Vec<_>>(), [[before.1.delivery.id]]);

    // It is the first delivery of its line, but its line waits.
    let id = after.1.delivery.id;
    let retried = retry_delivery(store, None, id, Lane::Live).await.unwrap();
    assert!(matches!(retried, Retried::UnderWay(under_way) if under_way == id), "{retried:?}");
    let overdue = Overdue { before: ago(60), at_latest: ago(60), held_max: 0 };
    let repaired = repair_overdue(store, after.0.event_day, overdue, 10).await.unwrap().unwrap();
    assert_eq!((repaired.again, repaired.ended), (1, 0), "only the message of the first line may be lost");
    let row = store.history().get_delivery(None, id).await.unwrap().unwrap();
    assert_eq!(row.epoch, 0);
    assert_eq!(store.lines().waiting_for_turn(&[before.1.delivery.id, id]).await.unwrap(), [(id, id)]);
    let in_line = DeliveryFilter { phase: Some(DeliveryPhase::InLine), ..DeliveryFilter::default() };
    let listed = store.history().list_deliveries(Some(tenant.id), &in_line, &Default::default()).await.unwrap();
    assert_eq!(listed.items.iter().map(|row| row.delivery.id).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn lines_behind_a_barrier_leave_room_for_others_in_a_sweep() {
    let fixture = Fixture::new("lines-barrier-many").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let edited = EndpointId::generate();
    let task = |endpoint| first_task(&event(TenantId::OPERATOR, UnixMillis::now()), endpoint);
    let mut new = vec![enqueued("old", 0, &task(edited))];
    new.extend((0..1_100).map(|n| enqueued(&format!("k{n}"), 1, &task(edited))));
    assert_eq!(advance(store, new, vec![]).await.len(), 1);

    let other = store.config().create_endpoint(tenant.id, &new_endpoint("other")).await.unwrap().id;
    let [first, second] = [task(other), task(other)];
    let runs = advance(store, vec![enqueued("k", 0, &first), enqueued("k", 0, &second)], vec![]).await;
    advance(store, vec![], vec![holds(&runs[0], first.delivery.id)]).await;
    store.lines().skip_held(TenantId::OPERATOR, other, "k").await.unwrap().expect("it is held");
    assert_eq!(sweep(store).await.iter().map(ids).collect::<Vec<_>>(), [[second.delivery.id]]);
}

#[tokio::test]
async fn a_line_continues_if_the_history_has_the_ends_that_were_not_reported() {
    let fixture = Fixture::new("lines-repair").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &new_endpoint("e")).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(decided(store, &endpoint).await);
    }
    let tasks: Vec<_> = all.iter().map(|(_, task)| enqueued("k", 0, task)).collect();
    let runs = advance(store, tasks, vec![]).await;
    let run = &runs[0];
    assert!(run.deliveries.len() < all.len());
    assert_eq!(repair(store).await, 0, "its first delivery has not ended");

    // The first delivery ended, and its dispatcher and the run are gone. The reconciler publishes the second one.
    record(store, &all[0].0, &endpoint, DeliveryStatus::Delivered).await;
    assert_eq!(store.lines().repair_lines(Uuid::new_v4(), ago(-60)).await.unwrap(), 0, "another process sequences");
    assert_eq!(store.lines().repair_lines(Uuid::nil(), ago(60)).await.unwrap(), 0, "its report may come");
    assert_eq!(repair(store).await, 1);
    assert_eq!(sweep(store).await, [], "the rest of the run has not ended");
    let overdue = Overdue { before: ago(60), at_latest: ago(60), held_max: 0 };
    let repaired = repair_overdue(store, all[0].0.event_day, overdue, 100).await.unwrap().unwrap();
    assert_eq!(repaired.again, 1);

    // The rest of the run ended, and the report is lost.
    for (event, _) in &all[1..run.deliveries.len()] {
        record(store, event, &endpoint, DeliveryStatus::Delivered).await;
    }
    assert_eq!(repair(store).await, 1);
    let next = sweep(store).await;
    assert_eq!(next[0].deliveries[0].0.delivery.id, all[run.deliveries.len()].1.delivery.id);
    assert_eq!(repair(store).await, 0);
}

#[tokio::test]
async fn a_failure_that_was_not_reported_holds_its_line() {
    let fixture = Fixture::new("lines-repair-held").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &holding("e")).await.unwrap();
    let (first, second) = (decided(store, &endpoint).await, decided(store, &endpoint).await);
    advance(store, vec![enqueued("k", 0, &first.1), enqueued("k", 0, &second.1)], vec![]).await;
    record(store, &first.0, &endpoint, DeliveryStatus::Failed).await;
    assert_eq!(repair(store).await, 1);
    assert_eq!(sweep(store).await, []);
    let held = store.lines().held_lines(None, endpoint.id, 10).await.unwrap();
    assert_eq!((held.len(), held[0].held, held[0].waiting), (1, first.1.delivery.id, 1));
}

#[tokio::test]
async fn what_expired_in_a_held_line_is_returned_once_and_the_held_delivery_stays() {
    let fixture = Fixture::new("lines-expired").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &holding("e")).await.unwrap().id;
    let task =
        |expires_at| DeliveryTask { expires_at, ..first_task(&event(TenantId::OPERATOR, UnixMillis::now()), endpoint) };
    let [failed, expired, waiting] = [task(ago(120)), task(ago(120)), task(ago(-120))];
    let new = [&failed, &expired, &waiting].map(|task| enqueued("k", 0, task));
    let other = enqueued("not held", 0, &task(ago(120)));
    let runs = advance(store, new.into_iter().chain([other]).collect(), vec![]).await;
    advance(store, vec![], vec![holds(&runs[0], failed.delivery.id)]).await;
    let take = async || store.lines().take_expired(Uuid::nil(), ago(60)).await.unwrap();
    assert_eq!(take().await, [expired]);
    assert_eq!(take().await, []);
    let held = store.lines().held_lines(None, endpoint, 10).await.unwrap();
    assert_eq!((held[0].held, held[0].waiting), (failed.delivery.id, 1));
}

#[tokio::test]
async fn an_expunge_erases_the_body_of_a_delivery_that_holds_its_line() {
    let fixture = Fixture::new("lines-expunge").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &holding("e")).await.unwrap();
    let (failed, waiting) = (decided(store, &endpoint).await, decided(store, &endpoint).await);
    let runs = advance(store, vec![enqueued("k", 0, &failed.1), enqueued("k", 0, &waiting.1)], vec![]).await;
    advance(store, vec![], vec![holds(&runs[0], failed.1.delivery.id)]).await;
    record(store, &failed.0, &endpoint, DeliveryStatus::Failed).await;
    store.expunge_event(tenant.id, &failed.0.id).await.unwrap();
    let lengths = "SELECT sum(octet_length(body)) FROM ordered_deliveries";
    assert_eq!(fixture.number(lengths).await, 4, "only the body of the other event is left");
    assert_eq!(store.lines().held_lines(None, endpoint.id, 10).await.unwrap()[0].held, failed.1.delivery.id);
}

#[tokio::test]
async fn a_process_that_no_longer_sequences_marks_its_last_runs() {
    let fixture = Fixture::new("lines-last-runs").await;
    let (store, task) =
        (&fixture.store, first_task(&event(TenantId::OPERATOR, UnixMillis::now()), EndpointId::generate()));
    let runs = advance(store, vec![enqueued("k", 0, &task)], vec![]).await;
    let other = Uuid::new_v4();
    store.lines().advance(other, &Default::default()).await.unwrap();
    let confirmed = [(runs[0].line.clone(), runs[0].run)];
    assert_eq!(store.lines().sweep(Uuid::nil(), &confirmed, &[]).await.unwrap(), None);
    let sql = fixture.sql().await;
    sql.batch_execute("UPDATE ordered_lines SET released_at = now() - interval '1 minute'").await.unwrap();
    assert_eq!(store.lines().sweep(other, &[], &[]).await.unwrap(), Some(vec![]), "the run is published");
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_leaves_its_line_and_stops_no_other() {
    let fixture = Fixture::new("lines-unreadable").await;
    let store = &fixture.store;
    let endpoint = EndpointId::generate();
    let [bad, next, other] =
        std::array::from_fn(|_| first_task(&event(TenantId::OPERATOR, UnixMillis::now()), endpoint));
    // The line is not released yet, because the order before it has not ended.
    let first = first_task(&event(TenantId::OPERATOR, UnixMillis::now()), endpoint);
    let new = [enqueued("a", 0, &first), enqueued("bad", 1, &bad), enqueued("bad", 1, &next), enqueued("o", 1, &other)];
    let runs = advance(store, new.into(), vec![]).await;
    let sql = fixture.sql().await;
    let spoil = "UPDATE ordered_deliveries SET task = '{\"of\": \"a later release\"}' WHERE delivery = $1";
    assert_eq!(sql.execute(spoil, &[&bad.delivery.id.0]).await.unwrap(), 1);
    assert_eq!(advance(store, vec![], vec![report(&runs[0], &ids(&runs[0]))]).await, []);
    let mut released: Vec<_> = sweep(store).await.iter().flat_map(ids).collect();
    released.extend(sweep(store).await.iter().flat_map(ids));
    released.sort();
    let mut expected = [next.delivery.id, other.delivery.id];
    expected.sort();
    assert_eq!(released, expected);
}

#[tokio::test]
async fn a_cancelled_replay_holds_no_line() {
    let fixture = Fixture::new("lines-replay").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await);
    let endpoint = store.config().create_endpoint(tenant.id, &holding("e")).await.unwrap();
    let replay = store.create_replay(tenant.id, &asked()).await.unwrap();
    let (failed, waiting, new) =
        (decided(store, &endpoint).await.1, decided(store, &endpoint).await.1, decided(store, &endpoint).await.1);
    let key = format!("{replay}/k");
    let all = vec![enqueued(&key, 0, &failed), enqueued(&key, 0, &waiting), enqueued("k", 0, &new)];
    let runs = advance(store, all, vec![]).await;
    let held = runs.iter().map(|run| holds(run, run.deliveries[0].0.delivery.id)).collect();
    advance(store, vec![], held).await;
    store.steer_replay(None, replay, ReplayAction::Cancel).await.unwrap();
    let held = store.lines().held_lines(None, endpoint.id, 10).await.unwrap();
    assert_eq!(held.iter().map(|line| line.held).collect::<Vec<_>>(), [new.delivery.id], "not a line of the replay");
    assert_eq!(sweep(store).await.iter().map(ids).collect::<Vec<_>>(), [[waiting.delivery.id]]);
}

/// The plans of prepared statements are kept, and the first ones are made while the tables are empty.
#[tokio::test]
async fn no_statement_reads_whole_tables_of_lines() {
    let fixture = Fixture::new("lines-plans").await;
    let store = &fixture.store;
    for _ in 0..10 {
        let task = first_task(&event(TenantId::OPERATOR, UnixMillis::now()), EndpointId::generate());
        let runs = advance(store, vec![enqueued("k", 0, &task)], vec![]).await;
        let confirmed = [(runs[0].line.clone(), runs[0].run)];
        store.lines().sweep(Uuid::nil(), &confirmed, &[]).await.unwrap();
        advance(store, vec![], vec![report(&runs[0], &ids(&runs[0]))]).await;
    }
    // The statistics of a connection are complete when it has ended.
    fixture.terminate_all().await;
    let scans = "SELECT sum(idx_scan)::bigint FROM pg_stat_user_tables WHERE relname = 'ordered_lines'";
    while fixture.number(scans).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Each index read its table once when it was made.
    let whole = "SELECT sum(seq_scan)::bigint - (SELECT count(*) FROM pg_indexes WHERE tablename IN ('ordered_lines', 'ordered_deliveries'))
                 FROM pg_stat_user_tables WHERE relname IN ('ordered_lines', 'ordered_deliveries')";
    assert_eq!(fixture.number(whole).await, 0);
}
