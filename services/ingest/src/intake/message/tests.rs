use serde_json::{Value, json};

use postrider_http::problem::Problem;

use super::*;

const TENANT: TenantId = TenantId::OPERATOR;

fn message(routing_key: &str, body: &str) -> ProducerMessage {
    ProducerMessage { routing_key: routing_key.into(), body: body.to_owned().into(), ..ProducerMessage::default() }
}

/// Reads a message. Returns the id of each event, or the status and the detail of its refusal.
fn read(message: &ProducerMessage) -> Result<Vec<Result<String, String>>, String> {
    let address = Address::of(message)?;
    let mappings = Mappings::load(None).unwrap();
    let said = |refused: Refused| {
        let problem = Problem::from(refused);
        format!("{} {}", problem.status, problem.detail)
    };
    match address.read(&TENANT, message, "mumara", &mappings).map_err(said)? {
        Content::Nothing => Ok(Vec::new()),
        Content::Events(events) => {
            Ok(events.into_iter().map(|read| read.event.map(|event| event.id.to_string()).map_err(said)).collect())
        }
    }
}

#[track_caller]
fn refused(message: &ProducerMessage, words: &str) {
    let said = match read(message) {
        Err(said) => said,
        Ok(events) => events.into_iter().find_map(Result::err).expect("a refusal"),
    };
    assert!(said.contains(words), "{said:?} lacks {words:?}");
}

#[test]
fn the_routing_key_is_the_tenants_and_the_types() {
    let event = r#"{"tenant":"ten_operator","type":"Newsletter Opened","data":{},"id":"e1"}"#;
    assert_eq!(read(&message("ten_operator.Newsletter_Opened", event)), Ok(vec![Ok("e1".into())]));
    refused(&message("ten_operator.Newsletter Opened", event), "its routing key is ten_operator.Newsletter_Opened");
    refused(&message("ten_operator.email.sent", event), "it came with ten_operator.email.sent");
    refused(&message("ten_operator", event), "expected <tenant>.<event type>");
    refused(&message("ten_operator.", event), "expected <tenant>.<event type>");
    let acme = message("acme.Newsletter_Opened", event);
    assert_eq!(Address::of(&acme).unwrap().tenant, "acme", "an external id");
    let foreign = r#"{"tenant":"acme","type":"a","data":{},"id":"e1"}"#;
    refused(&message("ten_operator.a", foreign), "/tenant");
    refused(&message("ten_operator.a", "[]"), "several events go to <tenant>.batch");
}

#[test]
fn a_message_of_another_version_or_type_is_refused() {
    let event = r#"{"tenant":"ten_operator","type":"a","data":{},"id":"e1"}"#;
    let with = |version: &str| ProducerMessage {
        headers: vec![("postrider-version".into(), version.into())],
        ..message("ten_operator.a", event)
    };
    assert_eq!(read(&with("1")), Ok(vec![Ok("e1".into())]));
    refused(&with("2"), "this build reads version 1");
    let text = ProducerMessage { content_type: Some("text/plain".into()), ..message("ten_operator.a", event) };
    refused(&text, "415 content_type text/plain");
}

#[test]
fn members_of_a_batch_are_read_each_on_its_own() {
    let batch = r#"{"tenant":"ten_operator","events":[
        {"type":"a","data":{"n": 1.0},"id":"e1"},{"type":"a..b","data":{},"id":"e2"},{"type":"a","data":{}}]}"#;
    let read_all = read(&message("ten_operator.batch", batch)).unwrap();
    assert_eq!(read_all[0], Ok("e1".into()));
    assert!(read_all[1].as_ref().is_err_and(|said| said.contains("/type")), "{read_all:?}");
    assert!(read_all[2].as_ref().is_err_and(|said| said.contains("/id")), "{read_all:?}");
    let other = format!(r#"{{"tenant":"{}","events":[]}}"#, TenantId::generate());
    refused(&message("ten_operator.batch", &other), "/tenant");
    refused(&message("ten_operator.batch", r#"{"tenant":"ten_operator","events":[]}"#), "1 to 1000 events, got 0");
    refused(&message("ten_operator.batch", r#"{"tenant":"ten_operator"}"#), "missing field `events`");
    refused(&message("ten_operator.batch", "nonsense"), "400 the body is not valid JSON");
}

#[test]
fn a_bad_event_alone_is_a_batch_of_one_with_its_very_bytes() {
    let batch = r#"{"tenant":"ten_operator","events":[{"type":"a","data":{},"id":"e1"},{ "type":"","data":1.00 }]}"#;
    let message = message("ten_operator.batch", batch);
    let address = Address::of(&message).unwrap();
    let Content::Events(events) = address.read(&TENANT, &message, "standard", &Mappings::load(None).unwrap()).unwrap()
    else {
        panic!("no events")
    };
    let alone = events[1].alone.clone().unwrap();
    assert_eq!(alone, r#"{"tenant":"ten_operator","events":[{ "type":"","data":1.00 }]}"#);
    assert_eq!(address.tenant, "ten_operator");
}

#[test]
fn what_is_too_large_is_refused_with_its_size() {
    let large = format!(r#"{{"tenant":"ten_operator","type":"a","data":"{}","id":"e1"}}"#, "x".repeat(256 * 1024));
    refused(&message("ten_operator.a", &large), "413 an event has at most 262144 bytes");
    let batch = format!(r#"{{"tenant":"ten_operator","events":[{large}]}}"#);
    refused(&message("ten_operator.batch", &batch), "413 an event has at most 262144 bytes");
    let batch = " ".repeat(BATCH_BYTES_MAX + 1);
    refused(&message("ten_operator.batch", &batch), "413 a batch has at most");
}

#[test]
fn several_records_of_one_message_are_several_events_and_one_again_is_the_same() {
    let record = |attempts: u32| {
        let record = format!(
            r#"{{"type":"TransientFailure","id":"m1","timestamp":1700000000,"recipient":"a@b.c","num_attempts":{attempts}}}"#
        );
        read(&message("ten_operator.kumomta", &record)).unwrap().remove(0).unwrap()
    };
    assert_eq!(record(1), record(1));
    assert_ne!(record(1), record(2));
    let other_order =
        r#"{"recipient":"a@b.c","num_attempts":1,"timestamp":1700000000,"id":"m1","type":"TransientFailure"}"#;
    assert_eq!(read(&message("ten_operator.kumomta", other_order)).unwrap(), [Ok(record(1))]);
    let two = r#"{"type":"Delivery","id":"m1","timestamp":1700000000,"recipient":["a@b.c","d@e.f"]}"#;
    let two = read(&message("ten_operator.kumomta", two)).unwrap();
    assert!(two.len() == 2 && two[0] != two[1] && two.iter().all(Result::is_ok), "{two:?}");
}

#[test]
fn a_record_of_no_interest_is_nothing_and_one_that_is_none_is_refused() {
    let uninteresting = r#"{"type":"AdminRebind","id":"m1","timestamp":1700000000,"recipient":"a@b.c"}"#;
    assert_eq!(read(&message("ten_operator.kumomta", uninteresting)), Ok(Vec::new()));
    refused(&message("ten_operator.kumomta", r#"{"type":"Delivery","recipient":"a"}"#), "`timestamp` is missing");
    refused(&message("ten_operator.kumomta", "[]"), "`type` is missing");
    refused(&message("ten_operator.kumomta", "{"), "not a log record of KumoMTA");
    let message = message("ten_operator.kumomta", uninteresting);
    let address = Address::of(&message).unwrap();
    let Err(refused) = address.read(&TENANT, &message, "standard", &Mappings::load(None).unwrap()) else {
        panic!("no refusal")
    };
    let reason = refused.reason();
    assert!(reason.contains("standard.toml in POSTRIDER_MAPPINGS_DIR"), "{reason}");
}

/// Messages that differ from a valid message in one field, and whether each message is accepted.
fn messages() -> Vec<(Value, bool)> {
    let alone = |member: &str, value: Value| {
        let mut event = json!({"tenant": "ten_operator", "type": "a", "data": {}, "id": "e1"});
        event[member] = value;
        event
    };
    let batch = |member: &str, value: Value| {
        let mut event = json!({"type": "a", "data": {}, "id": "e1"});
        event[member] = value;
        json!({"tenant": "ten_operator", "events": [event]})
    };
    let mut messages = Vec::new();
    for (member, value, good) in [
        ("data", json!(null), true),
        ("data", json!([1, "x"]), true),
        ("type", json!("Newsletter  Opened"), true),
        ("type", json!("a.b-c.d_1"), true),
        ("type", json!("a..b"), false),
        ("type", json!(" a"), false),
        ("type", json!("a. b"), false),
        ("type", json!(""), false),
        ("type", json!("x".repeat(129)), false),
        ("type", json!(null), false),
        ("id", json!("A-z_0"), true),
        ("id", json!("a b"), false),
        ("id", json!(""), false),
        ("id", json!("x".repeat(65)), false),
        ("id", json!(7), false),
        ("timestamp", json!("2026-01-02T03:04:05Z"), true),
        ("timestamp", json!("2026-01-02T03:04:05.678+02:00"), true),
        ("timestamp", json!(null), true),
        ("timestamp", json!("yesterday"), false),
        ("timestamp", json!(1_700_000_000), false),
        ("metadata", json!({"a": [1]}), true),
        ("metadata", json!(null), true),
        ("metadata", json!([]), false),
        ("attributes", json!({"bridge": "b1", "x-1": "\u{263a}"}), true),
        ("attributes", json!({"Bridge": "b1"}), false),
        ("attributes", json!({"bridge": ""}), false),
        ("attributes", json!({"bridge": 7}), false),
        ("attributes", json!({"bridge": "a\nb"}), false),
        ("attributes", json!({"x": "x".repeat(513)}), false),
        ("attributes", (0..33).map(|n| (format!("a{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into(), false),
        ("origin", json!("dashboard"), true),
        ("origin", json!("desk"), false),
        ("expires_at", json!("2026-01-02T03:04:05Z"), true),
        ("expires_at", json!(null), true),
        ("expires_at", json!("never"), false),
        ("deliver_at", json!("2026-01-02T03:04:05+02:00"), true),
        ("deliver_at", json!(1_700_000_000), false),
        ("ttl_seconds", json!(604_800), true),
        ("ttl_seconds", json!(null), true),
        ("ttl_seconds", json!(0), false),
        ("ttl_seconds", json!(604_801), false),
        ("ttl_seconds", json!("60"), false),
        ("idempotency_key", json!("k"), false),
        ("colour", json!("red"), false),
    ] {
        messages.push((alone(member, value.clone()), good));
        messages.push((batch(member, value), good));
    }
    messages.extend([
        // For a message with a single event, the `message_id` may be the event's id.
        (alone("id", json!(null)), true),
        (batch("id", json!(null)), false),
        (alone("tenant", json!(7)), false),
        (both_expiries(alone("ttl_seconds", json!(60))), false),
        (alone("tenant", json!(null)), false),
        (batch("tenant", json!("ten_operator")), false),
        (json!({"tenant": "ten_operator", "events": []}), false),
        (json!({"tenant": "ten_operator", "events": [], "type": "a"}), false),
        (json!({"events": [{"type": "a", "data": {}, "id": "e1"}]}), false),
        (json!({"tenant": "ten_operator", "type": "a", "id": "e1"}), false),
        (json!([]), false),
    ]);
    messages
}

fn both_expiries(mut message: Value) -> Value {
    message["expires_at"] = json!("2026-01-02T03:04:05Z");
    message
}

#[test]
fn the_schema_of_the_documentation_allows_what_is_accepted_and_nothing_else() {
    let text = include_str!("../../../../../docs/schema/message.v1.schema.json");
    let schema: Value = serde_json::from_str(text).unwrap();
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    for (body, good) in messages() {
        let what = if body.get("events").is_some() {
            "batch".to_owned()
        } else {
            body["type"].as_str().unwrap_or("a").replace(' ', "_")
        };
        let what = if what.is_empty() { "a".to_owned() } else { what };
        let message = ProducerMessage {
            message_id: Some("m1".into()),
            ..message(&format!("ten_operator.{what}"), &body.to_string())
        };
        let accepted = read(&message).is_ok_and(|events| !events.is_empty() && events.iter().all(Result::is_ok));
        assert_eq!((schema.is_valid(&body), accepted), (good, good), "{body:#}");
    }
}
