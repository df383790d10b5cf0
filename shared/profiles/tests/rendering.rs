//! Tests that the body for any `data` is valid JSON with the producer's bytes, and that a body with `ascii_json` has the same
//! values. (The end-to-end tests compare stable bodies with the serialisers of other languages.)

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_profiles::{BodyStyle, EventView, Profile, Profiles, Source};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no such number", |number| number.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Generates JSON text in the styles of different producers: compact, or with whitespace.
fn text() -> impl Strategy<Value = String> {
    (json(), any::<bool>()).prop_map(|(value, pretty)| {
        if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() }
    })
}

fn render(profile: &Profile, metadata: &RawValue, data: &str, kind: BodyKind) -> String {
    let (id, event_type): (EventId, EventType) = ("evt_1".parse().unwrap(), "lead.created".parse().unwrap());
    let attributes = Attributes::default();
    let view = EventView {
        id: &id,
        event_type: &event_type,
        occurred_at: UnixMillis(1_703_123_456_789),
        accepted_at: UnixMillis(1_703_123_456_789),
        attributes: &attributes,
        metadata: Some(metadata),
        data: data.as_bytes(),
    };
    String::from_utf8(profile.render(&view, kind)).unwrap()
}

fn carries_data(profile: &Profile) -> bool {
    profile.body == BodyStyle::AsProduced && profile.envelope.iter().any(|field| field.source == Source::Data)
}

proptest! {
    #[test]
    fn bodies_are_json_and_carry_the_producers_bytes(data in text(), lead_id in ".{0,20}") {
        let lead_id = serde_json::to_string(&lead_id).unwrap();
        let metadata = RawValue::from_string(format!(r#"{{ "lead_id": {lead_id}, "project_id": "p" }}"#)).unwrap();
        for profile in Profiles::builtin().iter().filter(|profile| carries_data(profile)) {
            let body = render(profile, &metadata, &data, BodyKind::Json);
            let parsed: Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(&parsed["data"], &serde_json::from_str::<Value>(&data).unwrap());
            let carried = format!("\"data\":{data}");
            prop_assert!(body.contains(&carried));
            if profile.name == "magnetite" {
                let carried = format!("\"lead_id\":{lead_id}");
                prop_assert!(body.contains(&carried));
            }

            let ascii = render(profile, &metadata, &data, BodyKind::AsciiJson);
            prop_assert!(ascii.is_ascii());
            prop_assert_eq!(serde_json::from_str::<Value>(&ascii).unwrap(), parsed);
        }
    }
}
