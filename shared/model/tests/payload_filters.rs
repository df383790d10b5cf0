//! The events that payload filters match: a table for each promise of docs/filters.md, and a comparison with a simple evaluator.

use postrider_model::event::Attributes;
use postrider_model::limits::PAYLOAD_FILTER_STEPS_MAX;
use postrider_model::payload_filter::{BoundFilter, Budget, FieldIndex, Payload, PayloadFilter};
use proptest::prelude::*;
use serde_json::{Value, json};

fn attributes() -> Attributes {
    Attributes([("bridge".into(), "b1".into()), ("size".into(), "5".into())].into())
}

/// Evaluates several filters together, as fan-out does.
fn ask(filters: &[Value], data: &str, metadata: Option<&str>) -> Vec<bool> {
    let mut fields = FieldIndex::default();
    let read = |json| PayloadFilter::read(json).unwrap_or_else(|error| panic!("{error}"));
    let bound: Vec<BoundFilter> = filters.iter().map(|json| fields.bind(read(json))).collect();
    let attributes = attributes();
    let found = fields.collect(&bound, &Payload { data: data.as_bytes(), metadata, attributes: &attributes });
    let mut budget = Budget::default();
    bound.iter().map(|filter| filter.matches(&found, &mut budget)).collect()
}

/// Checks one condition on `data.a` of a JSON text.
#[track_caller]
fn check(op: &str, value: Value, data: &str, expected: bool) {
    let filter = json!({"field": "data.a", "op": op, "value": value});
    assert_eq!(ask(&[filter], data, None), [expected], "{op} {value} of {data}");
}

#[test]
fn values_are_equal_if_their_kinds_and_values_are() {
    check("eq", json!("x"), r#"{"a":"x"}"#, true);
    check("eq", json!("x"), r#"{"a":"X"}"#, false);
    check("eq", json!("x"), r#"{"a":"x "}"#, false);
    check("eq", json!("é\n"), r#"{"a":"\u00e9\n"}"#, true);
    check("eq", json!("😀"), r#"{"a":"\ud83d\ude00"}"#, true);
    check("eq", json!(""), r#"{"a":""}"#, true);
    check("eq", json!(5), r#"{"a":5}"#, true);
    check("eq", json!(5), r#"{"a":5.0}"#, true);
    check("eq", json!(5), r#"{"a":0.5e1}"#, true);
    check("eq", json!(5), r#"{"a":"5"}"#, false);
    check("eq", json!("5"), r#"{"a":5}"#, false);
    check("eq", json!(true), r#"{"a":true}"#, true);
    check("eq", json!(true), r#"{"a":1}"#, false);
    check("eq", json!(true), r#"{"a":"true"}"#, false);
    check("eq", json!(null), r#"{"a":null}"#, true);
    check("eq", json!(null), r#"{"a":0}"#, false);
    check("eq", json!(null), "{}", false);
    check("in", json!(["y", 5, null]), r#"{"a":5.0}"#, true);
    check("in", json!(["y", 5, null]), r#"{"a":null}"#, true);
    check("in", json!(["y", 5, null]), r#"{"a":"x"}"#, false);
    check("ne", json!("x"), r#"{"a":"y"}"#, true);
    check("ne", json!("x"), r#"{"a":"x"}"#, false);
    check("ne", json!("5"), r#"{"a":5}"#, true);
}

#[test]
fn whole_numbers_are_exact_to_64_bits_and_others_are_floats() {
    check("eq", json!(9_007_199_254_740_993_u64), r#"{"a":9007199254740993}"#, true);
    check("eq", json!(9_007_199_254_740_993_u64), r#"{"a":9007199254740992}"#, false);
    check("gt", json!(9_007_199_254_740_992_u64), r#"{"a":9007199254740993}"#, true);
    check("eq", json!(u64::MAX), r#"{"a":18446744073709551615}"#, true);
    check("lt", json!(u64::MAX), r#"{"a":18446744073709551614}"#, true);
    check("eq", json!(i64::MIN), r#"{"a":-9223372036854775808}"#, true);
    check("gt", json!(u64::MAX), r#"{"a":1e999}"#, true);
    check("eq", json!(0.1), r#"{"a":0.10}"#, true);
    check("eq", json!(0.1), r#"{"a":1E-1}"#, true);
    check("gt", json!(0.1), r#"{"a":0.1000001}"#, true);
    // The number in the filter and the number in the event are rounded to the same float.
    check("eq", serde_json::from_str("100000000000000000001").unwrap(), r#"{"a":100000000000000000001}"#, true);
    check("eq", serde_json::from_str("100000000000000000001").unwrap(), r#"{"a":100000000000000000000}"#, true);
}

#[test]
fn numbers_and_texts_have_an_order_and_nothing_else_has() {
    for (op, four, five, six) in
        [("gt", false, false, true), ("gte", false, true, true), ("lt", true, false, false), ("lte", true, true, false)]
    {
        check(op, json!(5), r#"{"a":4.9}"#, four);
        check(op, json!(5), r#"{"a":5}"#, five);
        check(op, json!(5), r#"{"a":50e-1}"#, five);
        check(op, json!(5), r#"{"a":6}"#, six);
        check(op, json!(5), r#"{"a":"6"}"#, false);
        check(op, json!(5), r#"{"a":"4"}"#, false);
        check(op, json!(5), r#"{"a":null}"#, false);
        check(op, json!(5), r#"{"a":true}"#, false);
        check(op, json!(5), r#"{"a":{}}"#, false);
        check(op, json!(5), "{}", false);
    }
    check("gt", json!("2026-01-01T00:00:00Z"), r#"{"a":"2026-01-02T00:00:00Z"}"#, true);
    check("lt", json!("2026-01-01T00:00:00Z"), r#"{"a":"2026-01-02T00:00:00Z"}"#, false);
    check("gt", json!("Z"), r#"{"a":"a"}"#, true);
    check("gt", json!("10"), r#"{"a":"9"}"#, true);
}

#[test]
fn texts_are_compared_by_prefix_and_suffix() {
    check("prefix", json!("ab"), r#"{"a":"abc"}"#, true);
    check("prefix", json!("ab"), r#"{"a":"ab"}"#, true);
    check("prefix", json!("ab"), r#"{"a":"Abc"}"#, false);
    check("suffix", json!("@example.com"), r#"{"a":"me@example.com"}"#, true);
    check("suffix", json!("@example.com"), r#"{"a":"me@example.org"}"#, false);
    check("prefix", json!("1"), r#"{"a":12}"#, false);
}

#[test]
fn a_missing_field_matches_only_a_test_for_absence() {
    for data in ["{}", r#"{"b":1}"#, "5", "null", "[]", r#""a""#, r#"{"A":1}"#] {
        for (op, value) in [
            ("eq", json!(1)),
            ("eq", json!(null)),
            ("ne", json!(1)),
            ("in", json!([1, null])),
            ("prefix", json!("x")),
            ("suffix", json!("x")),
            ("gt", json!(1)),
            ("gte", json!(1)),
            ("lt", json!(1)),
            ("lte", json!(1)),
            ("exists", json!(true)),
        ] {
            check(op, value, data, false);
        }
        check("exists", json!(false), data, true);
        let not_equal = json!({"not": {"field": "data.a", "op": "eq", "value": 1}});
        assert_eq!(ask(&[not_equal], data, None), [true], "not eq 1 of {data}");
    }
}

#[test]
fn a_field_exists_even_if_its_value_is_null() {
    for value in ["null", "0", "false", "\"\"", "[]", "{}", "[{}]", "{\"b\":1}"] {
        let data = format!("{{\"a\":{value}}}");
        check("exists", json!(true), &data, true);
        check("exists", json!(false), &data, false);
        check("ne", json!("x"), &data, true);
    }
    assert_eq!(ask(&[json!({"field": "data.a", "op": "exists"})], r#"{"a":null}"#, None), [true]);
}

#[test]
fn objects_and_empty_arrays_are_equal_to_nothing() {
    for value in ["{}", "[]", "[[]]", r#"{"b":1}"#] {
        check("eq", json!(null), &format!("{{\"a\":{value}}}"), false);
        check("in", json!([null, "", 0, false]), &format!("{{\"a\":{value}}}"), false);
    }
}

#[test]
fn an_array_stands_for_its_elements() {
    check("eq", json!("y"), r#"{"a":["x","y"]}"#, true);
    check("eq", json!("z"), r#"{"a":["x","y"]}"#, false);
    check("ne", json!("y"), r#"{"a":["x","y"]}"#, false);
    check("ne", json!("z"), r#"{"a":["x","y"]}"#, true);
    check("gt", json!(5), r#"{"a":["9",[4,[6]]]}"#, true);
    check("eq", json!(2), r#"[{"a":1},{"a":2}]"#, true);
    let deep = |value: Value| json!({"field": "data.items.sku", "op": "eq", "value": value});
    let data = r#"{"items":[{"sku":"a"},{"sku":["b","c"]},7,{"other":1}]}"#;
    assert_eq!(ask(&[deep(json!("a")), deep(json!("c")), deep(json!("d"))], data, None), [true, true, false]);
    // The two conditions of `all` may hold for different elements of the array.
    let both = json!({"all": [
        {"field": "data.items.sku", "op": "eq", "value": "a"}, {"field": "data.items.n", "op": "eq", "value": 2},
    ]});
    assert_eq!(ask(&[both], r#"{"items":[{"sku":"a","n":1},{"sku":"b","n":2}]}"#, None), [true]);
    // A number names a member, not an index of an array.
    let first = json!({"field": "data.items.0", "op": "exists"});
    assert_eq!(ask(std::slice::from_ref(&first), r#"{"items":["a"]}"#, None), [false]);
    assert_eq!(ask(&[first], r#"{"items":{"0":"a"}}"#, None), [true]);
    // A filter evaluates only the first 1,000 values.
    let many = |at: usize| {
        let values: Vec<Value> = (0..2_000).map(|index| json!(u32::from(index == at))).collect();
        json!({"a": values}).to_string()
    };
    check("eq", json!(1), &many(999), true);
    check("eq", json!(1), &many(1_000), false);
}

#[test]
fn the_last_of_repeated_names_counts() {
    check("eq", json!(2), r#"{"a":1,"a":2}"#, true);
    check("eq", json!(1), r#"{"a":1,"a":2}"#, false);
    check("eq", json!(1), r#"{"a":2,"\u0061":1}"#, true);
    let inner = json!({"field": "data.a.b", "op": "exists"});
    assert_eq!(ask(&[inner], r#"{"a":{"b":1},"a":{}}"#, None), [false]);
}

#[test]
fn fields_are_in_data_metadata_and_attributes() {
    let eq = |field: &str, value: Value| json!({"field": field, "op": "eq", "value": value});
    let filters = [
        eq("data.user.plan", json!("pro")),
        eq("metadata.org.id", json!(7)),
        eq("attributes.bridge", json!("b1")),
        eq("attributes.size", json!("5")),
        eq("attributes.size", json!(5)),
        eq("attributes.sending_node", json!("b1")),
        eq("data.bridge", json!("b1")),
        eq(r"data.a\.b.c\\d", json!(1)),
    ];
    let data = r#" { "x" : [ 1 , {} ] , "user" : { "plan" : "pro" } , "a.b" : { "c\\d" : 1 } } "#;
    let taken = ask(&filters, data, Some(r#"{"org":{"id":7}}"#));
    assert_eq!(taken, [true, true, true, true, false, false, false, true]);
    assert!(!ask(&filters, data, None)[1]);
}

#[test]
fn all_any_and_not_combine() {
    let is = |value: u32| json!({"field": "data.a", "op": "eq", "value": value});
    let filters = [
        json!({"all": [is(1), {"field": "data.b", "op": "exists"}]}),
        json!({"all": [is(1), is(2)]}),
        json!({"any": [is(2), is(1)]}),
        json!({"any": [is(2), is(3)]}),
        json!({"not": {"any": [is(2), is(3)]}}),
        json!({"not": {"not": {"not": {"not": is(1)}}}}),
    ];
    assert_eq!(ask(&filters, r#"{"a":1,"b":null}"#, None), [true, false, true, false, true, true]);
}

#[test]
fn invalid_or_too_deep_data_matches_nothing() {
    check("eq", json!(1), r#"{"a":1"#, false);
    check("eq", json!(1), r#"{"a":[1,"#, false);
    check("eq", json!(1), "", false);
    check("eq", json!(1), &format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500)), false);
    check("exists", json!(true), &format!("{{\"b\":{}1{},\"a\":2}}", "[".repeat(500), "]".repeat(500)), true);
}

#[test]
fn mistakes_have_pointers() {
    #[track_caller]
    fn bad(filter: Value, pointer: &str) {
        let error = PayloadFilter::read(&filter).unwrap_err();
        assert_eq!(error.pointer, format!("/payload_filter{pointer}"), "{filter}: {error}");
        assert!(!error.detail.is_empty());
    }
    let good = json!({"field": "data.a", "op": "exists"});
    let with = |op: &str, value: Value| json!({"field": "data.a", "op": op, "value": value});
    bad(json!([]), "");
    bad(json!({}), "");
    bad(json!("data.a"), "");
    bad(json!({"field": "data.a"}), "");
    bad(json!({"all": []}), "/all");
    bad(json!({"any": good}), "/any");
    bad(json!({"all": [good, 5]}), "/all/1");
    bad(json!({"all": [good], "any": [good]}), "/any");
    bad(json!({"not": [good]}), "/not");
    bad(json!({"any": [{"not": {"field": "data.a", "op": "is", "value": 1}}]}), "/any/0/not/op");
    bad(json!({"field": "data.a", "op": "eq", "value": 1, "x/y": 2}), "/x~1y");
    for field in [
        json!("a"),
        json!("data"),
        json!("data."),
        json!("data..a"),
        json!("Data.a"),
        json!(5),
        json!(r"data.a\n"),
        json!("attributes.a.b"),
        json!("attributes.Bridge"),
        json!(format!("data.{}", "x".repeat(252))),
        json!("data.a.a.a.a.a.a.a.a.a.a"),
        json!("data.\0"),
    ] {
        bad(json!({"field": field, "op": "exists"}), "/field");
    }
    bad(json!({"field": "data.a", "op": 5}), "/op");
    bad(json!({"field": "data.a", "op": "eq"}), "/value");
    bad(with("eq", json!({})), "/value");
    bad(with("ne", json!([1])), "/value");
    bad(with("eq", json!("x".repeat(513))), "/value");
    bad(with("eq", json!("\0")), "/value");
    bad(with("in", json!("x")), "/value");
    bad(with("in", json!([])), "/value");
    bad(with("in", json!([1, []])), "/value/1");
    bad(with("in", json!(vec![1; 201])), "/value");
    bad(with("prefix", json!("")), "/value");
    bad(with("suffix", json!(5)), "/value");
    bad(with("gt", json!(true)), "/value");
    bad(with("lte", json!(null)), "/value");
    bad(with("exists", json!("yes")), "/value");

    let nested = |levels: usize| (1..levels).fold(good.clone(), |inner, _| json!({"not": inner}));
    assert!(PayloadFilter::read(&nested(5)).is_ok());
    bad(nested(6), "/not/not/not/not/not");
    let wide = |tests: usize| json!({"any": vec![good.clone(); tests]});
    assert!(PayloadFilter::read(&wide(50)).is_ok());
    bad(wide(51), "/any/50");
}

/// A second, simple implementation of the rules of filters, which evaluates parsed trees.
mod naive {
    use super::*;

    /// Returns whether the event has the field. Adds the field's values to `values`.
    fn look(value: &Value, names: &[&str], values: &mut Vec<Value>) -> bool {
        match (value, names) {
            (Value::Array(items), _) => {
                let there = items.iter().map(|item| look(item, names, values)).filter(|there| *there).count() > 0;
                there || names.is_empty()
            }
            (Value::Object(members), [name, rest @ ..]) => {
                members.get(*name).is_some_and(|member| look(member, rest, values))
            }
            (Value::Object(_), []) => true,
            (scalar, []) => {
                values.push(scalar.clone());
                true
            }
            _ => false,
        }
    }

    fn equal(a: &Value, b: &Value) -> bool {
        match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        }
    }

    fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
        match (a, b) {
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        }
    }

    pub(super) fn takes(filter: &Value, data: &Value) -> bool {
        let list = |name: &str| filter[name].as_array();
        if let Some(nodes) = list("all") {
            return nodes.iter().all(|node| takes(node, data));
        }
        if let Some(nodes) = list("any") {
            return nodes.iter().any(|node| takes(node, data));
        }
        if filter.get("not").is_some() {
            return !takes(&filter["not"], data);
        }
        let names: Vec<_> = filter["field"].as_str().unwrap().split('.').skip(1).collect();
        let (mut values, wanted) = (Vec::new(), &filter["value"]);
        let there = look(data, &names, &mut values);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let any = |passes: &dyn Fn(&Value) -> bool| values.iter().any(passes);
        match filter["op"].as_str().unwrap() {
            "eq" => any(&|value| equal(value, wanted)),
            "ne" => there && !any(&|value| equal(value, wanted)),
            "in" => any(&|value| wanted.as_array().unwrap().iter().any(|wanted| equal(value, wanted))),
            "prefix" => any(&|value| text(value).starts_with(&text(wanted))),
            "suffix" => any(&|value| text(value).ends_with(&text(wanted))),
            "gt" => any(&|value| order(value, wanted).is_some_and(|order| order.is_gt())),
            "gte" => any(&|value| order(value, wanted).is_some_and(|order| order.is_ge())),
            "lt" => any(&|value| order(value, wanted).is_some_and(|order| order.is_lt())),
            "lte" => any(&|value| order(value, wanted).is_some_and(|order| order.is_le())),
            "exists" => there == wanted.as_bool().unwrap(),
            op => unreachable!("{op}"),
        }
    }
}

// The alphabets are small, so that matches are as common as misses.
fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(-2),
        json!("a"),
        json!("ab"),
        json!("é\"\n"),
    ])
}

fn data() -> impl Strategy<Value = Value> {
    let object = |inner: BoxedStrategy<Value>| {
        let name = prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
        prop::collection::btree_map(name, inner, 1..4).prop_map(|members| Value::Object(members.into_iter().collect()))
    };
    let inner = scalar().prop_recursive(3, 20, 3, move |inner| {
        prop_oneof![2 => object(inner.clone().boxed()), 1 => prop::collection::vec(inner, 0..4).prop_map(Value::Array)]
    });
    prop_oneof![8 => object(inner.clone().boxed()), 1 => inner]
}

fn test() -> impl Strategy<Value = Value> {
    let field = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..3);
    let ordered = || prop::sample::select(vec![json!(1), json!(0.5), json!("a"), json!("b")]);
    let text = || prop::sample::select(vec![json!("a"), json!("b"), json!("é"), json!("\n")]);
    let op = prop_oneof![
        (prop::sample::select(vec!["eq", "ne"]), scalar()),
        (Just("in"), prop::collection::vec(scalar(), 1..4).prop_map(Value::Array)),
        (prop::sample::select(vec!["prefix", "suffix"]), text()),
        (prop::sample::select(vec!["gt", "gte", "lt", "lte"]), ordered()),
        (Just("exists"), any::<bool>().prop_map(Value::Bool)),
    ];
    (field, op).prop_map(
        |(field, (op, value))| json!({"field": format!("data.{}", field.join(".")), "op": op, "value": value}),
    )
}

fn filter() -> impl Strategy<Value = Value> {
    test().prop_recursive(4, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|nodes| json!({"all": nodes})),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|nodes| json!({"any": nodes})),
            inner.prop_map(|node| json!({"not": node})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn one_pass_over_the_text_agrees_with_the_parsed_tree(
        filters in prop::collection::vec(filter(), 1..4),
        data in data(),
        pretty in any::<bool>(),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&data) } else { serde_json::to_string(&data) }.unwrap();
        let expected: Vec<_> = filters.iter().map(|filter| naive::takes(filter, &data)).collect();
        prop_assert_eq!(ask(&filters, &text, None), expected);
    }
}

proptest! {
    #[test]
    fn a_lookup_of_many_values_agrees_with_comparing_them(
        values in prop::collection::vec(scalar(), 9..60),
        asked in prop::collection::vec(test(), 1..6),
        list in prop::collection::vec(scalar(), 1..40),
    ) {
        let at_a = |mut test: Value| {
            test["field"] = json!("data.a");
            test
        };
        let mut asked: Vec<Value> = asked.into_iter().map(at_a).collect();
        asked.push(json!({"field": "data.a", "op": "in", "value": list}));
        let data = json!({"a": values});
        let expected: Vec<_> = asked.iter().map(|test| naive::takes(test, &data)).collect();
        prop_assert_eq!(ask(&asked, &data.to_string(), None), expected, "{:?} of {}", asked, data);
    }
}

/// The largest filter: 50 tests, five of which are `in` tests with 1,000 values in total.
fn largest_filter() -> Value {
    let list = |n: usize| (0..200).map(|value| json!(format!("value-{n}-{value}"))).collect::<Vec<_>>();
    let lists = (0..5).map(|n| json!({"field": "data.a", "op": "in", "value": list(n)}));
    let ends = (0..45).map(|n| json!({"field": "data.a", "op": "suffix", "value": format!("-{n}-end")}));
    json!({"any": lists.chain(ends).collect::<Vec<_>>()})
}

#[test]
fn the_largest_filters_of_100_endpoints_stay_within_the_budget() {
    let values: Vec<String> = (0..1_000).map(|n| format!("text-{n}")).collect();
    let data = json!({"a": values}).to_string();
    let filters = vec![largest_filter(); 100];
    assert_eq!(ask(&filters, &data, None), [false; 100]);
    let (mut fields, attributes) = (FieldIndex::default(), attributes());
    let bound: Vec<_> = filters.iter().map(|json| fields.bind(PayloadFilter::read(json).unwrap())).collect();
    let payload = Payload { data: data.as_bytes(), metadata: None, attributes: &attributes };
    let found = fields.collect(&bound, &payload);
    let mut budget = Budget::default();
    bound.iter().for_each(|filter| assert!(!filter.matches(&found, &mut budget)));
    assert!(!budget.is_spent() && budget.left() > PAYLOAD_FILTER_STEPS_MAX / 2, "{budget:?}");
}

#[test]
fn a_filter_beyond_its_budget_never_matches() {
    let (mut fields, attributes) = (FieldIndex::default(), attributes());
    let mut bind = |json| fields.bind(PayloadFilter::read(&json).unwrap());
    let test = json!({"field": "data.a", "op": "eq", "value": 1});
    let filters =
        [bind(test.clone()), bind(json!({"not": test.clone()})), bind(json!({"any": [{"not": test.clone()}, test]}))];
    let payload = Payload { data: br#"{"a": 2}"#, metadata: None, attributes: &attributes };
    let found = fields.collect(&filters, &payload);
    for filter in &filters[1..] {
        let mut budget = Budget::new(2);
        assert!(filter.matches(&found, &mut budget) && !budget.is_spent());
        assert!(!filter.matches(&found, &mut budget) && budget.is_spent() && budget.left() == 0);
        assert!(!filter.matches(&found, &mut budget));
    }
}

#[test]
fn lists_and_documents_are_bounded() {
    let list = |count: usize| json!({"field": "data.a", "op": "in", "value": (0..count).collect::<Vec<_>>()});
    assert!(PayloadFilter::read(&json!({"all": vec![list(200); 5]})).is_ok());
    let error = PayloadFilter::read(&json!({"all": [list(200), list(200), list(200), list(200), list(200), list(1)]}));
    assert_eq!(error.unwrap_err().pointer, "/payload_filter/all/5/value");
    let long = |n: usize| json!(format!("{n:0>500}"));
    let large = json!({"field": "data.a", "op": "in", "value": (0..150).map(long).collect::<Vec<_>>()});
    assert_eq!(PayloadFilter::read(&large).unwrap_err().pointer, "/payload_filter");
}

#[test]
fn the_comparison_sees_hits_and_misses_of_every_op() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<(String, bool), u32>::new();
    for _ in 0..20_000 {
        let (test, data) =
            (test().new_tree(&mut runner).unwrap().current(), data().new_tree(&mut runner).unwrap().current());
        *seen.entry((test["op"].as_str().unwrap().to_owned(), naive::takes(&test, &data))).or_default() += 1;
    }
    assert_eq!(seen.len(), 20, "each of ten both ways: {seen:?}");
    assert!(seen.values().all(|count| *count >= 10), "{seen:?}");
}
