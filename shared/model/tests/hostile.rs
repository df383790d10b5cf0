//! Arbitrary texts as ids, types, times, filters and attributes are refused, or are printed as text that parses to the same
//! value.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use postrider_model::delivery::{DeliveryStatus, Lane};
use postrider_model::event::{Attributes, EventType};
use postrider_model::explain::SubscriptionText;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::json;
use postrider_model::limits::{ATTRIBUTE_VALUE_BYTES_MAX, EVENT_TYPES_MAX, FILTERS_MAX};
use postrider_model::payload_filter::{FieldIndex, Payload, PayloadFilter};
use postrider_model::subscription::{MatchKind, Subscription, TypePattern};
use postrider_model::time::UnixMillis;
use proptest::prelude::*;
use serde_json::Value;

/// Parses `text`. If that succeeds, checks that the value is printed as text that parses to the same value.
fn reads_back<T: FromStr + Display + PartialEq>(text: &str) -> Result<(), TestCaseError> {
    if let Ok(read) = text.parse::<T>() {
        let printed = read.to_string();
        prop_assert!(printed.parse::<T>().is_ok_and(|again| again == read), "{} of {:?}", printed, text);
    }
    Ok(())
}

const NAMES: [&str; 12] = [
    "ten_018f8f3e7c3b7c018c3b7c018c3b7c02",
    "ten_operator",
    "evt_018f8f3e7c3b7c018c3b7c018c3b7c01",
    "ep_018f8f3e7c3b7c018c3b7c018c3b7c03",
    "dlv_0b4a7f6c2f0e5d1d8f4f7a5f3c2b1a09",
    "snd_018f8f3e7c3b7c018c3b7c018c3b7c06",
    "retry:rty_018f8f3e7c3b7c018c3b7c018c3b7c04",
    "email.delivered",
    "Newsletter Opened",
    "email.*",
    "delivered",
    "bulk",
];

const TIMES: [&str; 5] = [
    "2026-01-02T03:04:05.678Z",
    "2026-01-02T03:04:05+02:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "2016-12-31T23:59:60Z",
];

const VALUES: [&str; 9] = [
    "mail.example.com",
    "*.example.com",
    "EXAMPLE.com.",
    "192.0.2.0/24",
    "192.0.2.1",
    "2001:db8::/32",
    "::ffff:192.0.2.1",
    "smtp1",
    "cred-7",
];

const FILTERS: [&str; 3] = [
    r#"{"field":"data.order.total","op":"gte","value":99.5}"#,
    r#"{"all":[{"field":"data.text","op":"prefix","value":"order."},{"not":{"field":"metadata.a","op":"exists","value":true}}]}"#,
    r#"{"any":[{"field":"attributes.bridge","op":"in","value":["a",1,null,true]},{"field":"data.a\\.b","op":"eq","value":1e300}]}"#,
];

const EVENTS: [&str; 2] = [
    r#"{"order":{"total":1e2,"items":[{"id":"a\u0000"},{"id":2}]},"a.b":[[1]],"text":"\ud83d\ude00"}"#,
    r#"[1,"2",null]"#,
];

fn kind_of(attribute: &str) -> Option<MatchKind> {
    match attribute {
        "domain" => Some(MatchKind::Domain),
        "ip" => Some(MatchKind::Ip),
        "node" => Some(MatchKind::Exact),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_parsed_name_is_printed_unchanged(text in postrider_fuzz::text(NAMES)) {
        reads_back::<TenantId>(&text)?;
        reads_back::<EventId>(&text)?;
        reads_back::<EndpointId>(&text)?;
        reads_back::<DeliveryId>(&text)?;
        reads_back::<SendId>(&text)?;
        reads_back::<Generation>(&text)?;
        reads_back::<EventType>(&text)?;
        reads_back::<TypePattern>(&text)?;
        prop_assert!(text.parse::<DeliveryStatus>().is_ok_and(|status| status.as_str() == text) || text != "delivered");
        prop_assert!(text.parse::<Lane>().is_ok_and(|lane| lane.as_str() == text) || text != "bulk");
    }

    #[test]
    fn a_parsed_time_can_be_stored_and_printed(text in postrider_fuzz::text(TIMES)) {
        let Ok(at) = text.parse::<UnixMillis>() else { return Ok(()) };
        prop_assert_eq!(at.to_rfc3339_millis().parse::<UnixMillis>().ok(), Some(at), "{}", text);
        prop_assert!(at.day().start() <= at);
    }

    #[test]
    fn every_time_can_be_printed(millis in any::<i64>()) {
        let at = UnixMillis(millis);
        prop_assert!(at.to_rfc3339_millis().len() < 40 && at.to_rfc3339_seconds().len() < 40);
        let _ = (at.day(), at.plus(std::time::Duration::MAX), at.until(UnixMillis(i64::MIN)), at.as_seconds());
    }

    #[test]
    fn a_subscription_compiles_or_its_mistake_has_a_pointer(
        types in prop::collection::vec(postrider_fuzz::text(NAMES), 0..4),
        attribute in prop_oneof![4 => prop::sample::select(&["domain", "ip", "node"][..]).prop_map(str::to_owned), 1 => any::<String>()],
        values in prop::collection::vec(postrider_fuzz::text(VALUES), 0..4),
        actual in postrider_fuzz::text(VALUES),
    ) {
        let filters = BTreeMap::from([(attribute.clone(), values)]);
        match Subscription::compile(&types, &filters, kind_of) {
            Ok(subscription) => {
                prop_assert!(subscription.event_types.len() <= EVENT_TYPES_MAX && subscription.filters.len() <= FILTERS_MAX);
                prop_assert_eq!(&Subscription::compile(&types, &filters, kind_of), &Ok(subscription.clone()));
                let attributes = Attributes([(attribute.as_str().into(), actual.as_str().into())].into());
                prop_assert!(attributes.check().is_ok() || actual.is_empty() || actual.len() > ATTRIBUTE_VALUE_BYTES_MAX
                    || actual.contains(char::is_control));
                subscription.filters_match(&attributes);
            }
            Err(invalid) => {
                prop_assert!(invalid.pointer.starts_with("/event_types") || invalid.pointer.starts_with("/filters"));
                prop_assert!(invalid.detail.len() < 300, "{}", invalid);
            }
        }
    }

    #[test]
    fn a_payload_filter_is_accepted_or_has_a_located_mistake(
        filter in postrider_fuzz::bytes(FILTERS),
        data in postrider_fuzz::bytes(EVENTS),
        metadata in postrider_fuzz::text(EVENTS),
    ) {
        let Ok(json) = serde_json::from_slice::<Value>(&filter) else { return Ok(()) };
        match PayloadFilter::read(&json) {
            Ok(read) => {
                let attributes = Attributes::default();
                let payload = Payload { data: &data, metadata: Some(&metadata), attributes: &attributes };
                let (takes, held) = read.explain(&payload);
                prop_assert_eq!(read.explain(&payload), (takes, held.clone()));
                // The result has at most 20 values of each field, and no value is longer than the event.
                let shown = serde_json::to_string(&held).expect("text").len();
                prop_assert!(shown <= (filter.len() + 6 * (data.len() + metadata.len())) * 20, "{}", shown);
                let subscription = SubscriptionText { event_types: &["*".to_owned()], filters: &BTreeMap::new(), payload_filter: Some(&json) };
                prop_assert!(subscription.bind(&mut FieldIndex::default(), kind_of).is_ok());
            }
            Err(invalid) => {
                prop_assert!(invalid.pointer.len() <= filter.len() * 2 + 64 && invalid.detail.len() < 400, "{}", invalid);
            }
        }
    }

    #[test]
    fn the_depth_of_json_is_the_depth_of_its_brackets(data in postrider_fuzz::text(EVENTS)) {
        let depth = json::depth(&data);
        let brackets = data.bytes().filter(|byte| b"[{".contains(byte)).count();
        prop_assert!(depth <= brackets);
        if let Ok(tree) = serde_json::from_str::<Value>(&data) {
            prop_assert_eq!(depth, depth_of(&tree));
        }
    }
}

fn depth_of(tree: &Value) -> usize {
    match tree {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth_of).max().unwrap_or_default(),
        _ => 0,
    }
}

#[test]
fn json_nested_10000_times_needs_no_stack() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(json::depth(&deep), 10_000);
    let filter = serde_json::json!({"field": "data.a", "op": "exists", "value": true});
    let filter = PayloadFilter::read(&filter).expect("a filter");
    let attributes = Attributes::default();
    let payload = Payload { data: deep.as_bytes(), metadata: None, attributes: &attributes };
    filter.explain(&payload);
}
