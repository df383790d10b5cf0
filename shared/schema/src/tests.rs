use serde_json::{Value, json};

use super::*;

fn schema(schema: &Value) -> EventSchema {
    EventSchema::read(&schema.to_string()).unwrap_or_else(|mistake| panic!("{schema}: {mistake:?}"))
}

#[track_caller]
fn refused(schema: &Value, pointer: &str, detail: &str) {
    let mistake = EventSchema::read(&schema.to_string()).expect_err("a mistake");
    assert_eq!(mistake.pointer, pointer, "{}", mistake.detail);
    assert!(mistake.detail.contains(detail), "{}", mistake.detail);
}

#[track_caller]
fn wrong(schema: &EventSchema, data: &Value, expected: &[&str]) {
    let mistakes = schema.check(&data.to_string()).expect_err("mistakes");
    let pointers: Vec<&str> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
    assert_eq!(pointers, expected, "{mistakes:?}");
}

#[test]
fn each_mistake_in_data_has_a_pointer() {
    let schema = schema(&json!({
        "type": "object", "required": ["amount"], "additionalProperties": false,
        "properties": {
            "amount": {"type": "integer", "minimum": 1},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
            "a/b": {"pattern": "^[a-z]+$"},
        },
        "$defs": {"line": {"properties": {"sku": {"type": "string"}}}},
    }));
    assert_eq!(schema.check(r#"{"amount": 5, "lines": [{"sku": "x"}], "a/b": "abc"}"#), Ok(()));
    wrong(&schema, &json!({"amount": 0}), &["/amount"]);
    wrong(&schema, &json!({}), &[""]);
    wrong(&schema, &json!({"amount": 1, "lines": [{}, {"sku": 7}]}), &["/lines/1/sku"]);
    wrong(&schema, &json!({"amount": 1, "a/b": "A"}), &["/a~1b"]);
    wrong(&schema, &json!({"amount": 1, "other": 2}), &[""]);
}

#[test]
fn a_mistake_shows_nothing_of_the_data() {
    let schema = schema(&json!({"properties": {"token": {"maxLength": 3}, "kind": {"enum": ["a"]}}}));
    let mistakes = schema.check(r#"{"token": "hunter22", "kind": "hunter22"}"#).unwrap_err();
    assert_eq!(mistakes.len(), 2);
    assert!(mistakes.iter().all(|mistake| !mistake.detail.contains("hunter22")), "{mistakes:?}");
}

#[test]
fn the_number_and_length_of_mistakes_are_bounded() {
    let names: Vec<String> = (0..500).map(|n| format!("name-{n}")).collect();
    let schema = schema(&json!({"items": {"enum": names}}));
    let mistakes = schema.check(&json!(vec![1; 50]).to_string()).unwrap_err();
    assert_eq!(mistakes.len(), EVENT_SCHEMA_ERRORS_MAX);
    assert!(mistakes.iter().all(|mistake| mistake.detail.len() < 310), "{mistakes:?}");
    // For large data there is a single mistake without details.
    let mistakes = schema.check(&json!(vec![1; 5_000]).to_string()).unwrap_err();
    assert!(matches!(&mistakes[..], [only] if only.pointer.is_empty() && only.detail.contains("too large")));
}

#[test]
fn data_that_cannot_be_parsed_is_a_mistake() {
    let schema = schema(&json!(true));
    for data in ["1e999", r#""\ud800""#] {
        assert_eq!(schema.check(data).unwrap_err().len(), 1, "{data}");
    }
}

#[test]
fn every_dialect_has_its_own_rules() {
    for dialect in DIALECTS {
        for end in ["", "#"] {
            let schema = schema(&json!({"$schema": format!("{dialect}{end}"), "type": "integer"}));
            assert!(schema.check("1").is_ok() && schema.check("\"1\"").is_err(), "{dialect}");
        }
    }
    let tuple = json!([{"type": "integer"}]);
    let seven = schema(&json!({"$schema": DIALECTS[2], "items": tuple}));
    wrong(&seven, &json!(["x"]), &["/0"]);
    refused(&json!({"items": tuple}), "/items", "");
    refused(&json!({"$schema": "https://example.com/mine"}), "/$schema", "dialect");
    refused(&json!({"$schema": 7}), "/$schema", "dialect");
}

#[test]
fn a_mistake_in_a_schema_has_a_pointer() {
    refused(&json!([]), "", "object");
    refused(&json!({"properties": {"a": {"type": "text"}}}), "/properties/a/type", "");
    refused(&json!({"properties": {"a": {"minLength": -1}}}), "/properties/a/minLength", "");
    refused(&json!({"properties": {"a": {"pattern": "("}}}), "/properties/a/pattern", "");
    assert!(EventSchema::read("{").is_err());
}

#[test]
fn a_reference_stays_within_the_schema() {
    let refers = |to: &str| json!({"properties": {"a": {"$ref": to}}, "$defs": {"x y": {"type": "string"}}});
    schema(&refers("#/$defs/x%20y"));
    for outside in ["https://example.com/schema.json", "http://127.0.0.1/", "file:///etc/passwd", "other.json#/a", "/a"]
    {
        refused(&refers(outside), "/properties/a/$ref", "stays within");
    }
    refused(&refers("#anchor"), "/properties/a/$ref", "JSON pointer");
    refused(&refers("#/$defs/none"), "/properties/a/$ref", "no such place");
    refused(&json!({"$dynamicRef": "#x"}), "/$dynamicRef", "not supported");
    refused(&json!({"$defs": {"a": {"$id": "https://example.com/"}}}), "/$defs/a/$id", "identifier");
    // A property with the name of a keyword is not a keyword.
    schema(&json!({"$id": "https://example.com/order", "properties": {"$ref": {"type": "string"}, "$id": true}}));
}

#[test]
fn a_schema_that_contains_itself_is_refused() {
    refused(&json!({"$ref": "#"}), "/$ref", "cycle");
    refused(&json!({"allOf": [{"$ref": "#/allOf/0"}]}), "/allOf/0/$ref", "cycle");
    refused(&json!({"properties": {"child": {"$ref": "#"}}}), "/properties/child/$ref", "cycle");
    let two = json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"items": {"$ref": "#/$defs/a"}}}});
    assert!(EventSchema::read(&two.to_string()).unwrap_err().detail.contains("cycle"));
}

#[test]
fn a_schema_that_unfolds_exponentially_is_refused_at_once() {
    // The definitions unfold into 2^13 - 1 subschemas.
    let twice =
        |n: u32| json!({"allOf": [{"$ref": format!("#/$defs/{}", n + 1)}, {"$ref": format!("#/$defs/{}", n + 1)}]});
    let mut defs: serde_json::Map<String, Value> = (0..12).map(|n| (n.to_string(), twice(n))).collect();
    defs.insert("12".into(), json!({"type": "string"}));
    let bomb = json!({"$defs": defs, "$ref": "#/$defs/0"});
    assert!(EventSchema::read(&bomb.to_string()).unwrap_err().detail.contains("more than 5000"));

    let mut chain: serde_json::Map<String, Value> =
        (0..100).map(|n| (n.to_string(), json!({"$ref": format!("#/$defs/{}", n + 1)}))).collect();
    chain.insert("100".into(), json!(true));
    assert!(EventSchema::read(&json!({"$defs": chain}).to_string()).unwrap_err().detail.contains("deeper than 32"));

    let deep = (0..40).fold(json!(true), |inner, _| json!({"not": inner}));
    assert!(EventSchema::read(&deep.to_string()).unwrap_err().detail.contains("deeper than 32"));
    let again = (0..6).fold(json!({}), |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false}));
    assert!(EventSchema::read(&again.to_string()).unwrap_err().detail.contains("unevaluated"));
    let long: Vec<usize> = (0..6_000).collect();
    refused(&json!({"enum": long}), "/enum", "more than 5000");
    assert!(EventSchema::read(&format!("{}true", " ".repeat(70_000))).unwrap_err().detail.contains("65536"));
    assert!(EventSchema::read(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_err());
}

#[test]
fn data_whose_check_may_cost_too_much_is_refused() {
    let refused = |schema: &Value, data: &Value| {
        let mistakes = EventSchema::read(&schema.to_string()).unwrap().check(&data.to_string()).unwrap_err();
        assert!(matches!(&mistakes[..], [only] if only.detail.contains("at most 20000000")), "{mistakes:?}");
    };
    let many = |schema: Value| json!({"items": {"anyOf": vec![schema; 300]}});
    refused(&many(json!({"multipleOf": 0.7})), &json!(vec![1e300; 2_500]));
    refused(&json!({"items": {"anyOf": vec![json!({"multipleOf": 1e-300}); 100]}}), &json!(vec![1.5; 2_500]));
    refused(&json!({"items": {"anyOf": vec![json!({"type": "null"}); 2_000]}}), &json!(vec![1; 20_000]));
    refused(&json!({"items": {"pattern": "^[01]*1[01]{500}$"}}), &json!(["01".repeat(10_000)]));
    let names: Vec<usize> = (0..4_000).collect();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    refused(&json!({"items": {"dependentRequired": {"a": names}}}), &json!(vec![json!({"a": 1}); 20_000]));
    refused(&json!({"uniqueItems": true}), &json!(vec![u64::MAX; 25_000]));
    let in_each_other = (0..27).fold(json!({}), |inner, _| json!({"anyOf": [inner, false]}));
    refused(
        &json!({"items": {"allOf": [in_each_other], "unevaluatedProperties": false}}),
        &json!(vec![json!({"a": 1}); 30_000]),
    );
    // A usual schema is far below the limit.
    let ordinary = schema(&json!({
        "type": "object", "required": ["id", "email"],
        "properties": {
            "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "amount": {"multipleOf": 0.01},
            "lines": {"items": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
        },
    }));
    let lines = vec![json!({"sku": "a-sku-of-some-length", "count": 1}); 3_000];
    let data = json!({"id": "x", "email": "y", "amount": 1.25, "lines": lines}).to_string();
    assert!(data.len() > 100_000 && ordinary.check(&data).is_ok());
    assert!(ordinary.steps(&data).unwrap() <= ordinary.steps_at_most(data.len()));
}

#[test]
fn a_schema_that_costs_too_much_for_any_data_is_refused() {
    // Each level evaluates all inner levels a second time.
    let again = (0..4).fold(json!({}), |inner, _| {
        let deep = (0..4).fold(inner, |inner, _| json!({"allOf": [inner]}));
        json!({"allOf": [deep], "unevaluatedProperties": {"enum": (0..900).collect::<Vec<_>>()}})
    });
    refused(&again, "", "too costly");
    let patterns: serde_json::Map<String, Value> =
        (0..50).map(|n| (format!("^{n}[ab]{{700}}$"), json!(true))).collect();
    refused(&json!({"patternProperties": patterns}), "", "too costly");
    let dead: serde_json::Map<String, Value> = (0..4_000).map(|n| (format!("x{n}"), json!(1))).collect();
    let uses: Vec<Value> = vec![json!({"$ref": "#/$defs/dead"}); 100];
    assert!(
        EventSchema::read(&json!({"$defs": {"dead": dead}, "anyOf": uses}).to_string())
            .unwrap_err()
            .detail
            .contains("keywords")
    );
}

#[test]
fn patterns_are_linear_and_small() {
    refused(&json!({"pattern": "^(?=a)"}), "/pattern", "");
    refused(&json!({"pattern": "(a)\\1"}), "/pattern", "");
    refused(&json!({"pattern": "((\\w{100}){100}){100}"}), "/pattern", "");
    refused(&json!({"patternProperties": {"(": true}}), "/patternProperties/(", "");
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("^{n}"), json!(true))).collect();
    assert!(
        EventSchema::read(&json!({"patternProperties": many}).to_string()).unwrap_err().detail.contains("50 patterns")
    );
    // This pattern takes exponential time in a backtracking engine.
    let evil = schema(&json!({"pattern": "^(a+)+$"}));
    let started = std::time::Instant::now();
    assert!(evil.check(&json!(format!("{}!", "a".repeat(50_000))).to_string()).is_err());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn the_deepest_accepted_schema_fits_a_small_stack() {
    let deepest = (0..31).fold(json!({"type": "string"}), |inner, _| json!({"not": inner}));
    let read = move || EventSchema::read(&deepest.to_string()).unwrap().check("1").is_err();
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(read).unwrap();
    assert!(thread.join().is_ok());
}
