//! Services of two releases run at the same time. So a release must read the versions of both, and ignore fields of a later
//! release.
//!
//! `tests/golden/v1/*.bundle` are bundles of version 1. These files never change; a new version gets its own folder. Run with
//! `WRITE_GOLDEN=1 cargo test -p postrider-wire` to write missing files.

use std::path::PathBuf;

use bytes::Bytes;
use postrider_wire::bundle::{self, DecodeError, Member};
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryTask, OutcomeReport, ParkedTask, TestCall};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Every version that this build reads; it writes the last one. The list must contain the version of the previous release for
/// as long as services of both releases may run at the same time.
const READ: &[u8] = &[1];

const PAYLOAD: &[u8] = b"{\"n\": 1.50, \"text\": \"caf\xc3\xa9\\u0000\"}";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn delivery() -> Value {
    json!({
        "id": "dlv_0b4a7f6c2f0e5d1d8f4f7a5f3c2b1a09", "event": "evt_018f8f3e7c3b7c018c3b7c018c3b7c01", "event_day": 20833,
        "event_type": "lead.created", "tenant": "ten_018f8f3e7c3b7c018c3b7c018c3b7c02",
        "endpoint": "ep_018f8f3e7c3b7c018c3b7c018c3b7c03", "delivery_day": 20833, "created_at": 1_800_000_000_200_i64,
        "accepted_at": 1_800_000_000_100_i64, "generation": "retry:rty_018f8f3e7c3b7c018c3b7c018c3b7c04",
        "origin": "dlv_018f8f3e7c3b7c018c3b7c018c3b7c05",
    })
}

fn task() -> Value {
    json!({
        "delivery": delivery(), "occurred_at": 1_799_999_999_000_i64, "number": 3, "trigger": "retry", "epoch": 2, "lane": "slow",
        "config_version": 42, "expires_at": 1_800_604_800_000_i64, "due_at": 1_800_000_060_000_i64,
        "slot_at": 1_800_000_061_000_i64, "held_since": 1_800_000_060_500_i64, "held_reason": "rate", "moves": 4,
        "traceparent": TRACE,
    })
}

/// The name and the head of each golden file.
fn heads() -> [(&'static str, Value); 6] {
    let accepted = json!({
        "id": "evt_018f8f3e7c3b7c018c3b7c018c3b7c01", "tenant": "ten_018f8f3e7c3b7c018c3b7c018c3b7c02", "type": "lead.created",
        "occurred_at": 1_799_999_999_000_i64, "accepted_at": 1_800_000_000_100_i64, "event_day": 20833, "origin": "dashboard",
        "attributes": {"bridge": "b1", "team": "é"}, "metadata": {"api_version": "2024-01"}, "lane": "bulk", "config_version": 42,
        "instance": 18_000_000_000_000_000_001_u64, "sequence": 7, "content_hash": "00ff", "traceparent": TRACE,
    });
    let decision = json!({
        "event": "evt_018f8f3e7c3b7c018c3b7c018c3b7c01", "event_day": 20833, "tenant": "ten_018f8f3e7c3b7c018c3b7c018c3b7c02",
        "event_type": "lead.created", "accepted_at": 1_800_000_000_100_i64, "decided_at": 1_800_000_000_200_i64,
        "config_version": 42, "matched": ["ep_018f8f3e7c3b7c018c3b7c018c3b7c03"], "expires_at": 1_800_604_800_000_i64,
    });
    let outcome = json!({
        "delivery": delivery(), "epoch": 2,
        "attempt": {
            "number": 3, "send_id": "snd_018f8f3e7c3b7c018c3b7c018c3b7c06", "trigger": "retry", "started_at": 1_800_000_061_000_i64,
            "duration_us": 1_500, "first_byte_us": 1_200, "held_ms": 500, "held_reason": "rate", "late_ms": 3,
            "url": "https://hooks.example.com/in", "status_code": 503, "outcome": "http_status", "error": "503",
            "request_headers": [["webhook-id", "evt_1"]], "response_headers": [["retry-after", "20"]],
        },
        "status": "pending", "at": 1_800_000_061_002_i64, "next_attempt_at": 1_800_000_081_002_i64, "discard_reason": "expired",
        "disable_endpoint": true, "expires_at": 1_800_604_800_000_i64, "traceparent": TRACE,
    });
    let call = json!({"task": task(), "answer_by": 1_800_000_090_000_i64});
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let parked = json!({"task": task(), "body": {"bytes": 200_000, "sha256": sha256}});
    [
        ("accepted", accepted),
        ("task", task()),
        ("decision", decision),
        ("outcome", outcome),
        ("test-call", call),
        ("parked", parked),
    ]
}

/// Reads the head and writes it again.
fn reread<T: Serialize + DeserializeOwned>(member: &Member) -> Result<Value, DecodeError> {
    Ok(serde_json::to_value(member.head::<T>()?).unwrap())
}

fn read(name: &str, member: &Member) -> Result<Value, DecodeError> {
    match name {
        "accepted" => reread::<AcceptedEvent>(member),
        "task" => reread::<DeliveryTask>(member),
        "decision" => reread::<Decision>(member),
        "outcome" => reread::<OutcomeReport>(member),
        "parked" => reread::<ParkedTask>(member),
        _ => reread::<TestCall>(member),
    }
}

fn member(head: &Value) -> Member {
    Member::new(head, Bytes::from_static(PAYLOAD)).unwrap()
}

/// A bundle as this build writes it: the head in the order of its fields, and a second member with the same payload.
fn written(name: &str, head: &Value) -> Vec<u8> {
    let one = member(head);
    let ours = Member::new(&read(name, &one).unwrap(), one.payload.clone()).unwrap();
    bundle::encode(&[ours.clone(), ours])
}

fn golden(version: u8, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}/{name}.bundle"))
}

#[test]
fn messages_of_every_version_can_be_read() {
    assert_eq!(
        READ.last(),
        Some(&bundle::VERSION),
        "what is written is read; a new version has golden files of its own"
    );
    for version in READ {
        for (name, head) in heads() {
            let path = golden(*version, name);
            if std::env::var_os("WRITE_GOLDEN").is_some() && !path.exists() && *version == bundle::VERSION {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, written(name, &head)).unwrap();
            }
            let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let members = bundle::decode(&bytes).unwrap();
            assert_eq!(members.len(), 2, "{name} of version {version}");
            for member in members {
                assert_eq!(read(name, &member).unwrap(), head, "{name} of version {version}");
                assert_eq!(member.payload, PAYLOAD, "{name} of version {version}");
            }
        }
    }
}

#[test]
fn fields_that_were_added_later_are_read_and_written() {
    let mut head = task();
    head["slot_terms"] = json!({"left_ms": 250, "interval_us": 100_000});
    assert_eq!(read("task", &member(&head)).unwrap(), head);
    let heads = heads();
    for (name, fields) in [("accepted", &["deliver_at", "expires_at"][..]), ("decision", &["deliver_at"])] {
        let (_, head) = heads.iter().find(|(of, _)| *of == name).unwrap();
        let mut head = head.clone();
        for field in fields {
            head[*field] = json!(1_800_000_120_000_i64);
        }
        assert_eq!(read(name, &member(&head)).unwrap(), head, "{name}");
    }
}

#[test]
fn a_head_without_its_optional_fields_is_read() {
    // The fields that version 1 requires. A later release must not require another field.
    let required: [(&str, &[&str]); 6] = [
        ("accepted", &["id", "tenant", "type", "occurred_at", "accepted_at", "event_day", "instance", "sequence"]),
        ("task", &["delivery", "occurred_at", "number", "trigger", "config_version", "expires_at"]),
        (
            "decision",
            &[
                "event",
                "event_day",
                "tenant",
                "event_type",
                "accepted_at",
                "decided_at",
                "config_version",
                "matched",
                "expires_at",
            ],
        ),
        ("outcome", &["delivery", "status", "at", "expires_at"]),
        ("test-call", &["task", "answer_by"]),
        ("parked", &["task", "body"]),
    ];
    for ((name, mut head), (_, fields)) in heads().into_iter().zip(required) {
        head.as_object_mut().unwrap().retain(|field, _| fields.contains(&field.as_str()));
        assert_eq!(read(name, &member(&head)).unwrap(), head, "{name}");
    }
    let mut old = delivery();
    old.as_object_mut().unwrap().remove("origin");
    let head = json!({"delivery": old, "status": "delivered", "at": 1, "expires_at": 2});
    assert_eq!(read("outcome", &member(&head)).unwrap(), head);
}

#[test]
fn unknown_fields_of_a_later_release_are_ignored() {
    fn add(value: &mut Value) {
        if let Value::Object(fields) = value {
            fields.values_mut().filter(|field| field.get("bridge").is_none()).for_each(add);
            // Skips objects of the producer: attributes and metadata.
            if !fields.contains_key("bridge") && !fields.contains_key("api_version") {
                fields.insert("later".into(), json!({"anything": [1, null]}));
            }
        }
    }
    for (name, head) in heads() {
        let mut later = head.clone();
        add(&mut later);
        assert_ne!(later, head);
        assert_eq!(read(name, &member(&later)).unwrap(), head, "{name}");
    }
}

#[test]
fn a_bundle_of_a_later_version_is_distinguished_from_invalid_bytes() {
    let (name, head) = &heads()[1];
    let mut bytes = written(name, head);
    bytes[3] = bundle::VERSION + 1;
    assert!(matches!(bundle::decode(&bytes), Err(DecodeError::Version(version)) if version == bundle::VERSION + 1));
}
