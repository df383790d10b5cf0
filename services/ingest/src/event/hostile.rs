//! Hostile bodies. Each body is either refused with a problem of limited size, or becomes an event within all limits. Writing
//! and reading such an event again does not change it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use postrider_http::json;
use postrider_http::problem::Problem;
use postrider_model::ids::{EventId, TenantId};
use postrider_model::limits::{EVENT_BYTES_MAX, JSON_DEPTH_MAX, METADATA_BYTES_MAX};
use postrider_wire::http::PublishBatch;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::event::cloudevents::{self, Form};
use crate::event::content::Content;
use crate::event::json::{Source, read_event};
use crate::event::{Event, IdSource};
use crate::refused::Refused;

const TENANT: TenantId = TenantId::OPERATOR;
/// Maximum size in bytes of a problem in a response or a dead letter. The worst case is a text that consists of control
/// characters, because JSON writes each control character as six bytes.
pub(crate) const PROBLEM_BYTES_MAX: usize = 160 * 1024;

/// Bodies of `POST /v1/publish`.
pub(crate) const EVENTS: [&str; 4] = [
    r#"{"type":"email.delivered","data":{"n":1.50,"a":[1,{"b":null}],"n":2}}"#,
    r#"{"id":"e1","type":"Newsletter Opened","timestamp":"2026-01-02T03:04:05.678+02:00","data":"\u0000 \ud83d\ude00",
        "metadata":{"lead_id":"l","n":1e400},"attributes":{"bridge":"b1","sending_domain":"example.com"},"origin":"dashboard"}"#,
    r#"{"type":"a","data":null,"idempotency_key":"order-1"}"#,
    r#"{"tenant":"ten_operator","id":"e2","type":"a.b.c","data":[]}"#,
];

const CLOUD_EVENTS: [&str; 2] = [
    r#"{"specversion":"1.0","id":"1","source":"/mail","type":"email.sent","time":"2026-01-02T03:04:05Z","subject":"a b",
        "sendingdomain":"example.com","origin":"api","metadata":"{\"a\":1}","tenant":"ten_operator","region":7,"data":{"n":1}}"#,
    r#"{"specversion":"1.0","id":"evt_7","source":"x","type":"a","data_base64":"eyJuIjoxfQ==","flag":true}"#,
];

/// Checks that an event is within the limits.
pub(crate) fn within_limits(event: &Event<'_>) -> Result<(), TestCaseError> {
    prop_assert!(event.id.as_str().parse::<EventId>().is_ok());
    prop_assert!(event.event_type.as_str().parse::<postrider_model::event::EventType>().is_ok());
    prop_assert!(event.attributes.check().is_ok());
    let data = event.data.get();
    prop_assert!(data.len() <= EVENT_BYTES_MAX && postrider_model::json::depth(data) <= JSON_DEPTH_MAX);
    prop_assert!(serde_json::from_str::<&RawValue>(data).is_ok());
    if let Some(metadata) = &event.metadata {
        let text = metadata.get();
        let is_object = text.starts_with('{');
        prop_assert!(
            is_object && text.len() <= METADATA_BYTES_MAX && postrider_model::json::depth(text) <= JSON_DEPTH_MAX
        );
    }
    Ok(())
}

/// Checks that a refusal has a status 4xx, and that its problem is within [`PROBLEM_BYTES_MAX`].
pub(crate) fn bounded(refused: Refused) -> Result<(), TestCaseError> {
    let problem = Problem::from(refused);
    prop_assert!((400..500).contains(&problem.status), "{}", problem);
    let bytes = serde_json::to_vec(&problem).expect("a problem is JSON").len();
    prop_assert!(bytes <= PROBLEM_BYTES_MAX, "{} bytes", bytes);
    Ok(())
}

/// Writes the event as a body.
fn written(event: &Event<'_>) -> String {
    let mut body =
        json!({"id": event.id, "type": event.event_type, "attributes": event.attributes, "origin": event.origin});
    if let Some(at) = event.occurred_at {
        body["timestamp"] = at.to_rfc3339_millis().into();
    }
    // `data` and `metadata` are appended as text, because a JSON tree would not preserve the producer's bytes.
    let mut text = body.to_string();
    text.pop();
    text += &format!(r#","data":{}"#, event.data.get());
    if let Some(metadata) = &event.metadata {
        text += &format!(r#","metadata":{}"#, metadata.get());
    }
    text + "}"
}

fn check(read: Result<Event<'_>, Refused>) -> Result<(), TestCaseError> {
    let event = match read {
        Ok(event) => event,
        Err(refused) => return bounded(refused),
    };
    within_limits(&event)?;
    let body = written(&event);
    let mut again = read_event(TENANT, body.as_bytes(), Source::HttpBatch).expect("what was read can be written");
    // The JSON format of Postrider has no `source`.
    again.source.clone_from(&event.source);
    prop_assert_eq!(&again.id, &event.id);
    prop_assert!(Content::of(&again).is(Content::of(&event).hash()));
    prop_assert_eq!(again.data.get(), event.data.get());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_body_is_an_event_that_reads_the_same_again_or_a_problem(body in postrider_fuzz::bytes(EVENTS), key in ".{0,8}") {
        check(read_event(TENANT, &body, Source::Http { key: None }))?;
        check(read_event(TENANT, &body, Source::HttpBatch))?;
        let keyed = read_event(TENANT, &body, Source::Http { key: Some(&key) });
        if let Ok(event) = &keyed {
            prop_assert_eq!(event.id_source, IdSource::Producer);
        }
        check(keyed)?;
    }

    #[test]
    fn a_batch_is_its_members_or_a_problem(
        body in postrider_fuzz::bytes([format!(r#"{{"events":[{}]}}"#, EVENTS.join(",")), r#"{"events":[]}"#.into()]),
    ) {
        match json::read::<PublishBatch<'_>>(&body) {
            Ok(batch) => {
                let bytes: usize = batch.events.iter().map(|event| event.get().len()).sum();
                prop_assert!(bytes <= body.len());
                for event in batch.events {
                    check(read_event(TENANT, event.get().as_bytes(), Source::HttpBatch))?;
                }
            }
            Err(problem) => bounded(problem.into())?,
        }
    }

    #[test]
    fn a_structured_cloud_event_is_an_event_or_a_problem(body in postrider_fuzz::bytes(CLOUD_EVENTS)) {
        check(Form::Structured.read(TENANT, &body))?;
    }

    #[test]
    fn a_binary_cloud_event_is_an_event_or_a_problem(
        values in prop::collection::vec(("[a-z0-9]{1,12}", postrider_fuzz::bytes(["/mail", "%C3%A9", "\"a b\"", "{\"a\":1}"])), 0..6),
        body in postrider_fuzz::bytes(["{\"n\":1}", ""]),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("specversion", "1.0"), ("id", "1"), ("source", "/mail"), ("type", "a.b")] {
            let name: HeaderName = format!("ce-{name}").parse().expect("a name");
            headers.insert(name, HeaderValue::from_static(value));
        }
        for (name, value) in values {
            if let (Ok(name), Ok(value)) = (format!("ce-{name}").parse::<HeaderName>(), HeaderValue::from_bytes(&value)) {
                headers.insert(name, value);
            }
        }
        match cloudevents::over_http(&headers) {
            Ok(form) => check(form.expect("a CloudEvent").read(TENANT, &body))?,
            Err(problem) => bounded(problem)?,
        }
    }
}

#[test]
fn a_problem_says_no_more_than_can_be_answered() {
    let long = "x".repeat(200_000);
    for body in [
        format!(r#"{{"type":"{long}","data":1}}"#),
        format!(r#"{{"type":"a","data":1,"{long}":1}}"#),
        format!(r#"{{"type":"a","data":1,"id":"{long}"}}"#),
        format!(r#"{{"type":"a","data":1,"origin":"{long}"}}"#),
        format!(r#"{{"type":"a","data":1,"attributes":{{"{long}":"b"}}}}"#),
        format!(r#"{{"type":"a","data":1,"attributes":{{"{long}":1}}}}"#),
        format!(r#"{{"type":"a","data":1,"tenant":"{long}"}}"#),
        format!(r#"{{"type":"a","data":1,"timestamp":"{long}"}}"#),
    ] {
        let problem = read_event(TENANT, body.as_bytes(), Source::Http { key: None }).expect_err("a mistake");
        bounded(problem).expect("bounded");
    }
    let many: serde_json::Map<String, Value> = (0..20_000).map(|n| (format!("A{n}"), json!([]))).collect();
    for body in [format!(r#"{{"{long}":[]}}"#), Value::Object(many).to_string()] {
        bounded(Form::Structured.read(TENANT, body.as_bytes()).expect_err("a mistake")).expect("bounded");
    }
}
