//! Measures the time to find the endpoints that match an event.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use postrider_fanout::bench_matcher::Matcher;
use postrider_model::delivery::BodyKind;
use postrider_model::event::Attributes;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::payload_filter::Payload;
use postrider_profiles::Profiles;
use postrider_store::feed::{Changes, EndpointSubscription, FeedTenant};
use serde_json::{Map, Value, json};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let all_alike = |count| (0..count).map(|_| ("email.sent".to_owned(), None)).collect();
    let of_their_types = |count| (0..count).map(|n| (format!("email.t{}", n % 20), None)).collect();
    let below_a_dot = |count| (0..count).map(|n| (format!("t{}.*", n % 20), None)).collect();
    let domain = |n: u32| Some(format!("d{n}.example.com"));
    let of_their_domains = |count| (0..count).map(|n| ("email.sent".to_owned(), domain(n))).collect();
    let wildcards =
        |count| (0..count).map(|n| ("email.sent".to_owned(), domain(n).map(|d| format!("*.{d}")))).collect();
    for (name, wanted, event_type) in [
        ("10 endpoints, all match", all_alike(10), "email.sent"),
        ("100 endpoints of 20 types, 5 match", of_their_types(100), "email.t7"),
        ("100 endpoints of 20 prefixes, 5 match", below_a_dot(100), "t7.sent"),
        ("1,000 endpoints with a wildcard, none matches", wildcards(1_000), "email.sent"),
        ("100 endpoints with a domain, 1 matches", of_their_domains(100), "email.sent"),
        ("100,000 endpoints with a domain, 1 matches", of_their_domains(100_000), "email.sent"),
    ] {
        find(&mut criterion, name, wanted, event_type);
    }
    let values = |count: usize| (0..count).map(|n| json!(format!("text-{n:09}"))).collect::<Vec<_>>();
    let one_field = json!({"f0": values(1_000)});
    let many_fields: Map<String, Value> = (0..14).map(|n| (format!("f{n}"), json!(values(1_000)))).collect();
    worst(&mut criterion, "1,000 values of one field", &one_field, |_| 0);
    worst(&mut criterion, "14,000 values of 14 fields", &many_fields.into(), |test| test % 14);
    criterion.final_summary();
}

/// Measures an event of a tenant with 100 endpoints. Each endpoint has a payload filter of the maximum size: 5 lists of 200
/// values and 45 other tests, none of which passes. `field` returns the number of the field that a test reads.
fn worst(criterion: &mut Criterion, name: &str, data: &Value, field: impl Fn(usize) -> usize) {
    let tenant = TenantId::generate();
    let test = |test: usize, op: &str, value: Value| json!({"field": format!("data.f{}", field(test)), "op": op, "value": value});
    let list = |n: usize| (0..200).map(|value| format!("{n}-{value:0>40}")).collect::<Vec<_>>();
    let lists = (0..5).map(|n| test(n, "in", json!(list(n))));
    let ends = (5..50).map(|n| test(n, "suffix", json!(format!("-{n}"))));
    let filter = json!({"any": lists.chain(ends).collect::<Vec<_>>()});
    let matcher = matcher_of(tenant, (0..100).map(|_| ("email.sent".to_owned(), None, Some(filter.clone()))).collect());
    let (data, event_type) = (data.to_string(), "email.sent".parse().unwrap());
    let attributes = Attributes::default();
    let payload = Payload { data: data.as_bytes(), metadata: None, attributes: &attributes };
    let title = format!("filters/100 of {} bytes, {name} in {} bytes", filter.to_string().len(), data.len());
    criterion.bench_function(&title, |bencher| {
        bencher.iter(|| matcher.matching(black_box(tenant), black_box(&event_type), black_box(&payload)));
    });
}

/// Measures an event of a tenant. `wanted` contains the event type of each endpoint and, if given, its sending domain.
fn find(criterion: &mut Criterion, name: &str, wanted: Vec<(String, Option<String>)>, event_type: &str) {
    let tenant = TenantId::generate();
    let matcher = matcher(tenant, wanted);
    let event_type = event_type.parse().unwrap();
    let attributes = Attributes([("sending_domain".into(), "d42.example.com".into())].into());
    let payload = Payload { data: b"{}", metadata: None, attributes: &attributes };
    criterion.bench_function(&format!("matching/{name}"), |bencher| {
        bencher.iter(|| matcher.matching(black_box(tenant), black_box(&event_type), black_box(&payload)));
    });
}

fn matcher(tenant: TenantId, wanted: Vec<(String, Option<String>)>) -> Matcher {
    matcher_of(tenant, wanted.into_iter().map(|(event_type, domain)| (event_type, domain, None)).collect())
}

fn matcher_of(tenant: TenantId, wanted: Vec<(String, Option<String>, Option<Value>)>) -> Matcher {
    let tenants = vec![FeedTenant {
        id: tenant,
        profile: "standard".into(),
        external_id: None,
        limits: Default::default(),
        enforce_catalog: false,
        enforce_schemas: false,
        disable_after_days: None,
        ordered: false,
        version: 1,
    }];
    let subscription =
        |(event_type, domain, payload_filter): (String, Option<String>, Option<Value>)| EndpointSubscription {
            endpoint: EndpointId::generate(),
            tenant,
            event_types: [event_type].into(),
            filters: domain.map(|domain| ("sending_domain".to_owned(), [domain].into())).into_iter().collect(),
            payload_filter,
            body_kind: BodyKind::Json,
            paused: false,
            ordering: None,
            version: 1,
        };
    let subscriptions = wanted.into_iter().map(subscription).collect();
    let mut matcher = Matcher::new(Arc::new(Profiles::builtin()));
    matcher.apply(Changes { version: 1, snapshot: true, tenants, subscriptions, ..Changes::default() });
    matcher
}
