//! Measures the maximum time of a check by a schema, for each kind of check and the largest data that the limits allow.

use std::hint::black_box;

use criterion::Criterion;
use postrider_model::limits::{EVENT_BYTES_MAX, EVENT_SCHEMA_STEPS_MAX};
use postrider_schema::EventSchema;
use serde_json::{Value, json};

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    // Only the last alternative accepts the value. Therefore a check tries all alternatives of each value and then continues.
    let any_of = |count: usize, schema: Value| {
        let mut alternatives = vec![schema; count];
        alternatives.push(json!(true));
        json!({"items": {"anyOf": alternatives}})
    };
    let names: Vec<String> = (0..2_000).map(|n| format!("name-{n}")).collect();
    let in_each_other = (0..28).fold(json!({"type": "object"}), |inner, _| json!({"allOf": [inner]}));
    let list = |value: &'static str| move |count: usize| format!("[{}]", vec![value; count.max(1)].join(","));
    let numbers = |count: usize| json!((0..count).map(|n| u64::MAX - n as u64).collect::<Vec<_>>()).to_string();
    let bits = |count: usize| {
        let bit = |n: usize| if n.wrapping_mul(2_654_435_761) >> 7 & 1 == 1 { '1' } else { '0' };
        json!([(0..count).map(bit).collect::<String>()]).to_string()
    };
    let texts = |count: usize| json!((0..count).map(|n| format!("text-{n:010}")).collect::<Vec<_>>()).to_string();
    worst(&mut criterion, "1,500 alternatives", &any_of(1_500, json!({"type": "null"})), list("1"));
    worst(&mut criterion, "multipleOf, 1e300", &any_of(300, json!({"multipleOf": 0.7})), list("1e300"));
    worst(&mut criterion, "multipleOf 1e-300", &any_of(100, json!({"multipleOf": 1e-300})), list("1.5"));
    worst(&mut criterion, "multipleOf 0.7", &any_of(1_500, json!({"multipleOf": 0.7})), list("1.25"));
    worst(&mut criterion, "300 states of a pattern", &any_of(1, json!({"pattern": "^[01]*1[01]{300}$"})), bits);
    worst(&mut criterion, "50 patterns", &any_of(50, json!({"pattern": "^[a-z]+-[0-9]+x$"})), texts);
    worst(
        &mut criterion,
        "enum of 4,000 numbers",
        &any_of(1, json!({"enum": (0..4_000).collect::<Vec<_>>()})),
        list("-1"),
    );
    worst(&mut criterion, "uniqueItems, one hash", &json!({"uniqueItems": true}), numbers);
    worst(&mut criterion, "uniqueItems, texts", &json!({"uniqueItems": true}), texts);
    worst(&mut criterion, "2,000 required names", &any_of(1, json!({"required": names})), list("{}"));
    worst(
        &mut criterion,
        "unevaluatedProperties over 28 levels",
        &any_of(1, json!({"allOf": [in_each_other], "unevaluatedProperties": false})),
        list(r#"{"a":1}"#),
    );
    worst(
        &mut criterion,
        "format",
        &json!({"$schema": "http://json-schema.org/draft-07/schema#",
        "items": {"anyOf": [{"format": "idn-email"}, true]}}),
        texts,
    );
    criterion.final_summary();
}

/// Measures the check of the largest data whose steps are within the limit.
fn worst(criterion: &mut Criterion, name: &str, schema: &Value, data: impl Fn(usize) -> String) {
    let schema = EventSchema::read(&schema.to_string()).unwrap();
    let fits = |data: &String| {
        data.len() <= EVENT_BYTES_MAX && schema.steps(data).is_some_and(|steps| steps <= EVENT_SCHEMA_STEPS_MAX)
    };
    let (mut count, mut step) = (1, EVENT_BYTES_MAX);
    while step > 0 {
        if fits(&data(count + step)) {
            count += step;
        }
        step /= 2;
    }
    let data = data(count);
    let steps = schema.steps(&data).unwrap_or_default();
    let title = format!("checking/{name}: {count} values, {} bytes, {steps} steps", data.len());
    criterion.bench_function(&title, |bencher| bencher.iter(|| schema.check(black_box(&data))));
}
