//! Measures how long it takes to render the body of a delivery, for each profile.

use std::hint::black_box;

use criterion::Criterion;
use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile, Profiles};
use serde_json::value::RawValue;

/// Number of bytes of the event's `data`.
const DATA_BYTES: usize = 500;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for profile in Profiles::builtin().iter() {
        let name = &profile.name;
        render(&mut criterion, &format!("rendering/{name}"), profile, BodyKind::Json);
        render(&mut criterion, &format!("rendering/{name}, ASCII"), profile, BodyKind::AsciiJson);
        render(&mut criterion, &format!("rendering/{name}, Pushover"), profile, BodyKind::Pushover);
    }
    criterion.final_summary();
}

/// Measures the rendering of one event of the profile's first type.
fn render(criterion: &mut Criterion, name: &str, profile: &Profile, kind: BodyKind) {
    let first = profile.catalog.first().map(|info| info.name.clone());
    let event_type: EventType = first.unwrap_or_else(|| "email.sent".parse().unwrap());
    let (id, data) = ("evt_0123456789".parse().unwrap(), data());
    let pairs = [("sending_domain", "mail.example.com"), ("bridge", "b1"), ("sending_node", "n1")];
    let attributes = Attributes(pairs.map(|(name, value)| (name.into(), value.into())).into());
    let metadata = RawValue::from_string(r#"{"lead_id":"l1","project_id":"p1"}"#.into()).unwrap();
    let view = EventView {
        id: &id,
        event_type: &event_type,
        occurred_at: UnixMillis(1_703_123_456_789),
        accepted_at: UnixMillis(1_703_123_456_999),
        attributes: &attributes,
        metadata: Some(&metadata),
        data: &data,
    };
    criterion.bench_function(name, |bencher| bencher.iter(|| profile.render(black_box(&view), kind)));
}

fn data() -> Vec<u8> {
    let start = r#"{"email":"zoë@example.com","message_id":"abc123xyz","opens":3,"ratio":0.25,"text":""#;
    let mut data = start.to_owned();
    while data.len() < DATA_BYTES - 2 {
        data.push('x');
    }
    (data + "\"}").into_bytes()
}
