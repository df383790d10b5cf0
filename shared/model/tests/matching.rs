//! The events that a subscription matches: tables, and a comparison with a simple matcher.

use std::collections::BTreeMap;
use std::net::IpAddr;

use postrider_model::event::{Attributes, EventType};
use postrider_model::explain::SubscriptionText;
use postrider_model::payload_filter::Payload;
use postrider_model::subscription::{MatchKind, Subscription};
use proptest::prelude::*;

fn kind_of(name: &str) -> Option<MatchKind> {
    match name {
        "sending_domain" => Some(MatchKind::Domain),
        "sending_node" | "bridge" => Some(MatchKind::Exact),
        "dedicated_ip" => Some(MatchKind::Ip),
        _ => None,
    }
}

fn attributes(pairs: &[(&str, &str)]) -> Attributes {
    Attributes(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

fn compile(types: &[&str], filters: &[(&str, &[&str])]) -> Result<Subscription, String> {
    let types: Vec<String> = types.iter().map(|text| (*text).to_owned()).collect();
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let filters: BTreeMap<String, Vec<String>> =
        filters.iter().map(|(name, values)| ((*name).to_owned(), strings(values))).collect();
    Subscription::compile(&types, &filters, kind_of).map_err(|error| error.pointer)
}

#[track_caller]
fn check_type(patterns: &[&str], event_type: &str, expected: bool) {
    let subscription = compile(patterns, &[]).unwrap();
    let event_type: EventType = event_type.parse().unwrap();
    assert_eq!(subscription.matches(&event_type, &Attributes::default()), expected, "{patterns:?} for {event_type}");
}

#[track_caller]
fn check(filters: &[(&str, &[&str])], event: &[(&str, &str)], expected: bool) {
    let subscription = compile(&["*"], filters).unwrap();
    let event_type = "email.sent".parse().unwrap();
    assert_eq!(subscription.matches(&event_type, &attributes(event)), expected, "{filters:?} for {event:?}");
}

#[test]
fn types_match_exactly_or_below_a_dot_or_all() {
    check_type(&["email.sent"], "email.sent", true);
    check_type(&["email.sent"], "email.sent.late", false);
    check_type(&["email.sent"], "email.opened", false);
    check_type(&["email.sent"], "Email.sent", false);
    check_type(&["email.*"], "email.sent", true);
    check_type(&["email.*"], "email.generation.completed", true);
    check_type(&["email.*"], "email", false);
    check_type(&["email.*"], "emailing.sent", false);
    check_type(&["email.generation.*"], "email.generation.completed", true);
    check_type(&["email.generation.*"], "email.sent", false);
    check_type(&["*"], "Newsletter Opened", true);
    check_type(&["Newsletter Opened"], "Newsletter Opened", true);
    check_type(&["a", "b.*"], "b.c", true);
    check_type(&["a", "b.*"], "c", false);
}

#[test]
fn each_filter_matches_its_values_and_no_others() {
    check(&[("sending_node", &["smtp1"])], &[("sending_node", "smtp1")], true);
    check(&[("sending_node", &["smtp1"])], &[("sending_node", "smtp2")], false);
    check(&[("sending_node", &["smtp1"])], &[("sending_node", "SMTP1")], false);
    check(&[("sending_node", &["smtp1"])], &[("sending_node", "smtp11")], false);
    check(&[("bridge", &["cred-7"])], &[("bridge", "cred-7")], true);
    check(&[("bridge", &["cred-7"])], &[("bridge", "cred-8")], false);
    check(&[("sending_domain", &["mail.example.com"])], &[("sending_domain", "mail.example.com")], true);
    check(&[("sending_domain", &["mail.example.com"])], &[("sending_domain", "example.com")], false);
    check(&[("dedicated_ip", &["203.0.113.42"])], &[("dedicated_ip", "203.0.113.42")], true);
    check(&[("dedicated_ip", &["203.0.113.42"])], &[("dedicated_ip", "203.0.113.43")], false);
}

#[test]
fn domains_match_without_case_and_below_a_star() {
    let domain = |filter: &str, actual: &str, expected| {
        check(&[("sending_domain", &[filter])], &[("sending_domain", actual)], expected);
    };
    domain("Mail.Example.com", "mAIL.example.COM", true);
    domain("mail.example.com.", "mail.example.com", true);
    domain("mail.example.com", "mail.example.com.", true);
    domain("*.example.com", "mail.example.com", true);
    domain("*.example.com", "a.b.example.com", true);
    domain("*.EXAMPLE.com", "a.Example.com", true);
    domain("*.example.com", "example.com", false);
    domain("*.example.com", "badexample.com", false);
    domain("*.example.com", ".example.com", false);
    domain("*.example.com", "example.com.evil.org", false);
}

#[test]
fn ips_match_alone_or_in_a_block_v4_and_v6() {
    let ip = |filter: &str, actual: &str, expected| {
        check(&[("dedicated_ip", &[filter])], &[("dedicated_ip", actual)], expected);
    };
    ip("203.0.113.0/24", "203.0.113.0", true);
    ip("203.0.113.0/24", "203.0.113.255", true);
    ip("203.0.113.0/24", "203.0.114.0", false);
    ip("203.0.113.77/24", "203.0.113.1", true);
    ip("203.0.113.4/30", "203.0.113.7", true);
    ip("203.0.113.4/30", "203.0.113.8", false);
    ip("0.0.0.0/0", "198.51.100.1", true);
    ip("0.0.0.0/0", "2001:db8::1", false);
    ip("203.0.113.42/32", "203.0.113.42", true);
    ip("2001:db8::/32", "2001:db8:ffff::1", true);
    ip("2001:db8::/32", "2001:db9::1", false);
    ip("2001:db8::1", "2001:0DB8:0:0:0:0:0:1", true);
    ip("2001:db8::1/128", "2001:db8::2", false);
    ip("::/0", "203.0.113.1", false);
    ip("203.0.113.0/24", "::ffff:203.0.113.9", true);
    ip("::ffff:203.0.113.9", "203.0.113.9", true);
    ip("203.0.113.0/24", "not an ip", false);
    ip("203.0.113.0/24", "203.0.113.0/24", false);
}

#[test]
fn values_of_one_filter_are_or() {
    let nodes: &[(&str, &[&str])] = &[("sending_node", &["smtp3", "smtp1", "smtp2"])];
    for (node, expected) in [("smtp1", true), ("smtp2", true), ("smtp3", true), ("smtp4", false)] {
        check(nodes, &[("sending_node", node)], expected);
    }
    let domains: &[(&str, &[&str])] = &[("sending_domain", &["example.org", "*.example.com"])];
    for (domain, expected) in [("example.org", true), ("a.example.com", true), ("a.example.org", false)] {
        check(domains, &[("sending_domain", domain)], expected);
    }
    let ips: &[(&str, &[&str])] = &[("dedicated_ip", &["203.0.113.1", "198.51.100.0/24", "2001:db8::/32"])];
    for (ip, expected) in [("203.0.113.1", true), ("198.51.100.9", true), ("2001:db8::9", true), ("203.0.113.2", false)]
    {
        check(ips, &[("dedicated_ip", ip)], expected);
    }
}

#[test]
fn filters_across_are_and() {
    let all: &[(&str, &[&str])] = &[
        ("sending_domain", &["*.example.com"]),
        ("sending_node", &["smtp1", "smtp2"]),
        ("bridge", &["b1"]),
        ("dedicated_ip", &["203.0.113.0/24"]),
    ];
    let event = [
        ("sending_domain", "mail.example.com"),
        ("sending_node", "smtp2"),
        ("bridge", "b1"),
        ("dedicated_ip", "203.0.113.5"),
    ];
    check(all, &event, true);
    // Each of the four filters alone prevents a match, by another value and by a missing attribute.
    for index in 0..event.len() {
        let mut other = event;
        other[index].1 = "other";
        check(all, &other, false);
        let absent: Vec<_> =
            event.into_iter().enumerate().filter(|(at, _)| *at != index).map(|(_, pair)| pair).collect();
        check(all, &absent, false);
    }
}

#[test]
fn a_filter_does_not_match_an_event_without_its_attribute() {
    for filter in ["sending_domain", "sending_node", "bridge", "dedicated_ip"] {
        let value = if filter == "dedicated_ip" { "0.0.0.0/0" } else { "a.b" };
        check(&[(filter, &[value])], &[], false);
        check(&[(filter, &[value])], &[("other", value)], false);
    }
    check(&[], &[], true);
    check(&[], &[("bridge", "b1")], true);
}

#[test]
fn type_and_filters_must_both_match_the_event() {
    let subscription = compile(&["email.*"], &[("bridge", &["b1"])]).unwrap();
    let takes = |event_type: &str, bridge: &str| {
        subscription.matches(&event_type.parse().unwrap(), &attributes(&[("bridge", bridge)]))
    };
    assert!(takes("email.sent", "b1"));
    assert!(!takes("email.sent", "b2"));
    assert!(!takes("sms.sent", "b1"));
}

#[test]
fn mistakes_have_pointers() {
    let pointer = |types: &[&str], filters: &[(&str, &[&str])]| compile(types, filters).unwrap_err();
    assert_eq!(pointer(&[], &[]), "/event_types");
    assert_eq!(pointer(&["a", "em*il"], &[]), "/event_types/1");
    assert_eq!(pointer(&["*.sent"], &[]), "/event_types/0");
    assert_eq!(pointer(&["email.*.sent"], &[]), "/event_types/0");
    assert_eq!(pointer(&["*"], &[("colour", &["red"])]), "/filters/colour");
    assert_eq!(pointer(&["*"], &[("a/b", &["red"])]), "/filters/a~1b");
    assert_eq!(pointer(&["*"], &[("bridge", &[])]), "/filters/bridge");
    assert_eq!(pointer(&["*"], &[("bridge", &["a", ""])]), "/filters/bridge/1");
    assert_eq!(pointer(&["*"], &[("dedicated_ip", &["203.0.113.1", "300.1.1.1"])]), "/filters/dedicated_ip/1");
    assert_eq!(pointer(&["*"], &[("dedicated_ip", &["203.0.113.0/33"])]), "/filters/dedicated_ip/0");
    assert_eq!(pointer(&["*"], &[("sending_domain", &["exa mple.com"])]), "/filters/sending_domain/0");
    assert_eq!(pointer(&["*"], &[("sending_domain", &["a.*.com"])]), "/filters/sending_domain/0");
    assert_eq!(pointer(&["*"], &[("sending_domain", &["*"])]), "/filters/sending_domain/0");
}

#[test]
fn each_condition_shows_the_expected_and_the_actual_value() {
    use serde_json::{Value, json};
    let types = ["email.*".to_owned()];
    let filters = BTreeMap::from([("bridge".to_owned(), vec!["b1".to_owned(), "b2".to_owned()])]);
    let payload_filter = json!({"any": [
        {"field": "data.n", "op": "gt", "value": 5}, {"field": "data.list.x", "op": "eq", "value": null},
        {"field": "metadata.gone", "op": "exists"},
    ]});
    let subscription =
        SubscriptionText { event_types: &types, filters: &filters, payload_filter: Some(&payload_filter) };
    let checks = |kind_of: fn(&str) -> Option<MatchKind>| {
        let attributes = attributes(&[("bridge", "b3")]);
        let data = br#"{"n": 6.5, "list": [{"x": "a"}, {"x": 18446744073709551615}]}"#;
        let payload = Payload { data, metadata: None, attributes: &attributes };
        let checks = subscription.explain(kind_of, &"email.sent".parse().unwrap(), &payload);
        let shown = checks.into_iter().map(|c| json!([c.check, c.expected, c.actual, c.passed]));
        Value::Array(shown.collect())
    };
    let held = json!({"data.n": [6.5], "data.list.x": ["a", u64::MAX], "metadata.gone": null});
    let expected = json!([
        ["event_types", ["email.*"], "email.sent", true],
        ["filters.bridge", ["b1", "b2"], "b3", false],
        ["payload_filter", payload_filter, held, true],
    ]);
    assert_eq!(checks(kind_of), expected);
    // The profile does not have the filter's attribute.
    let unreadable = checks(|_| None);
    assert_eq!(
        (&unreadable[0][0], &unreadable[0][3], unreadable.as_array().unwrap().len()),
        (&json!("subscription"), &json!(false), 1)
    );
}

/// A second, simple implementation of the rules of subscriptions, which compares texts.
mod naive {
    use super::*;

    pub(super) fn type_matches(pattern: &str, event_type: &str) -> bool {
        let (pattern, event_type): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), event_type.split('.').collect());
        match pattern.split_last() {
            Some((&"*", stem)) => event_type.len() > stem.len() && event_type[..stem.len()] == *stem,
            _ => pattern == event_type,
        }
    }

    fn bits(ip: IpAddr) -> Vec<bool> {
        let octets = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
    }

    fn ip_matches(value: &str, actual: &str) -> bool {
        let Ok(actual) = actual.parse::<IpAddr>() else { return false };
        let (address, length) = value.split_once('/').unwrap_or((value, "128"));
        let (address, actual) = (bits(address.parse().unwrap()), bits(actual));
        let length = length.parse::<usize>().unwrap().min(address.len());
        address.len() == actual.len() && address[..length] == actual[..length]
    }

    fn domain_matches(value: &str, actual: &str) -> bool {
        let (value, actual) = (value.to_lowercase(), actual.to_lowercase());
        let (value, actual): (Vec<_>, Vec<_>) = (value.split('.').rev().collect(), actual.split('.').rev().collect());
        match value.split_last() {
            Some((&"*", stem)) => actual.len() > stem.len() && actual[..stem.len()] == *stem,
            _ => value == actual,
        }
    }

    pub(super) fn matches(
        types: &[String],
        filters: &BTreeMap<String, Vec<String>>,
        event_type: &str,
        event: &BTreeMap<String, String>,
    ) -> bool {
        types.iter().any(|pattern| type_matches(pattern, event_type))
            && filters.iter().all(|(name, values)| {
                event.get(name).is_some_and(|actual| {
                    values.iter().any(|value| match kind_of(name).unwrap() {
                        MatchKind::Exact => value == actual,
                        MatchKind::Domain => domain_matches(value, actual),
                        MatchKind::Ip => ip_matches(value, actual),
                    })
                })
            })
    }
}

// The alphabets are small, so that matches are as common as misses.
fn event_type() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 1..4).prop_map(|segments| segments.join("."))
}

fn pattern() -> impl Strategy<Value = String> {
    prop_oneof![4 => event_type(), 3 => event_type().prop_map(|stem| format!("{stem}.*")), 1 => Just("*".to_owned())]
}

fn domain() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["x", "Y", "y", "xy"]), 1..4).prop_map(|labels| labels.join("."))
}

fn ip() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..4_u8, 0..4_u8).prop_map(|(c, d)| format!("10.0.{c}.{}", d * 85)),
        (0..4_u16, 0..4_u16).prop_map(|(g, h)| format!("fd00::{g:x}:{:x}", h * 0x5555)),
    ]
}

fn net() -> impl Strategy<Value = String> {
    let block = (ip(), 0..=32_u8).prop_map(|(ip, bits)| {
        let length = if ip.contains(':') { 96 + u32::from(bits) } else { u32::from(bits) };
        format!("{ip}/{length}")
    });
    prop_oneof![ip(), block]
}

fn one_or_more<S: Strategy<Value = String>>(value: S) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(value, 1..4)
}

fn filters() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let star = prop_oneof![domain(), domain().prop_map(|below| format!("*.{below}"))];
    let node = || prop::sample::select(vec!["n1", "n2", "N1"]).prop_map(str::to_owned);
    let maybe = |values: BoxedStrategy<Vec<String>>| prop::option::weighted(0.4, values);
    (
        maybe(one_or_more(star).boxed()),
        maybe(one_or_more(node()).boxed()),
        maybe(one_or_more(node()).boxed()),
        maybe(one_or_more(net()).boxed()),
    )
        .prop_map(|(domain, node, bridge, ip)| named([domain, node, bridge, ip]))
}

fn event() -> impl Strategy<Value = BTreeMap<String, String>> {
    let node = || prop::sample::select(vec!["n1", "n2", "N1"]).prop_map(str::to_owned);
    let maybe = |value: BoxedStrategy<String>| prop::option::weighted(0.8, value);
    (maybe(domain().boxed()), maybe(node().boxed()), maybe(node().boxed()), maybe(ip().boxed()))
        .prop_map(|(domain, node, bridge, ip)| named([domain, node, bridge, ip]))
}

fn named<T>(values: [Option<T>; 4]) -> BTreeMap<String, T> {
    let names = ["sending_domain", "sending_node", "bridge", "dedicated_ip"];
    names.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_compiled_matcher_agrees_with_the_naive_one(
        types in prop::collection::vec(pattern(), 1..4),
        filters in filters(),
        event_type in event_type(),
        event in event(),
    ) {
        let subscription = Subscription::compile(&types, &filters, kind_of).unwrap();
        let pairs: Vec<_> = event.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let compiled = subscription.matches(&event_type.parse().unwrap(), &attributes(&pairs));
        prop_assert_eq!(compiled, naive::matches(&types, &filters, &event_type, &event));
        let subscription = SubscriptionText { event_types: &types, filters: &filters, payload_filter: None };
        let attributes = attributes(&pairs);
        let payload = Payload { data: b"{}", metadata: None, attributes: &attributes };
        let checks = subscription.explain(kind_of, &event_type.parse().unwrap(), &payload);
        prop_assert_eq!(checks.len(), 1 + filters.len());
        prop_assert_eq!(checks.iter().all(|check| check.passed), compiled);
    }
}

proptest! {
    #[test]
    fn a_filter_of_whole_values_matches_exactly_their_comparable_forms(
        filters in filters(),
        event in event(),
    ) {
        let subscription = Subscription::compile(&["*".to_owned()], &filters, kind_of).unwrap();
        for (name, values) in &subscription.filters {
            let blocks = filters[name.as_ref()].iter().any(|value| value.contains(['*', '/']));
            prop_assert!(blocks || values.whole().is_some(), "{:?}", values);
            if let (Some((kind, whole)), Some(actual)) = (values.whole(), event.get(name.as_ref())) {
                let found = kind.comparable(actual).is_some_and(|form| whole.contains(&form));
                prop_assert_eq!(found, values.matches(actual), "{:?} of {:?}", values, actual);
            }
        }
    }
}

#[test]
fn the_comparison_sees_matches_and_misses_of_every_filter() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<(String, bool), u32> = BTreeMap::new();
    for _ in 0..2_000 {
        let filters = filters().new_tree(&mut runner).unwrap().current();
        let event = event().new_tree(&mut runner).unwrap().current();
        for (name, values) in &filters {
            let only = BTreeMap::from([(name.clone(), values.clone())]);
            let matched = naive::matches(&["*".to_owned()], &only, "a", &event);
            *seen.entry((name.clone(), matched)).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 8, "each of four filters both ways: {seen:?}");
    assert!(seen.values().all(|count| *count >= 20), "{seen:?}");
}
