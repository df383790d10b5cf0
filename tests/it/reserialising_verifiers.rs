//! Receivers that verify re-serialised JSON, as Migma's do: hostile data with `JSON.stringify` and, for `ascii_json`, with
//! Python's `json.dumps`.

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile, Profiles};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Stage;
use crate::harness::independent::{Case, Language};

/// Data, whether Node's verifier passes, whether Python's passes with `ascii_json`, and whether ingest warns. It warns unless
/// both pass, and about floats that the two print differently.
const HOSTILE: [(&str, bool, bool, bool); 26] = [
    (r#"{"float":1.0,"more":[1.50,-0.0,-0,1E2,1e-4,0.1234567890123456789]}"#, true, true, false),
    (r#"{"large":[1e15,1e16,123456789012345680000,1e21,1.5e300,1.7976931348623157e308]}"#, true, true, false),
    (r#"{"tiny":[1e-10,5e-324,2.5E-100,1e-400]}"#, true, true, false),
    (r#"{"safe":[9007199254740991,-9007199254740991,9007199254740992,9007199254740994]}"#, true, true, false),
    (r#"{"beyond":9007199254740993}"#, false, true, true),
    (r#"{"beyond":[{"id":12345678901234567890}]}"#, false, true, true),
    (r#"{"beyond":-100000000000000000000000}"#, false, true, true),
    (r#"{"small":0.00001}"#, true, true, true),
    (r#"{"small":[1e-5,1.25e-6,1e-7,-9.9e-9,0.000000001]}"#, true, true, true),
    (r#"{"infinite":1e400}"#, false, false, true),
    (r#"{"escapes":"\" \\ \/ \b \f \n \r \t \u0041 \u001f \u0000 \u00e9"}"#, true, true, false),
    (r#"{"text":"Zoë ☃ \u2603 日本語"}"#, true, true, false),
    (r#"{"emoji":"😀 \ud83d\ude00 👩‍👩‍👧‍👦 \uD83D\uDE00"}"#, true, true, false),
    (r#"{"halves":"\ud83d \ude00\ud83d x \uD800A"}"#, true, true, false),
    ("{\"separators\":\"\u{2028}\u{2029} \u{7f} \u{feff} <script>&'\"}", true, true, false),
    (r#"{"empty":[{},[],[[]],[{}],{"a":{}},"",null,true,false]}"#, true, true, false),
    (r#"{}"#, true, true, false),
    (r#"[]"#, true, true, false),
    (r#""just text""#, true, true, false),
    (r#"null"#, true, true, false),
    ("{ \"white\" :\t[ 1 ,\r\n 2 ] , \"space\" : { } }", true, true, false),
    (r#"{"z":1,"10":2,"9":3,"01":4,"0":5,"-1":6,"1.5":7,"4294967294":8,"4294967295":9}"#, true, true, false),
    (r#"{"b":1,"a":2,"b":{"c":1,"c":[2]},"a":3,"\u0062":4}"#, true, true, false),
    (r#"{"1":{"1":1,"0":0},"0":[{"2":2,"1":1}],"1":"last"}"#, true, true, false),
    (r#"{"__proto__":{"a":1},"constructor":2,"toString":3,"":4," ":5}"#, true, true, false),
    (r#"{"é":1,"\ud83d\ude00":2,"😀":3,"\n":4}"#, true, true, false),
];

/// Guarantee (What deliveries look like): Bodies survive re-serialisation by Migma's verifiers (Node.js; Python with
/// `ascii_json`). Ingest warns about values that cannot.
#[tokio::test]
async fn hostile_data_passes_nodes_and_with_ascii_json_pythons_verifier() {
    let stage = Stage::of("migma").await;
    let plain = stage.endpoint(json!({"url": stage.receiver.url("/node")})).await;
    let ascii = stage.endpoint(json!({"url": stage.receiver.url("/python"), "ascii_json": true})).await;
    let events: Vec<String> = HOSTILE
        .iter()
        .map(|(data, ..)| format!(r#"{{"type":"export.completed","data":{data},"metadata":{{"2":"é","1":1.0}}}}"#))
        .collect();
    let batch = format!(r#"{{"events":[{}]}}"#, events.join(","));
    let (status, answer) = stage.tenant.send(Method::POST, "/v1/publish/batch", Some(batch), &[]).await;
    assert_eq!(status, 202, "{answer:#}");
    let receipts = answer["results"].as_array().expect("results");

    let requests = stage.receiver.take(2 * HOSTILE.len()).await;
    let find = |receipt: &Value, path: &str| {
        let wanted = |r: &&_| matches(r, path, &receipt["id"]);
        requests.iter().find(wanted).unwrap_or_else(|| panic!("{receipt} at {path}"))
    };
    let cases = |path: &str, secret: &str| -> Vec<Case> {
        receipts.iter().map(|receipt| Case::of(secret, find(receipt, path))).collect()
    };
    let (plain, ascii) = (cases("/node", plain.secret()), cases("/python", ascii.secret()));
    let node = Language::JavaScript.verify("migma", &plain).await;
    let python = Language::Python.verify("migma", &ascii).await;
    // The signature is always over the bytes themselves.
    assert!(Language::Python.verify("standard", &[plain, ascii].concat()).await.iter().all(|passes| *passes));
    for (at, (data, by_node, by_python, warned)) in HOSTILE.into_iter().enumerate() {
        let warnings = receipts[at]["warnings"].as_array().expect("warnings");
        let found = (node[at], python[at], !warnings.is_empty());
        assert_eq!(found, (by_node, by_python, warned), "{data}: {}", receipts[at]);
        assert!(warnings.iter().all(|w| w.as_str().is_some_and(|w| w.starts_with("/data/"))), "{warnings:?}");
        assert!(find(&receipts[at], "/python").body.is_ascii());
    }
}

fn matches(request: &crate::harness::Received, path: &str, id: &Value) -> bool {
    request.target == path && *id == request.header("webhook-id")
}

/// Guarantee: as `reserialising_verifiers::hostile_data_passes_nodes_and_with_ascii_json_pythons_verifier`.
#[tokio::test]
async fn a_single_publish_warns_too_and_only_products_that_print_again_do() {
    let stage = Stage::of("migma").await;
    let standard = stage.deployment.tenant("standard").await;
    let event = r#"{"type":"export.failed","data":{"order":{"id":9007199254740993}}}"#.to_owned();
    let warnings = async |tenant: &crate::harness::Tenant| {
        let (status, answer) = tenant.send(Method::POST, "/v1/publish", Some(event.clone()), &[]).await;
        assert_eq!(status, 202, "{answer:#}");
        answer["warnings"].clone()
    };
    let expected =
        "/data/order/id: 9007199254740993 is beyond 2^53: JavaScript reads it as 9007199254740992; send it as a string";
    assert_eq!(warnings(&stage.tenant).await, json!([expected]));
    assert_eq!(warnings(&standard).await, json!([]));
}

/// JSON texts in unusual forms: whitespace, repeated and integer-like names, escapes, numbers with fraction and exponent.
fn odd_json() -> impl Strategy<Value = String> {
    let space = prop::sample::select(vec!["", "", " ", "\n\t"]);
    let piece = prop_oneof![
        "[ -~&&[^\"\\\\]]{1,4}",
        "[^\\p{Cc}\"\\\\]{1,3}",
        prop::sample::select(vec![
            "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "😀", "\u{7f}", "\u{2028}"
        ])
        .prop_map(str::to_owned),
        "\\\\u[0-9a-fA-F]{4}",
        "\\\\u[dD][89abAB][0-9a-f]{2}(\\\\u[dD][c-fC-F][0-9a-f]{2})?",
    ];
    let text = prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let double = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}|-?(0|[1-9][0-9]{0,25})\\.[0-9]{1,20}"
        .prop_filter("no double is larger", |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite));
    let leaf = prop_oneof![
        text.clone(),
        double,
        "-?(0|[1-9][0-9]{0,14})",
        "-?[1-9]e-[4-9]",
        prop::sample::select(vec!["true", "false", "null", "-0", "-0.0"]).prop_map(str::to_owned),
    ];
    let name = prop_oneof![
        text,
        "\"(0|[1-9][0-9]{0,2}|42949672(9[3-6]))\"",
        prop::sample::select(vec!["\"a\"", "\"\\u0061\"", "\"b\"", "\"01\"", "\"__proto__\""]).prop_map(str::to_owned)
    ];
    leaf.prop_recursive(4, 48, 8, move |inner| {
        let member = (name.clone(), space.clone(), inner.clone()).prop_map(|(n, s, v)| format!("{s}{n}{s}:{s}{v}{s}"));
        prop_oneof![
            prop::collection::vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(","))),
            (prop::collection::vec(inner, 0..8), space.clone())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},{s}")))),
        ]
    })
}

fn render(profile: &Profile, data: &str, kind: BodyKind) -> String {
    let (id, event_type): (EventId, EventType) = ("evt_1".parse().unwrap(), "export.failed".parse().unwrap());
    let view = EventView {
        id: &id,
        event_type: &event_type,
        occurred_at: UnixMillis(1_703_123_456_789),
        accepted_at: UnixMillis(1_703_123_456_789),
        attributes: &Attributes::default(),
        metadata: None,
        data: data.as_bytes(),
    };
    String::from_utf8(profile.render(&view, kind)).unwrap()
}

/// Renders thousands of texts without engines.
///
/// Guarantee: as `reserialising_verifiers::hostile_data_passes_nodes_and_with_ascii_json_pythons_verifier`.
#[tokio::test]
async fn any_data_is_sent_as_javascript_or_with_ascii_json_python_prints_it() {
    let migma = Profiles::builtin().get("migma").expect("built in").clone();
    let (mut runner, strategy) = (TestRunner::deterministic(), odd_json());
    let texts: Vec<String> = (0..3_000).map(|_| strategy.new_tree(&mut runner).expect("a text").current()).collect();

    let empty = render(&migma, "null", BodyKind::Json);
    let unchanged: Vec<String> = texts.iter().map(|text| empty.replacen("null", text, 1)).collect();
    let stable: Vec<String> = texts.iter().map(|text| render(&migma, text, BodyKind::Json)).collect();
    let printed = Language::JavaScript.reprint(&unchanged).await;
    for ((text, ours), javascripts) in texts.iter().zip(&stable).zip(&printed) {
        assert_eq!(ours, javascripts, "{text}");
    }
    let ascii: Vec<String> = texts.iter().map(|text| render(&migma, text, BodyKind::AsciiJson)).collect();
    let printed = Language::Python.reprint(&ascii).await;
    for ((text, ours), pythons) in texts.iter().zip(&ascii).zip(&printed) {
        assert_eq!(ours, pythons, "{text}");
    }
}
