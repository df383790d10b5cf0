use std::time::Duration;

use axum::http::HeaderValue;
use postrider_model::delivery_window::Expiry;
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use serde_json::json;

use postrider_http::problem::Problem;

use super::*;
use crate::event::IdSource;
use crate::event::content::Content;

const LEAST: [(&str, &str); 4] = [("specversion", "1.0"), ("id", "e1"), ("source", "/mail"), ("type", "email.sent")];

fn structured(more: serde_json::Value) -> Result<Event<'static>, Refused> {
    let mut event = json!({"data": {"n": 1}});
    for (name, value) in LEAST {
        event[name] = value.into();
    }
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    let body: &'static str = event.to_string().leak();
    Form::Structured.read(TenantId::OPERATOR, body.as_bytes())
}

fn http(more: &[(&'static str, &str)], body: &'static str) -> Result<Event<'static>, Refused> {
    let mut headers = HeaderMap::new();
    for (name, value) in LEAST.iter().chain(more) {
        let name = if *name == "content-type" { (*name).to_owned() } else { format!("ce-{name}") };
        let name: axum::http::HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    over_http(&headers)?.expect("a CloudEvent").read(TenantId::OPERATOR, body.as_bytes())
}

fn amqp(prefix: &str, more: &[(&str, &str)]) -> ProducerMessage {
    let headers = LEAST.iter().chain(more).map(|(name, value)| (format!("{prefix}{name}"), (*value).to_owned()));
    ProducerMessage { headers: headers.collect(), body: "{\"n\":1}".into(), ..ProducerMessage::default() }
}

#[track_caller]
fn refused(result: Result<Event<'_>, Refused>, pointer: &str) {
    let problem = Problem::from(result.expect_err(pointer));
    let pointers: Vec<&str> = problem.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert!(pointers.contains(&pointer), "{problem}: {pointers:?}, wanted {pointer}");
}

fn attribute<'a>(event: &'a Event<'_>, name: &str) -> Option<&'a str> {
    event.attributes.get(name)
}

#[test]
fn every_form_says_the_same_event() {
    let extensions = [
        ("time", "2026-01-02T03:04:05Z"),
        ("subject", "a b"),
        ("sendingdomain", "example.com"),
        ("dedicatedip", "192.0.2.1"),
        ("origin", "dashboard"),
        ("metadata", r#"{"campaign":7}"#),
        ("tenant", "ten_operator"),
        ("region", "eu"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let members: serde_json::Map<_, _> = extensions.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
    let encoded: Vec<_> = extensions.iter().map(|(n, v)| (*n, v.replace(' ', "%20").replace('"', "%22"))).collect();
    let encoded: Vec<_> = encoded.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let amqp = |prefix| {
        let message = amqp(prefix, &extensions);
        let form = over_amqp(&message).unwrap().unwrap();
        let body: &'static [u8] = message.body.to_vec().leak();
        form.read(TenantId::OPERATOR, body).unwrap()
    };
    let events = [
        structured(members.into()).unwrap(),
        http(&encoded, "{\"n\":1}").unwrap(),
        amqp("cloudEvents:"),
        amqp("cloudEvents_"),
    ];
    for event in &events {
        assert_eq!(event.id, events[0].id);
        assert_eq!(event.id_source, IdSource::Producer);
        assert_eq!(event.event_type.as_str(), "email.sent");
        assert_eq!(event.data.get(), r#"{"n":1}"#);
        assert_eq!(event.metadata.as_deref().unwrap().get(), r#"{"campaign":7}"#);
        assert_eq!(event.origin, Origin::Dashboard);
        let names: Vec<&str> = event.attributes.0.keys().map(AsRef::as_ref).collect();
        assert_eq!(names, ["dedicated_ip", "region", "sending_domain", "source", "subject"]);
        assert_eq!((attribute(event, "subject"), attribute(event, "source")), (Some("a b"), Some("/mail")));
        assert_eq!(Content::of(event).hash(), Content::of(&events[0]).hash());
    }
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    refused(structured(json!({"specversion": "0.3"})), "/specversion");
    refused(structured(json!({"source": null})), "/source");
    refused(structured(json!({"type": "a..b"})), "/type");
    refused(structured(json!({"time": "yesterday"})), "/time");
    refused(structured(json!({"origin": "desk"})), "/origin");
    refused(structured(json!({"metadata": {"a": 1}})), "/metadata");
    refused(structured(json!({"metadata": "[]"})), "/metadata");
    refused(structured(json!({"tenant": "ten_0123"})), "/tenant");
    refused(structured(json!({"some_thing": "x"})), "/some_thing");
    refused(structured(json!({"sendingdomain": ""})), "/sendingdomain");
    refused(structured(json!({"data_base64": "e30="})), "/data_base64");
    refused(http(&[("specversion", "1")], "{}"), "ce-specversion");
    refused(http(&[("time", "%zz")], "{}"), "ce-time");
    refused(http(&[("type", "a..b")], "{}"), "ce-type");
    refused(structured(json!({"deliverat": "soon"})), "/deliverat");
    refused(structured(json!({"expiresat": "never"})), "/expiresat");
    refused(structured(json!({"expirytime": "never"})), "/expirytime");
    refused(structured(json!({"ttlseconds": 0})), "/ttlseconds");
    refused(structured(json!({"ttlseconds": "soon"})), "/ttlseconds");
    let time = "2026-01-02T03:04:05Z";
    refused(structured(json!({"expiresat": time, "expirytime": time})), "/expirytime");
    refused(http(&[("expirytime", time), ("ttlseconds", "60")], "{}"), "ce-ttlseconds");
    assert!(matches!(http(&[("content-type", "text/plain")], "{}"), Err(Refused::UnsupportedFormat(_))));
    assert!(matches!(http(&[], "{"), Err(Refused::Malformed(_))));
    let message = amqp("cloudEvents:", &[("origin", "x")]);
    let form = over_amqp(&message).unwrap().unwrap();
    refused(form.read(TenantId::OPERATOR, &message.body), "cloudEvents:origin");
    let batch = ProducerMessage { content_type: Some(format!("{BATCH}; charset=utf-8")), ..ProducerMessage::default() };
    assert!(matches!(over_amqp(&batch), Err(Refused::UnsupportedFormat(_))));
}

#[test]
fn expiry_and_delay_are_extensions_and_no_attributes() {
    let time = "2026-01-02T03:04:05Z";
    let at = UnixMillis(1_767_323_045_000);
    let of = |event: Event<'_>| {
        assert_eq!(event.attributes.0.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["source"]);
        (event.window.deliver_at, event.window.expiry)
    };
    for name in ["expiresat", "expirytime"] {
        let event = structured(json!({name: time, "deliverat": time})).unwrap();
        assert_eq!(of(event), (Some(at), Some(Expiry::At(at))), "{name}");
    }
    let ttl = Some(Expiry::After(Duration::from_secs(60)));
    assert_eq!(of(structured(json!({"ttlseconds": 60})).unwrap()), (None, ttl), "an integer");
    assert_eq!(of(http(&[("ttlseconds", "60")], "{}").unwrap()), (None, ttl), "a header");
    let message = amqp("cloudEvents:", &[("ttlseconds", "60")]);
    let form = over_amqp(&message).unwrap().unwrap();
    assert_eq!(of(form.read(TenantId::OPERATOR, &message.body).unwrap()), (None, ttl));
}

#[test]
fn a_cloud_event_is_identified_by_its_source_and_its_id() {
    let of = |source: &str, id: &str| structured(json!({"source": source, "id": id})).unwrap().id;
    for id in ["42", "fits-1", "evt_7", "urn:uuid:1"] {
        let hashed = of("/a", id);
        assert!(hashed.as_str().starts_with("evt_") && hashed.as_str().len() == 36, "{hashed}");
        assert_eq!(hashed, of("/a", id));
        assert_ne!(hashed, of("/b", id));
        assert_ne!(hashed, of(&format!("/{}", "a".repeat(600)), id));
        assert_ne!(hashed, of("/a", "43"));
    }
    assert_ne!(of("/a4", "2"), of("/a", "42"));
    for uuid in [
        "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5061",
        "0190A5B2C3D47E8F9A0B1C2D3E4F5061",
        "evt_0190a5b2c3d47e8f9a0b1c2d3e4f5061",
    ] {
        assert_eq!(of("/a", uuid).as_str(), uuid);
    }
}

#[test]
fn a_source_is_content_however_long_it_is() {
    let of =
        |source: &str| structured(json!({"source": source, "id": "0190a5b2-c3d4-7e8f-9a0b-1c2d3e4f5061"})).unwrap();
    let (one, other) = (of(&format!("/1{}", "a".repeat(600))), of(&format!("/2{}", "a".repeat(600))));
    assert_eq!((&one.id, &one.attributes), (&other.id, &other.attributes));
    let recorded = Content::of(&one);
    assert!(!Content::of(&other).is(recorded.hash()));
    assert_eq!(Content::of(&other).differences(recorded.hash()), ["source"]);
}

#[test]
fn data_is_json_however_it_is_carried_and_may_be_absent() {
    let data = |event: Result<Event<'_>, Refused>| event.unwrap().data.get().to_owned();
    assert_eq!(data(structured(json!({"data": null}))), "null");
    assert_eq!(data(http(&[], "")), "null");
    assert_eq!(data(http(&[("content-type", "application/vnd.x+json; v=1")], " [1.00] ")), "[1.00]");
    let least: serde_json::Map<_, _> = LEAST.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect();
    let mut encoded = serde_json::Value::Object(least);
    encoded["data_base64"] = json!("eyJhIjoxLjUwfQ==");
    let body = encoded.to_string();
    assert_eq!(data(Form::Structured.read(TenantId::OPERATOR, body.as_bytes())), r#"{"a":1.50}"#);
    encoded["data_base64"] = json!("bm90IGpzb24=");
    let body = encoded.to_string();
    refused(Form::Structured.read(TenantId::OPERATOR, body.as_bytes()), "/data_base64");
}

#[test]
fn an_extension_that_cannot_be_an_attribute_is_left_out_and_no_error() {
    let long = "x".repeat(600);
    let event = structured(json!({"long": long, "empty": "", "2fa": true, "flag": true, "count": 7})).unwrap();
    let names: Vec<&str> = event.attributes.0.keys().map(AsRef::as_ref).collect();
    assert_eq!(names, ["count", "flag", "source"]);
    assert_eq!((attribute(&event, "flag"), attribute(&event, "count")), (Some("true"), Some("7")));
    let many: serde_json::Map<_, _> = (0..40).map(|n| (format!("x{n}"), json!("v"))).collect();
    assert_eq!(structured(many.into()).unwrap().attributes.0.len(), ATTRIBUTES_MAX);
}

#[test]
fn what_is_no_cloud_event_is_read_as_json() {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    assert_eq!(over_http(&headers).unwrap(), None);
    assert_eq!(over_amqp(&ProducerMessage::default()).unwrap(), None);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("Application/CloudEvents+JSON; charset=UTF-8"));
    assert_eq!(over_http(&headers).unwrap(), Some(Form::Structured));
}

#[test]
fn a_header_is_unquoted_and_then_percent_decoded() {
    let check = |written: &str, expected: Option<&str>| {
        assert_eq!(percent_decoded(written.as_bytes()).as_deref(), expected, "{written}");
    };
    check("%C3%A9%20b", Some("é b"));
    check("é", Some("é"));
    check("\"a%22\"", Some("a\""));
    check(r#""a\"b""#, Some("a\"b"));
    check(r#""a\\""#, Some("a\\"));
    check(r#""\%41""#, Some("A"));
    check(r#""""#, Some(""));
    for no_quoted_string in [r#"""#, r#""a"#, r#"a""#, r#""a\""#, r#""a"b""#, r#"a\"b"#] {
        check(no_quoted_string, Some(no_quoted_string));
    }
    for lone in ["100%", "50% off", "%zz", "%+f", "%-1", "%", "%1", "% 1"] {
        check(lone, Some(lone));
    }
    check("%%41", Some("%A"));
    check("%C3%28", None);
    check("%ff", None);
}
