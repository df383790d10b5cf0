//! Hostile messages. Each message results in events within the limits, in no events, or in a refusal with a reason of limited
//! length.

use proptest::prelude::*;

use postrider_model::limits::BATCH_EVENTS_MAX;

use super::*;
use crate::event::hostile::{EVENTS, PROBLEM_BYTES_MAX, bounded, within_limits};

const KEYS: [&str; 5] = [
    "ten_operator.a.b.c",
    "ten_operator.batch",
    "ten_operator.kumomta",
    "ten_operator.Newsletter_Opened",
    "ten_operator.email.delivered",
];

const TYPES: [&str; 3] =
    ["application/json; charset=utf-8", cloudevents::STRUCTURED, "application/cloudevents-batch+json"];

const RECORD: &str = r#"{"type":"Delivery","id":"1d98","sender":"b@mail.example.com","recipient":["a@example.com"],"timestamp":1678069691,
    "response":{"code":250,"content":"OK"},"meta":{"campaign_id":123}}"#;

/// Bodies of every kind: single events, a batch, and a KumoMTA record.
fn bodies() -> Vec<String> {
    let batch = format!(r#"{{"tenant":"ten_operator","events":[{}]}}"#, EVENTS.join(","));
    EVENTS.iter().map(|event| (*event).to_owned()).chain([batch, RECORD.to_owned()]).collect()
}

fn message() -> impl Strategy<Value = ProducerMessage> {
    let header = (
        prop_oneof![Just("postrider-version"), Just("cloudEvents:specversion"), Just("cloudEvents_id")],
        postrider_fuzz::text(["1", "1.0"]),
    );
    let parts = (
        prop_oneof![3 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => postrider_fuzz::text(KEYS)],
        prop::option::of(postrider_fuzz::text(TYPES)),
        prop::option::of(postrider_fuzz::text(["e1", "evt_7"])),
        prop::collection::vec(header, 0..3),
        postrider_fuzz::bytes(bodies()),
    );
    parts.prop_map(|(routing_key, content_type, message_id, headers, body)| ProducerMessage {
        routing_key,
        content_type,
        message_id,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: body.to_vec().into(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_message_is_events_within_the_limits_or_a_bounded_reason(message in message()) {
        let address = match Address::of(&message) {
            Ok(address) => address,
            Err(reason) => {
                prop_assert!(reason.len() <= PROBLEM_BYTES_MAX + 6 * message.routing_key.len(), "{}", reason);
                return Ok(());
            }
        };
        let mappings = Mappings::load(None).expect("the built-in ones");
        match address.read(&TenantId::OPERATOR, &message, "mumara", &mappings) {
            Ok(Content::Nothing) => {}
            Ok(Content::Events(events)) => {
                prop_assert!((1..=BATCH_EVENTS_MAX).contains(&events.len()));
                for read in events {
                    match read.event {
                        Ok(event) => within_limits(&event)?,
                        Err(problem) => bounded(problem)?,
                    }
                    prop_assert!(read.alone.is_none_or(|alone| alone.len() <= message.body.len() + 100));
                }
            }
            Err(problem) => bounded(problem)?,
        }
    }
}
