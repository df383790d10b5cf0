//! Compares the built-in profiles with the products' documentation.

use std::time::Duration;

use postrider_model::attempt::StatusVerdict;
use postrider_model::delivery::BodyKind;
use postrider_model::endpoint::UrlRule;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::subscription::MatchKind;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, HeaderContext, Profile, Profiles};
use serde_json::value::RawValue;

struct Sample {
    id: EventId,
    event_type: EventType,
    attributes: Attributes,
    metadata: Option<Box<RawValue>>,
    data: String,
}

impl Sample {
    fn new(event_type: &str, metadata: Option<&str>, data: &str) -> Self {
        Self {
            id: "evt_1".parse().unwrap(),
            event_type: event_type.parse().unwrap(),
            attributes: Attributes::default(),
            metadata: metadata.map(|text| RawValue::from_string(text.into()).unwrap()),
            data: data.into(),
        }
    }

    fn view(&self) -> EventView<'_> {
        EventView {
            id: &self.id,
            event_type: &self.event_type,
            occurred_at: UnixMillis(1_703_123_756_789),
            accepted_at: UnixMillis(1_703_123_756_999),
            attributes: &self.attributes,
            metadata: self.metadata.as_deref(),
            data: self.data.as_bytes(),
        }
    }

    fn rendered(&self, profile: &Profile) -> String {
        String::from_utf8(profile.render(&self.view(), BodyKind::Json)).unwrap()
    }
}

const IDS: &str = r#"{"organization_id":"org_123abc","project_id":"proj_456def","lead_id":"lead_789ghi","other":1}"#;

fn profile(name: &str) -> std::sync::Arc<Profile> {
    Profiles::builtin().get(name).unwrap().clone()
}

#[test]
fn magnetite_renders_the_envelope_of_its_documentation() {
    let event = Sample::new("lead.completed", Some(IDS), r#"{"lead_id":"lead_789ghi","status":"completed"}"#);
    assert_eq!(
        event.rendered(&profile("magnetite")),
        concat!(
            r#"{"event":"lead.completed","timestamp":1703123756789,"organization_id":"org_123abc","#,
            r#""project_id":"proj_456def","lead_id":"lead_789ghi","#,
            r#""data":{"lead_id":"lead_789ghi","status":"completed"}}"#
        )
    );
}

#[test]
fn standard_renders_type_timestamp_and_data_with_the_producers_bytes() {
    let data = r#"{ "z":1.0, "a":12345678901234567890, "e":1E2, "z":"\u00e9é" }"#;
    let event = Sample::new("user.created", None, data);
    let expected = format!(r#"{{"type":"user.created","timestamp":"2023-12-21T01:55:56.789Z","data":{data}}}"#);
    assert_eq!(event.rendered(&profile("standard")), expected);
}

#[test]
fn magnetite_requires_its_three_ids_as_strings() {
    let magnetite = profile("magnetite");
    let pointers = |metadata: Option<&str>| -> Vec<String> {
        let event = Sample::new("lead.created", metadata, "{}");
        let errors = magnetite.check_event(&event.view()).err().unwrap_or_default();
        errors.into_iter().map(|error| error.pointer).collect()
    };
    assert_eq!(pointers(Some(IDS)), Vec::<String>::new());
    let all = ["/metadata/organization_id", "/metadata/project_id", "/metadata/lead_id"];
    assert_eq!(pointers(None), all);
    assert_eq!(pointers(Some("{}")), all);
    assert_eq!(pointers(Some(r#"{"organization_id":7,"project_id":null,"lead_id":"l"}"#)), all[..2]);
    // The standard profile requires no fields.
    assert!(profile("standard").check_event(&Sample::new("a", None, "[1]").view()).is_ok());
}

#[test]
fn magnetites_headers_carry_type_and_the_events_milliseconds() {
    let magnetite = profile("magnetite");
    let (id, event_type) = ("evt_1".parse().unwrap(), "lead.failed".parse().unwrap());
    let context = HeaderContext { id: &id, event_type: Some(&event_type), occurred_at: UnixMillis(1_703_123_456_789) };
    let headers: Vec<_> = magnetite.headers(&context).collect();
    assert_eq!(
        headers,
        [("X-Magnetite-Event", "lead.failed".to_owned()), ("X-Magnetite-Timestamp", "1703123456789".to_owned())]
    );
    assert_eq!(magnetite.user_agent.as_deref(), Some("Magnetite-Webhooks/1.0"));
}

#[test]
fn each_product_has_its_own_envelope() {
    let check = |name: &str, event: Sample, expected: &str| {
        assert_eq!(event.rendered(&profile(name)), expected, "{name}");
    };
    check(
        "migma",
        Sample::new("export.failed", Some(r#"{ "projectId" : "p" }"#), r#"{ "b": 1.0, "a": "\u00e9" }"#),
        concat!(
            r#"{"id":"evt_1","type":"export.failed","timestamp":"2023-12-21T01:55:56.789Z","#,
            r#""data":{"b":1,"a":"é"},"metadata":{"projectId":"p"}}"#
        ),
    );
    check(
        "migomail",
        Sample::new("email.sent", None, r#"{"n":1.0}"#),
        r#"{"event":"email.sent","timestamp":"2023-12-21T01:55:56Z","id":"evt_1","data":{"n":1.0}}"#,
    );
    check(
        "metigan",
        Sample::new("email.sent", None, "{}"),
        r#"{"event":"email.sent","timestamp":"2023-12-21T01:55:56.789Z","messageId":"evt_1","data":{}}"#,
    );
    check(
        "metigan",
        Sample::new("email.sent", Some(r#"{"messageId":"m-1"}"#), "{}"),
        r#"{"event":"email.sent","timestamp":"2023-12-21T01:55:56.789Z","messageId":"m-1","data":{}}"#,
    );
    check(
        "mumara",
        Sample::new("Complaints", None, r#"{"message_id":"m","email":"e"}"#),
        r#"{"event":"complaint","timestamp":"2023-12-21T01:55:56Z","message_id":"m","email":"e"}"#,
    );
}

#[test]
fn only_products_with_stable_bodies_cause_warnings() {
    let doubtful = r#"{"id":9007199254740993,"share":0.00001}"#;
    let warnings = |name: &str| profile(name).warnings(&Sample::new("a", Some(doubtful), doubtful).view());
    let pointers = |name: &str| -> Vec<String> {
        warnings(name).iter().filter_map(|text| Some(text.split_once(": ")?.0.to_owned())).collect()
    };
    assert_eq!(pointers("migma"), ["/data/id", "/data/share", "/metadata/id", "/metadata/share"]);
    assert_eq!(warnings("migomail"), Vec::<String>::new());
}

/// The retries, timeout and rate that a product documents.
struct Promise {
    profile: &'static str,
    schedule: &'static [u32],
    jitter: f64,
    timeout_seconds: u64,
    retry_after_seconds: u64,
    disable_after_days: Option<u32>,
    rate: Option<f64>,
    url: UrlRule,
}

const PLATFORM: &[u32] = &[10, 60, 300, 1_800, 7_200, 18_000, 36_000];

#[test]
fn schedules_timeouts_and_rates_are_the_documented_ones() {
    let promise = |profile, schedule, jitter, timeout_seconds| Promise {
        profile,
        schedule,
        jitter,
        timeout_seconds,
        retry_after_seconds: 86_400,
        disable_after_days: None,
        rate: None,
        url: UrlRule::HttpsOnly,
    };
    let standard = &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    let promises = [
        Promise { rate: Some(100.0), ..promise("migma", &[60, 300, 900], 0.0, 10) },
        promise("migomail", &[60, 300, 1_800], 0.0, 10),
        promise("metigan", PLATFORM, 0.1, 30),
        Promise { retry_after_seconds: 30, ..promise("magnetite", &[1, 2, 4], 0.0, 30) },
        Promise { url: UrlRule::HttpAllowed, ..promise("mumara", PLATFORM, 0.1, 30) },
        Promise { disable_after_days: Some(5), ..promise("standard", standard, 0.0, 15) },
    ];
    assert_eq!(promises.len(), Profiles::builtin().iter().count());
    for promise in promises {
        let profile = profile(promise.profile);
        let name = &profile.name;
        assert_eq!(profile.retry_schedule.seconds(), promise.schedule, "{name}");
        assert_eq!(profile.jitter_max, promise.jitter, "{name}");
        assert_eq!(profile.timeout, Duration::from_secs(promise.timeout_seconds), "{name}");
        assert_eq!(profile.retry_after_max, Duration::from_secs(promise.retry_after_seconds), "{name}");
        assert_eq!(profile.disable_after_days, promise.disable_after_days, "{name}");
        assert_eq!((profile.rate_per_second, profile.url_rule), (promise.rate, promise.url), "{name}");
        let kinds: Vec<_> = profile.attributes.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        use MatchKind::{Domain, Exact, Ip};
        let common = [("bridge", Exact), ("dedicated_ip", Ip), ("sending_domain", Domain), ("sending_node", Exact)];
        assert_eq!(kinds, common, "{name}");
        assert!(profile.standard_headers, "{name}");
        assert_eq!(profile.only_standard_signature(), name == "standard", "{name}");
    }
}

#[test]
fn only_migomail_promises_the_time_of_the_first_attempt() {
    for profile in Profiles::builtin().iter() {
        let promised = profile.name == "migomail";
        let (within_5s, within_30s) = (profile.promise.within_5s, profile.promise.within_30s);
        assert_eq!(
            (within_5s, within_30s, profile.promise.is_made()),
            (promised, promised, promised),
            "{}",
            profile.name
        );
    }
}

#[test]
fn status_codes_mean_what_each_product_says() {
    use StatusVerdict::{Disable, Fail, Retry, Success};
    for profile in Profiles::builtin().iter() {
        let client_error = if profile.name == "migma" { Fail } else { Retry };
        let gone = if profile.name == "standard" { Disable } else { client_error };
        for (code, verdict) in [
            (200, Success),
            (299, Success),
            (302, Retry),
            (400, client_error),
            (404, client_error),
            (408, Retry),
            (410, gone),
            (429, Retry),
            (499, client_error),
            (500, Retry),
            (599, Retry),
        ] {
            assert_eq!(profile.statuses.verdict(code), verdict, "{} {code}", profile.name);
        }
    }
}

#[test]
fn only_the_catalogs_of_metigan_and_standard_are_open() {
    let odd = "not.in.any.catalog".parse().unwrap();
    let open: Vec<_> = Profiles::builtin().iter().filter(|p| p.knows(&odd)).map(|p| p.name.clone()).collect();
    assert_eq!(open, ["metigan", "standard"]);
    let sizes: Vec<_> = Profiles::builtin().iter().map(|p| (p.name.clone(), p.catalog.len())).collect();
    let documented =
        [("magnetite", 8), ("metigan", 5), ("migma", 15), ("migomail", 12), ("mumara", 10), ("standard", 0)];
    assert_eq!(sizes, documented.map(|(name, size)| (name.to_owned(), size)));
}

#[test]
fn migmas_events_fire_from_the_api_and_its_keys_from_the_dashboard_too() {
    let migma = profile("migma");
    for info in &migma.catalog {
        assert!(migma.origin_fires(&info.name, Origin::Api), "{}", info.name);
        let of_keys = info.name.as_str().starts_with("api_key.");
        assert_eq!(migma.origin_fires(&info.name, Origin::Dashboard), of_keys, "{}", info.name);
    }
    assert!(profile("magnetite").origin_fires(&"lead.created".parse().unwrap(), Origin::Dashboard));
}

#[test]
fn every_sample_of_every_profile_passes_its_own_check_and_renders_as_json() {
    for profile in Profiles::builtin().iter() {
        let types = profile.catalog.iter().map(|info| Some(&info.name)).chain([None]);
        for event_type in types {
            let test = profile.test_event(event_type).unwrap();
            if let Some(wanted) = event_type {
                assert_eq!(test.event_type, *wanted);
            }
            let event =
                Sample { metadata: test.metadata, ..Sample::new(test.event_type.as_str(), None, test.data.get()) };
            assert_eq!(profile.check_event(&event.view()), Ok(()), "{} {event_type:?}", profile.name);
            assert!(serde_json::from_str::<&RawValue>(&event.rendered(profile)).is_ok());
        }
    }
}

#[test]
fn a_test_event_takes_the_chosen_type_where_the_product_has_it() {
    let of = |name: &str, event_type: &str| profile(name).test_event(Some(&event_type.parse().unwrap()));
    assert_eq!(of("standard", "anything.at.all").unwrap().event_type.as_str(), "anything.at.all");
    assert!(of("magnetite", "anything.at.all").is_none());
    assert_eq!(profile("magnetite").test_event(None).unwrap().event_type.as_str(), "lead.created");
}

#[test]
fn every_type_of_mumara_has_a_readable_pushover_message() {
    let mumara = profile("mumara");
    let mut titles = Vec::new();
    for info in &mumara.catalog {
        let event = Sample::new(info.name.as_str(), None, info.sample.get());
        let message = mumara.pushover(&event.view());
        assert!(message.title.ends_with(": recipient@example.com"), "{message:?}");
        assert!(message.message.contains("recipient@example.com") && !message.message.contains('{'), "{message:?}");
        titles.push(message.title);
    }
    titles.dedup();
    assert_eq!(titles.len(), 10, "all titles differ");
    let bare = Sample::new("Newsletter Clicked", None, r#"{"email":"e","message_id":"m"}"#);
    assert_eq!(mumara.pushover(&bare.view()).message, "Message m", "a line without its value is left out");
}

#[test]
fn a_type_without_templates_shows_its_name() {
    let message = profile("standard").pushover(&Sample::new("a.b", None, "{}").view());
    assert_eq!((message.title.as_str(), message.message.as_str(), message.timestamp), ("a.b", "a.b", 1_703_123_756));
}

#[test]
fn every_type_has_a_readable_notification_built_from_well_known_members() {
    let standard = profile("standard");
    let data = r#"{"zebra":1,"amount":5.50,"email":"a@example.com","reason":{"deep":1},"active":true}"#;
    let event = Sample::new("email.bounced", None, data);
    let made = standard.notification(&event.view());
    let facts: Vec<_> = made.facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())).collect();
    assert_eq!((made.title.as_str(), made.text.as_str()), ("email.bounced", ""));
    assert_eq!(facts[..2], [("Email", "a@example.com"), ("Amount", "5.50")]);
    let event = Sample::new("a.b", None, r#"{"zebra":1,"list_of":[1],"yak_age":"two"}"#);
    let made = standard.notification(&event.view());
    let facts: Vec<_> = made.facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())).collect();
    assert_eq!(facts[..2], [("Zebra", "1"), ("Yak age", "two")]);
    for data in ["7", "nonsense", "[]"] {
        assert_eq!(standard.notification(&Sample::new("a.b", None, data).view()).title, "a.b", "{data}");
    }

    // A type with a message for Pushover has the same in chats.
    let mumara = profile("mumara");
    let event = Sample::new("Bounced", None, r#"{"email":"a@example.com","message_id":"m"}"#);
    let made = mumara.notification(&event.view());
    assert_eq!((made.title.as_str(), made.facts.len()), ("Bounced: a@example.com", 0));
    assert!(made.text.starts_with("The email to a@example.com bounced\n"), "{made:?}");
}
