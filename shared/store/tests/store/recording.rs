//! Writes the history: messages in any order, any number of times, and with any bytes.

use bytes::Bytes;
use futures::future::join_all;
use postrider_model::dead_letter::DeadLetterFilter;
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::ids::{EndpointId, SendId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::history::{DeliveryRow, PageRequest};
use postrider_store::record::{DeadLetter, RecordBatch, Written};
use postrider_wire::messages::{Decision, OutcomeReport};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};

use crate::support::{Fixture, batch, decision, event, outcome};

use DeliveryStatus::{Cancelled, Delivered, Discarded, Failed, Pending};

#[tokio::test]
async fn an_event_decided_and_delivered_in_one_batch_is_one_row_a_table() {
    let fixture = Fixture::new("whole").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let event = event(TenantId::generate(), UnixMillis::now());
    let (decided, delivered) =
        (decision(&event, vec![endpoint], 7), outcome(&event, endpoint, 1, Delivered, Some(200)));
    let one = Written { events: 1, decisions: 1, deliveries: 1, attempts: 1, ..Written::default() };
    let message = batch(vec![event.clone()], vec![decided], vec![delivered.clone()]);
    assert_eq!(store.record().write(&message).await.unwrap(), one);
    assert_eq!(store.record().write(&message).await.unwrap(), Written::default(), "again: nothing is new");

    let row = store.history().get_delivery(Some(event.tenant), delivered.delivery.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.number, row.status_code), (Delivered, 1, Some(200)));
    assert_eq!(row.first_attempt_at, Some(UnixMillis(event.accepted_at.0 + 1_005)));
    assert_eq!(row.finished_at, Some(delivered.at));
    assert_eq!(row.next_attempt_at, None);
    let attempts = store.history().delivery_with_attempts(None, row.delivery.id).await.unwrap().unwrap().1;
    assert_eq!(attempts.len(), 1);
    let sent = delivered.attempt.unwrap();
    assert_eq!(
        (attempts[0].attempt.send_id, &attempts[0].attempt.request_headers),
        (sent.send_id, &sent.request_headers)
    );
    assert_eq!(attempts[0].response_excerpt.as_ref(), b"ok");
    assert_eq!(
        store.history().get_event(event.tenant, &event.id).await.unwrap().unwrap().data.unwrap().as_ref(),
        b"{\"a\":1}"
    );
}

/// A message for a batch: a decision or the report of an outcome.
#[derive(Clone)]
enum Message {
    Decided(Decision),
    Reported(Box<OutcomeReport>),
}

fn gather(messages: &[Message]) -> RecordBatch {
    let mut all = RecordBatch::default();
    for message in messages {
        match message {
            Message::Decided(decision) => all.decisions.push(decision.clone()),
            Message::Reported(report) => all.outcomes.push((report.as_ref().clone(), Bytes::new())),
        }
    }
    all
}

/// A random report: any status, epoch and attempt number, with or without an attempt.
fn any_report(
    rng: &mut impl Rng,
    event: &postrider_wire::messages::AcceptedEvent,
    endpoint: EndpointId,
) -> OutcomeReport {
    let status = [Pending, Failed, Cancelled, Discarded, Delivered][rng.random_range(0..5)];
    let code = [None, Some(200), Some(410), Some(500)][rng.random_range(0..4)];
    let mut report = outcome(event, endpoint, rng.random_range(1..4), status, code);
    report.epoch = rng.random_range(0..2);
    report.at = UnixMillis(event.accepted_at.0 + rng.random_range(0..3));
    report.delivery.created_at = UnixMillis(event.accepted_at.0 + rng.random_range(0..3));
    // These fields are determined by the state, as in real reports: two reports with the same state and time have equal fields.
    report.next_attempt_at = (status == Pending).then_some(UnixMillis(report.at.0 + 1_000));
    report.discard_reason = (status == Discarded).then_some(DiscardReason::Expired);
    if rng.random_range(0..4) == 0 {
        report.attempt = None;
        // A pending delivery without an attempt is due immediately, as in a decision of that time.
        report.next_attempt_at = (status == Pending).then_some(report.at);
    }
    report
}

#[tokio::test]
async fn the_final_row_is_the_same_for_every_order_and_every_cut_into_batches() {
    let fixture = Fixture::new("merge").await;
    let store = &fixture.store;
    let seed = rand::random::<u64>();
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    for round in 0..40 {
        let mut rows: Vec<DeliveryRow> = Vec::new();
        let (template, endpoint) = (event(TenantId::generate(), UnixMillis::now()), EndpointId::generate());
        let mut messages = vec![Message::Decided(decision(&template, vec![endpoint], 3))];
        for _ in 0..rng.random_range(1..6) {
            messages.push(Message::Reported(Box::new(any_report(&mut rng, &template, endpoint))));
        }
        // Each pass writes the same messages about an event of a separate tenant, in another order and in other batches.
        for _ in 0..3 {
            let (tenant, id) = (TenantId::generate(), endpoint);
            let rename = |message: &Message| match message.clone() {
                Message::Decided(mut decision) => {
                    decision.tenant = tenant;
                    Message::Decided(decision)
                }
                Message::Reported(mut report) => {
                    let mut event = template.clone();
                    event.tenant = tenant;
                    let created_at = report.delivery.created_at;
                    report.delivery = crate::support::delivery_ref(&event, id);
                    report.delivery.created_at = created_at;
                    if let Some(attempt) = &mut report.attempt {
                        attempt.send_id = SendId::generate();
                    }
                    Message::Reported(report)
                }
            };
            let mut shuffled: Vec<Message> = messages.iter().map(rename).collect();
            shuffled.shuffle(&mut rng);
            // One message is duplicated.
            shuffled.push(shuffled[0].clone());
            let mut rest = shuffled.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rng.random_range(1..=rest.len()));
                store.record().write(&gather(now)).await.unwrap();
                rest = later;
            }
            let mut event = template.clone();
            event.tenant = tenant;
            let mut row =
                store.history().deliveries_of_event(tenant, &event.id, event.event_day).await.unwrap().remove(0);
            // The rows may differ only in tenant and id.
            (row.delivery.tenant, row.delivery.id) = (TenantId::OPERATOR, postrider_model::ids::DeliveryId(uuid_nil()));
            rows.push(row);
        }
        assert_eq!(rows[0], rows[1], "seed {seed} round {round}");
        assert_eq!(rows[0], rows[2], "seed {seed} round {round}");
    }
}

fn uuid_nil() -> uuid::Uuid {
    uuid::Uuid::nil()
}

#[tokio::test]
async fn only_a_delivered_replaces_another_end() {
    let fixture = Fixture::new("terminal").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let event = event(TenantId::generate(), UnixMillis::now());
    let status_after = async |status, code, number| {
        let report = outcome(&event, endpoint, number, status, code);
        store.record().write(&batch(vec![], vec![], vec![report.clone()])).await.unwrap();
        store.history().get_delivery(None, report.delivery.id).await.unwrap().unwrap()
    };
    assert_eq!(status_after(Pending, Some(500), 1).await.status, Pending);
    let failed = status_after(Failed, Some(500), 3).await;
    assert_eq!((failed.status, failed.number, failed.next_attempt_at), (Failed, 3, None));
    let late = status_after(Pending, Some(503), 2).await;
    assert_eq!((late.status, late.number, late.status_code), (Failed, 3, Some(500)), "an old report changes nothing");
    assert_eq!(status_after(Delivered, Some(200), 2).await.status, Delivered);
    assert_eq!(status_after(Failed, Some(500), 4).await.status, Delivered);
}

#[tokio::test]
async fn a_post_that_is_reported_twice_is_one_attempt_and_counts_once() {
    let fixture = Fixture::new("twice").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let event = event(TenantId::generate(), UnixMillis::now());
    let failed = outcome(&event, endpoint, 1, Pending, Some(500));
    let delivered = outcome(&event, endpoint, 2, Delivered, Some(204));
    // The batch contains a duplicate, and four writers write the batch at the same time.
    let both = batch(vec![], vec![], vec![failed.clone(), delivered.clone(), failed.clone()]);
    join_all((0..4).map(|_| async {
        while let Err(error) = store.record().write(&both).await {
            assert!(error.is_retryable(), "{error}");
        }
    }))
    .await;
    assert_eq!(store.history().delivery_with_attempts(None, failed.delivery.id).await.unwrap().unwrap().1.len(), 2);
    let sum = "SELECT sum(successes * 1000000 + failures * 10000 + retries * 100 + first_within_5s)::bigint
               FROM endpoint_minutes";
    assert_eq!(fixture.number(sum).await, 1_010_101);
    assert_eq!(fixture.number("SELECT sum(duration_us)::bigint FROM endpoint_minutes").await, 10_000);
}

#[tokio::test]
async fn two_decisions_of_one_event_merge_by_union() {
    let fixture = Fixture::new("union").await;
    let store = &fixture.store;
    let event = event(TenantId::generate(), UnixMillis::now());
    let [a, b, c] = std::array::from_fn(|_| EndpointId::generate());
    store.record().write(&batch(vec![], vec![decision(&event, vec![a, b], 5)], vec![])).await.unwrap();
    let again = vec![decision(&event, vec![b, c], 6), decision(&event, vec![], 7)];
    assert_eq!(store.record().write(&batch(vec![], again.clone(), vec![])).await.unwrap().decisions, 1);
    assert_eq!(store.record().write(&batch(vec![], again, vec![])).await.unwrap().decisions, 0);
    let row = store.history().get_decision(event.tenant, &event.id, event.event_day).await.unwrap().unwrap();
    let mut matched = row.matched.clone();
    matched.sort_unstable();
    assert_eq!((matched, row.config_version), (vec![a, b, c], 5));
    assert_eq!(store.history().deliveries_of_event(event.tenant, &event.id, event.event_day).await.unwrap().len(), 3);

    let nothing = crate::support::event(TenantId::generate(), UnixMillis::now());
    store.record().write(&batch(vec![], vec![decision(&nothing, vec![], 5)], vec![])).await.unwrap();
    let row = store.history().get_decision(nothing.tenant, &nothing.id, nothing.event_day).await.unwrap().unwrap();
    assert!(row.matched.is_empty(), "that nothing matched is on record, too");
}

#[tokio::test]
async fn no_legal_json_and_no_answer_is_refused() {
    let fixture = Fixture::new("nul").await;
    let (store, endpoint) = (&fixture.store, EndpointId::generate());
    let mut event = event(TenantId::generate(), UnixMillis::now());
    let metadata = r#"{"nul":"\u0000","lone":"\ud800","big":123456789012345678901234567890,"a":1,"a":2}"#;
    event.occurred_at = UnixMillis(i64::MAX);
    event.metadata = Some(serde_json::value::RawValue::from_string(metadata.into()).unwrap());
    event.attributes.0.insert("bridge".into(), "a\0\"b\\".into());
    let data = Bytes::from_static(br#"{"x":"\u0000 and \ud834"}"#);
    let mut report = outcome(&event, endpoint, 1, Failed, None);
    let attempt = report.attempt.as_mut().unwrap();
    attempt.error = Some("reset \0 by peer".into());
    attempt.url = "https://example.com/\0".into();
    attempt.request_headers = [("x", "nul \0")].into();
    attempt.response_headers = [("y", "\0\u{7f}é")].into();
    let excerpt = Bytes::from_static(b"\x00\xff\xfe not text");
    let letter = DeadLetter {
        received_at: UnixMillis::now(),
        source: "postrider.fanout\0".into(),
        reason: "not \0 JSON".into(),
        body: Bytes::from_static(b"\0\xff"),
        whole_bytes: None,
        producer: Some("\0".into()),
        headers: vec![("x-death\0".into(), "\0".into())],
        routing_key: "a.b\0".into(),
        content_type: None,
        message_id: Some("m\0".into()),
    };
    let message = RecordBatch {
        events: vec![(event.clone(), data.clone())],
        decisions: vec![],
        outcomes: vec![(report.clone(), excerpt.clone())],
        dead_letters: vec![letter.clone()],
        numbers: vec![],
    };
    store.record().write(&message).await.unwrap();

    let row = store.history().get_event(event.tenant, &event.id).await.unwrap().unwrap();
    assert_eq!(row.data.unwrap(), data, "byte for byte");
    assert_eq!(row.metadata.unwrap().get(), metadata, "byte for byte");
    assert_eq!(row.summary.attributes.get("bridge"), Some("a\u{fffd}\"b\\"));
    let row = store.history().delivery_with_attempts(None, report.delivery.id).await.unwrap().unwrap().1.remove(0);
    assert_eq!(row.attempt.error.as_deref(), Some("reset \u{fffd} by peer"));
    assert_eq!(row.attempt.request_headers.pairs(), [("x".into(), "nul \0".into())]);
    assert_eq!(row.attempt.response_headers.pairs(), [("y".into(), "\0\u{7f}é".into())]);
    assert_eq!(row.response_excerpt, excerpt);

    // A redelivery of the dead letter adds no row. A dead letter with another body adds a row.
    assert_eq!(store.record().write(&message).await.unwrap().dead_letters, 0);
    let other = DeadLetter { body: Bytes::from_static(b"other"), ..letter.clone() };
    let more = RecordBatch { dead_letters: vec![other, letter.clone()], ..RecordBatch::default() };
    assert_eq!(store.record().write(&more).await.unwrap().dead_letters, 1);
    let letters =
        store.history().list_dead_letters(&DeadLetterFilter::default(), &PageRequest::default()).await.unwrap().items;
    assert_eq!(letters.len(), 2);
    let first = letters.iter().find(|row| row.excerpt == letter.body).unwrap();
    assert_eq!((&first.headers, first.reason.as_str()), (&letter.headers, "not \u{fffd} JSON"));
}

#[tokio::test]
async fn the_one_message_that_the_database_refuses_is_found_by_halving() {
    let fixture = Fixture::new("bisect").await;
    let store = &fixture.store;
    let mut events: Vec<_> = (0..9).map(|_| event(TenantId::generate(), UnixMillis::now())).collect();
    events[6].event_type = "poison".parse().unwrap();
    let poison = "ALTER TABLE events ADD CHECK (type <> 'poison')";
    fixture.sql().await.batch_execute(poison).await.unwrap();
    let mut work = vec![batch(events.clone(), vec![], vec![])];
    let mut culprits = Vec::new();
    while let Some(batch) = work.pop() {
        match store.record().write(&batch).await {
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_data_error() && !error.is_retryable(), "{error}");
                if batch.len() == 1 {
                    culprits.push(batch.events[0].0.id.clone());
                } else {
                    work.extend(<[_; 2]>::from(batch.halve()));
                }
            }
        }
    }
    assert_eq!(culprits, [events[6].id.clone()]);
    assert_eq!(fixture.number("SELECT count(*) FROM events").await, 8);
}

#[tokio::test]
async fn two_recorders_that_meet_write_everything_and_only_ever_retry() {
    let fixture = Fixture::new("meet").await;
    let store = &fixture.store;
    let tenant = TenantId::generate();
    let endpoints: Vec<_> = (0..5).map(|_| EndpointId::generate()).collect();
    let events: Vec<_> = (0..60).map(|_| event(tenant, UnixMillis::now())).collect();
    let reports: Vec<OutcomeReport> = events
        .iter()
        .flat_map(|event| endpoints.iter().map(move |endpoint| outcome(event, *endpoint, 1, Delivered, Some(200))))
        .collect();
    join_all((0..4).map(|seed| {
        let (mut events, mut reports) = (events.clone(), reports.clone());
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        events.shuffle(&mut rng);
        reports.shuffle(&mut rng);
        let endpoints = &endpoints;
        async move {
            for (events, reports) in events.chunks(20).zip(reports.chunks(100)) {
                let decisions = events.iter().map(|event| decision(event, endpoints.clone(), 1)).collect();
                let message = batch(events.to_vec(), decisions, reports.to_vec());
                while let Err(error) = store.record().write(&message).await {
                    assert!(error.is_retryable(), "{error}");
                }
            }
        }
    }))
    .await;
    assert_eq!(fixture.number("SELECT count(*) FROM events").await, 60);
    assert_eq!(fixture.number("SELECT count(*) FROM deliveries WHERE status = 4 AND number = 1").await, 300);
    assert_eq!(fixture.number("SELECT count(*) FROM attempts").await, 300);
    assert_eq!(fixture.number("SELECT sum(successes) FROM endpoint_minutes").await, 300);
}
