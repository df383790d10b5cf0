//! Erasures: what they find and erase, and what they leave alone.

use std::time::Duration;

use bytes::Bytes;
use postrider_ledger::erase::{self, Stepped};
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::erasure::{ErasureStage, ErasureStatus};
use postrider_model::event::Attributes;
use postrider_model::ids::{DeliveryId, EndpointId, ErasureId, EventId, Generation, TenantId};
use postrider_model::limits::ERASURES_OPEN_MAX;
use postrider_model::time::UnixMillis;
use postrider_store::audit_log::AuditFilter;
use postrider_store::crypto::MasterKeys;
use postrider_store::erasures::{Claim, Erasure, ErasureStep, Examined, Found, Hits, NewErasure, StepEnd};
use postrider_store::history::{PageRequest, TestData};
use postrider_store::record::{DeadLetter, RecordBatch};
use postrider_store::{Store, StoreConfig, StoreError};
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AcceptedEvent, OutcomeReport};
use zeroize::Zeroizing;

use crate::support::{Fixture, batch, decision, event, new_endpoint, outcome};

const VALUE: &str = "jo@example.com";

/// An erasure of [`VALUE`] in every field, in events that were accepted until a minute ago.
fn everywhere() -> NewErasure {
    NewErasure {
        field: None,
        value: Zeroizing::new(VALUE.to_owned()),
        anywhere: false,
        since: None,
        until: UnixMillis::now().minus(Duration::from_secs(60)),
        dry_run: false,
    }
}

/// Makes steps until nothing is left to do.
async fn run(store: &Store) {
    while erase::step(store).await.unwrap().is_some() {}
}

/// Creates an erasure, makes all of its steps and returns it.
async fn erased(store: &Store, tenant: TenantId, new: &NewErasure) -> Erasure {
    let id = store.create_erasure(tenant, new).await.unwrap();
    run(store).await;
    store.get_erasure(Some(tenant), id).await.unwrap().unwrap()
}

/// An event that was accepted this long ago.
fn accepted(tenant: TenantId, ago: Duration) -> AcceptedEvent {
    event(tenant, UnixMillis::now().minus(ago))
}

async fn record(store: &Store, event: &AcceptedEvent, data: &str, outcomes: Vec<(OutcomeReport, Bytes)>) {
    let version = store.feed().config_version().await.unwrap();
    let endpoints = outcomes.iter().map(|(report, _)| report.delivery.endpoint).collect();
    let decided = decision(event, endpoints, version);
    let events = vec![(event.clone(), Bytes::from(data.to_owned()))];
    store.record().create_partitions(event.event_day).await.unwrap();
    let rows = RecordBatch { events, outcomes, ..batch(vec![], vec![decided], vec![]) };
    store.record().write(&rows).await.unwrap();
}

/// The report of a first attempt that was answered with `answer`.
fn answered(event: &AcceptedEvent, status: DeliveryStatus, answer: &str) -> (OutcomeReport, Bytes) {
    let code = if status == DeliveryStatus::Delivered { 200 } else { 500 };
    let mut report = outcome(event, EndpointId::generate(), 1, status, Some(code));
    report.attempt.as_mut().unwrap().response_headers = HeaderList::from([("server", "x")]);
    (report, Bytes::from(answer.to_owned()))
}

async fn has_payload(store: &Store, event: &AcceptedEvent) -> bool {
    store.history().get_event(event.tenant, &event.id).await.unwrap().unwrap().data.is_some()
}

fn letter(routing_key: &str, body: &str) -> DeadLetter {
    DeadLetter {
        received_at: UnixMillis::now(),
        source: "postrider.intake".into(),
        reason: "no".into(),
        body: Bytes::from(body.to_owned()),
        whole_bytes: None,
        producer: None,
        headers: vec![("x".into(), "y".into())],
        routing_key: routing_key.into(),
        content_type: None,
        message_id: None,
    }
}

async fn letter_bodies(fixture: &Fixture) -> Vec<String> {
    let sql = "SELECT convert_from(body, 'UTF8') FROM dead_letters ORDER BY id";
    fixture.sql().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_erasure_expunges_the_events_that_hold_the_value_and_no_others() {
    let fixture = Fixture::new("erase").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let hour = Duration::from_secs(3_600);
    let by_data = accepted(tenant, hour);
    let escaped = accepted(tenant, hour);
    let by_metadata = AcceptedEvent {
        metadata: Some(serde_json::value::RawValue::from_string(format!(r#"{{"user":"{VALUE}"}}"#)).unwrap()),
        ..accepted(tenant, hour)
    };
    let attributes = Attributes([("recipient".into(), VALUE.into()), ("bridge".into(), "b1".into())].into());
    let by_attribute = AcceptedEvent { attributes, ..accepted(tenant, hour) };
    let (longer, foreign, later) = (accepted(tenant, hour), accepted(other, hour), accepted(tenant, Duration::ZERO));
    record(store, &by_data, &format!(r#"{{"to":["{VALUE}"],"nul":"\u0000"}}"#), vec![]).await;
    record(store, &escaped, r#"{"to":"jo\u0040example.com"}"#, vec![]).await;
    for event in [&by_metadata, &by_attribute] {
        record(store, event, "{}", vec![]).await;
    }
    record(store, &longer, &format!(r#"{{"to":"bo{VALUE}"}}"#), vec![]).await;
    for event in [&foreign, &later] {
        record(store, event, &format!(r#"{{"to":"{VALUE}"}}"#), vec![]).await;
    }

    let counted = erased(store, tenant, &NewErasure { dry_run: true, ..everywhere() }).await;
    assert_eq!((counted.status, counted.found.events, counted.examined.events), (ErasureStatus::Finished, 4, 5));
    assert!(has_payload(store, &by_data).await, "a dry run erases nothing");

    let done = erased(store, tenant, &everywhere()).await;
    assert_eq!((done.status, done.found.events, done.examples.len()), (ErasureStatus::Finished, 4, 4), "{done:?}");
    assert_eq!(done.value_hash, counted.value_hash);
    for event in [&by_data, &escaped, &by_metadata, &by_attribute] {
        assert!(!has_payload(store, event).await, "{}", event.id);
    }
    for event in [&longer, &foreign, &later] {
        assert!(has_payload(store, event).await, "{}", event.id);
    }
    let left = store.history().get_event(tenant, &by_attribute.id).await.unwrap().unwrap().summary.attributes;
    assert_eq!(left, Attributes([("bridge".into(), "b1".into())].into()));
    let metadata = "SELECT count(*) FROM events WHERE metadata IS NOT NULL";
    assert_eq!(fixture.number(metadata).await, 0);
    assert_eq!(fixture.number("SELECT count(*) FROM erasures WHERE value IS NOT NULL").await, 0);
    let dump = "SELECT count(*) FROM audit_log WHERE coalesce(before, '') || coalesce(after, '') LIKE '%jo@%'";
    assert_eq!(fixture.number(dump).await, 0, "no audit entry holds the value");
    let entries = store.history().list_audit_log(&AuditFilter::default(), &PageRequest::default()).await.unwrap().items;
    let of_erasure = entries.iter().filter(|entry| entry.target == done.id.to_string());
    assert_eq!(
        of_erasure.map(|entry| entry.action.clone()).collect::<Vec<_>>(),
        ["erasure.finished", "erasure.created"]
    );
    let again = erased(store, tenant, &everywhere()).await;
    assert_eq!(again.found, Found::default(), "nothing is left");
}

#[tokio::test]
async fn a_field_limits_an_erasure_to_events_with_the_value_there() {
    let fixture = Fixture::new("erasefield").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let (there, elsewhere) = (accepted(tenant, Duration::from_secs(90)), accepted(tenant, Duration::from_secs(80)));
    record(store, &there, r#"{"recipient":{"id":4711}}"#, vec![]).await;
    record(store, &elsewhere, r#"{"amount":4711}"#, vec![]).await;
    let by_id = NewErasure {
        field: Some("data.recipient.id".into()),
        value: Zeroizing::new("4711".to_owned()),
        ..everywhere()
    };
    assert_eq!(erased(store, tenant, &by_id).await.found.events, 1);
    assert!(!has_payload(store, &there).await && has_payload(store, &elsewhere).await);
}

#[tokio::test]
async fn a_value_in_a_field_is_erased_from_the_attributes_and_their_suggestions_too() {
    let fixture = Fixture::new("eraseboth").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let attributes = Attributes([("recipient".into(), VALUE.into()), ("bridge".into(), "b1".into())].into());
    let event = AcceptedEvent { attributes, ..accepted(tenant, Duration::from_secs(90)) };
    record(store, &event, &format!(r#"{{"to":"{VALUE}"}}"#), vec![]).await;
    let suggest = "INSERT INTO attribute_values (tenant, day, name, value, events, seen_at)
                   SELECT $1, current_date, 'recipient', value, 1, now() FROM unnest($2::text[]) AS value";
    fixture.sql().await.execute(suggest, &[&tenant.0, &[VALUE, "al@example.com"].as_slice()]).await.unwrap();

    let by_field = NewErasure { field: Some("data.to".into()), ..everywhere() };
    assert_eq!(erased(store, tenant, &by_field).await.found.events, 1);
    let left = store.history().get_event(tenant, &event.id).await.unwrap().unwrap().summary.attributes;
    assert_eq!(left, Attributes([("bridge".into(), "b1".into())].into()));
    assert_eq!(fixture.number("SELECT count(*) FROM attribute_values").await, 1, "only the other value is left");
}

#[tokio::test]
async fn the_last_error_of_the_tenants_endpoints_is_erased_if_it_contains_the_value() {
    let fixture = Fixture::new("eraselasterror").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let health =
        "INSERT INTO endpoint_health (endpoint, failures, failing_since, last_failure_at, failing, turned, last_error)
                  VALUES ($1, 1, now(), now(), false, 0, $2)";
    for (tenant, error) in [(tenant, "no user jo@example.com"), (tenant, "timed out"), (other, VALUE)] {
        let endpoint = store.config().create_endpoint(tenant, &new_endpoint("e")).await.unwrap().id;
        fixture.sql().await.execute(health, &[&endpoint.0, &error]).await.unwrap();
    }
    let with_error = "SELECT count(*) FROM endpoint_health WHERE last_error IS NOT NULL";
    erased(store, tenant, &NewErasure { dry_run: true, ..everywhere() }).await;
    assert_eq!(fixture.number(with_error).await, 3);
    erased(store, tenant, &everywhere()).await;
    assert_eq!(fixture.number(with_error).await, 2);
    assert_eq!(fixture.number("SELECT count(*) FROM endpoint_health WHERE last_error LIKE 'no user%'").await, 0);
}

#[tokio::test]
async fn letters_that_may_be_of_others_stay_and_a_routing_key_keeps_only_the_tenant() {
    let fixture = Fixture::new("eraseletters").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let body = format!(r#"{{"tenant":"{tenant}","to":"{VALUE}"}}"#);
    let cut = |routing_key: &str| DeadLetter { whole_bytes: Some(300_000), ..letter(routing_key, &body) };
    let dead_letters = vec![
        letter(&format!("{tenant}.{VALUE}"), "x"),
        cut(&format!("{tenant}.a.b")),
        letter(&format!("{other}.a.b"), &body),
        letter("ten_operator.a.b", &body),
        cut("a.b"),
        DeadLetter { reason: format!("of {other}"), ..letter("a.c", &body) },
        DeadLetter { headers: vec![("x-of".into(), "ten_operator".into())], ..letter("a.d", &body) },
    ];
    for letter in dead_letters {
        store.record().write(&RecordBatch { dead_letters: vec![letter], ..RecordBatch::default() }).await.unwrap();
    }
    let done = erased(store, tenant, &everywhere()).await;
    assert_eq!((done.found.letters, done.found.letters_shared), (2, 5));
    let gone = "SELECT routing_key FROM dead_letters WHERE discarded_at IS NOT NULL AND body = '' ORDER BY id";
    let gone: Vec<String> = fixture.sql().await.query(gone, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(gone, [tenant.to_string(), tenant.to_string()]);
    assert_eq!(fixture.number("SELECT count(*) FROM dead_letters WHERE discarded_at IS NULL").await, 5);
}

#[tokio::test]
async fn a_letter_whose_requeue_commits_during_its_erasure_is_not_published() {
    let fixture = Fixture::new("eraserequeue").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let dead = letter(&format!("{tenant}.a.b"), VALUE);
    store.record().write(&RecordBatch { dead_letters: vec![dead], ..RecordBatch::default() }).await.unwrap();
    let mut client = fixture.sql().await;
    let requeue = client.transaction().await.unwrap();
    requeue.execute("UPDATE dead_letters SET requeued_at = now()", &[]).await.unwrap();
    let entry = "INSERT INTO outbox (tenant, dead_letter, created_at, claimed_at) SELECT $1, id, now(), now() FROM dead_letters";
    requeue.execute(entry, &[&tenant.0]).await.unwrap();

    let new = everywhere();
    let erasing = erased(store, tenant, &new);
    let commits = async {
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while fixture.number(waits).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        requeue.commit().await.unwrap();
    };
    let (done, ()) = tokio::join!(erasing, commits);
    assert_eq!(done.found.letters, 1);
    assert_eq!(fixture.number("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn answers_deliveries_test_calls_and_dead_letters_are_erased_too() {
    let fixture = Fixture::new("eraserest").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let hour = Duration::from_secs(3_600);
    let (held, echoed, kept) = (accepted(tenant, hour), accepted(tenant, hour), accepted(tenant, hour));
    let pending = answered(&held, DeliveryStatus::Pending, "thanks");
    let echo = answered(&echoed, DeliveryStatus::Delivered, &format!("mailed <{VALUE}>"));
    let plain = answered(&kept, DeliveryStatus::Delivered, "fine");
    let ids = [&pending, &echo, &plain].map(|(report, _)| report.delivery.id);
    record(store, &held, &format!(r#"{{"to":"{VALUE}"}}"#), vec![pending]).await;
    record(store, &echoed, "{}", vec![echo]).await;
    record(store, &kept, "{}", vec![plain]).await;
    let tested = DeliveryId::derive(tenant, &EventId::generate(), EndpointId::generate(), &Generation::First);
    store.history().keep_test_data(tenant, tested, UnixMillis::now(), &format!(r#"{{"to":"{VALUE}"}}"#)).await.unwrap();
    let dead_letters = vec![
        letter(&format!("{tenant}.a.b"), &format!(r#"{{"tenant":"{tenant}","data":{{"to":"{VALUE}""#)),
        letter("", &format!(r#"{{"tenant":"{tenant}","to":"{VALUE}"}} {{"tenant":"{other}"}}"#)),
        letter(&format!("{other}.a.b"), &format!(r#"{{"tenant":"{other}","to":"{VALUE}"}}"#)),
        letter(&format!("{tenant}.a.b"), &format!(r#"{{"tenant":"{tenant}","to":"al@example.com"}}"#)),
    ];
    let bodies: Vec<String> =
        dead_letters.iter().map(|letter| String::from_utf8(letter.body.to_vec()).unwrap()).collect();
    for letter in dead_letters {
        store.record().write(&RecordBatch { dead_letters: vec![letter], ..RecordBatch::default() }).await.unwrap();
    }

    let counted = erased(store, tenant, &NewErasure { dry_run: true, ..everywhere() }).await;
    let expected = Found { events: 1, deliveries: 1, test_calls: 1, attempts: 1, letters: 1, letters_shared: 1 };
    assert_eq!(counted.found, expected);
    assert_eq!(letter_bodies(&fixture).await, bodies, "a dry run erases nothing");

    let done = erased(store, tenant, &everywhere()).await;
    assert_eq!(done.found, Found { attempts: 2, ..expected }, "the answer to the expunged event is erased as well");
    assert_eq!((done.examined.deliveries, done.examined.letters, done.stage), (3, 3, ErasureStage::DeadLetters));
    let excerpts = async |id| {
        let (_, attempts) = store.history().delivery_with_attempts(None, id).await.unwrap().unwrap();
        (attempts[0].response_excerpt.clone(), attempts[0].attempt.status_code)
    };
    assert_eq!(excerpts(ids[0]).await, (Bytes::new(), Some(500)));
    assert_eq!(excerpts(ids[1]).await, (Bytes::new(), Some(200)));
    assert_eq!(excerpts(ids[2]).await, (Bytes::from_static(b"fine"), Some(200)));
    let discarded = store.history().get_delivery(None, ids[0]).await.unwrap().unwrap();
    let ended = (discarded.status, discarded.discard_reason);
    assert_eq!(ended, (DeliveryStatus::Discarded, Some(DiscardReason::Expunged)));
    assert_eq!(store.history().test_data(tested).await.unwrap(), TestData::Dropped);
    let left = letter_bodies(&fixture).await;
    assert_eq!((left[0].as_str(), &left[1..]), ("", &bodies[1..]));
    let open = "SELECT count(*) FROM dead_letters WHERE discarded_at IS NULL";
    assert_eq!(fixture.number(open).await, 3);
}

#[tokio::test]
async fn an_erasure_goes_on_at_its_last_step_and_a_step_is_committed_once() {
    let fixture = Fixture::new("erasesteps").await;
    let (store, tenant) = (&fixture.store, fixture.tenant().await.id);
    let mut events = Vec::new();
    for number in 0..120_u64 {
        let event = accepted(tenant, Duration::from_secs(600 - number));
        record(store, &event, &format!(r#"{{"to":"{VALUE}"}}"#), vec![]).await;
        events.push(event);
    }
    let id = store.create_erasure(tenant, &everywhere()).await.unwrap();
    assert_eq!(erase::step(store).await.unwrap(), Some(Stepped::Continues(id)));
    let first = store.get_erasure(None, id).await.unwrap().unwrap();
    assert_eq!((first.found.events, first.status), (25, ErasureStatus::Running), "a step has at most 25 hits");
    assert!(!has_payload(store, &events[24]).await && has_payload(store, &events[25]).await, "oldest first");

    // A process claims a step and dies. After its claim has expired, another process goes on.
    let Some(Claim::Step(lost)) = store.claim_erasure().await.unwrap() else { panic!("a step is due") };
    assert_eq!(erase::step(store).await.unwrap(), None, "the step is claimed");
    fixture.sql().await.execute("UPDATE erasures SET claimed_until = 'epoch'", &[]).await.unwrap();
    run(store).await;
    let done = store.get_erasure(None, id).await.unwrap().unwrap();
    assert_eq!((done.status, done.found.events, done.examined.events), (ErasureStatus::Finished, 120, 120));
    let late = ErasureStep {
        hits: Hits::TestCalls(vec![]),
        examined: Examined::default(),
        reached_at: None,
        end: StepEnd::Finish,
    };
    assert!(!store.commit_erasure_step(&lost, late).await.unwrap(), "the process that was late commits nothing");
}

#[tokio::test]
async fn one_erasure_of_a_tenant_runs_at_a_time_and_tenants_take_turns() {
    let fixture = Fixture::new("eraseturns").await;
    let (store, one, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let mut ids: Vec<ErasureId> = Vec::new();
    for tenant in [one, one, other] {
        ids.push(store.create_erasure(tenant, &everywhere()).await.unwrap());
    }
    let status = async |id| store.get_erasure(None, id).await.unwrap().unwrap().status;
    let mut order = Vec::new();
    for _ in 0..4 {
        let Some(Stepped::Continues(id)) = erase::step(store).await.unwrap() else { panic!("a step is due") };
        order.push(id);
    }
    assert_eq!(order, [ids[0], ids[2], ids[0], ids[2]]);
    assert_eq!(status(ids[1]).await, ErasureStatus::Waiting);
    run(store).await;
    for id in ids {
        assert_eq!(status(id).await, ErasureStatus::Finished);
    }
}

#[tokio::test]
async fn an_erasure_is_cancelled_limited_and_fails_without_its_key() {
    let fixture = Fixture::new("erasecancel").await;
    let (store, tenant, other) = (&fixture.store, fixture.tenant().await.id, fixture.tenant().await.id);
    let id = store.create_erasure(tenant, &everywhere()).await.unwrap();
    assert!(matches!(store.cancel_erasure(Some(other), id).await, Err(StoreError::NotFound { what: "erasure" })));
    assert_eq!(store.get_erasure(Some(other), id).await.unwrap(), None);
    store.cancel_erasure(Some(tenant), id).await.unwrap();
    store.cancel_erasure(None, id).await.unwrap();
    run(store).await;
    let cancelled = store.get_erasure(None, id).await.unwrap().unwrap();
    assert_eq!((cancelled.status, cancelled.finished_at.is_some()), (ErasureStatus::Cancelled, true));
    assert_eq!(fixture.number("SELECT count(*) FROM erasures WHERE value IS NOT NULL").await, 0);

    let done = erased(store, tenant, &everywhere()).await;
    let refused = store.cancel_erasure(None, done.id).await.unwrap_err().to_string();
    assert_eq!(refused, "the erasure is finished; only a running or waiting one can be cancelled");

    for _ in 0..ERASURES_OPEN_MAX {
        store.create_erasure(tenant, &everywhere()).await.unwrap();
    }
    let refused = store.create_erasure(tenant, &everywhere()).await.unwrap_err().to_string();
    assert!(refused.starts_with("the tenant has 10 erasures that are running or waiting, at most 10"), "{refused}");

    let keys = MasterKeys::parse(&MasterKeys::generate_text("k2")).unwrap();
    let stranger = Store::connect(StoreConfig::new(&fixture.scope.database_url), keys).unwrap();
    assert!(matches!(erase::step(&stranger).await.unwrap(), Some(Stepped::Ended(_))));
    let page = store.list_erasures(Some(tenant), &PageRequest::default()).await.unwrap().items;
    let failed = page.iter().find(|erasure| erasure.status == ErasureStatus::Failed).expect("it failed");
    assert!(failed.failure.as_deref().is_some_and(|why| why.contains("master key")), "{failed:?}");
}

#[tokio::test]
async fn the_value_of_a_waiting_erasure_is_resealed() {
    let fixture = Fixture::new("erasereseal").await;
    let (old, new) = (MasterKeys::generate_text("old"), MasterKeys::generate_text("new"));
    let with = |keys: &str| {
        Store::connect(StoreConfig::new(&fixture.scope.database_url), MasterKeys::parse(keys).unwrap()).unwrap()
    };
    let tenant = fixture.tenant().await.id;
    let id = with(&old).create_erasure(tenant, &everywhere()).await.unwrap();
    let done = with(&format!("{new},{old}")).config().reseal().await.unwrap();
    assert_eq!(done.resealed.into_iter().collect::<Vec<_>>(), [("old".to_owned(), 1)]);
    let after = with(&new);
    run(&after).await;
    assert_eq!(after.get_erasure(None, id).await.unwrap().unwrap().status, ErasureStatus::Finished);
}
