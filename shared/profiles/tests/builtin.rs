//! The built-in profiles say what the products' documentation says.

use std::time::Duration;

use postrider_model::attempt::StatusVerdict;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::subscription::MatchKind;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, HeaderContext, Profile, Profiles, UrlRule};
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
        String::from_utf8(profile.render(&self.view(), false)).unwrap()
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
    // What a standard event lacks is nobody's business.
    assert!(profile("standard").check_event(&Sample::new("a", None, "[1]").view()).is_ok());
}

#[test]
fn magnetites_headers_carry_type_and_the_events_milliseconds() {
    let magnetite = profile("magnetite");
    let (id, event_type) = ("evt_1".parse().unwrap(), "lead.failed".parse().unwrap());
    let context = HeaderContext { id: &id, event_type: &event_type, occurred_at: UnixMillis(1_703_123_456_789) };
    let headers: Vec<_> = magnetite.headers(&context).collect();
    assert_eq!(
        headers,
        [("X-Magnetite-Event", "lead.failed".to_owned()), ("X-Magnetite-Timestamp", "1703123456789".to_owned())]
    );
    assert_eq!(magnetite.user_agent.as_deref(), Some("Magnetite-Webhooks/1.0"));
    assert!(magnetite.standard_headers && !magnetite.only_standard_signature());
}

#[test]
fn schedules_timeouts_and_statuses_are_the_documented_ones() {
    let (standard, magnetite) = (profile("standard"), profile("magnetite"));
    assert_eq!(magnetite.retry_schedule.seconds(), [1, 2, 4]);
    assert_eq!((magnetite.timeout, magnetite.retry_after_max), (Duration::from_secs(30), Duration::from_secs(30)));
    assert_eq!((magnetite.jitter_max, magnetite.disable_after_days), (0.0, None));
    assert_eq!(magnetite.statuses.verdict(404), StatusVerdict::Retry);
    assert_eq!(standard.retry_schedule.seconds(), [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]);
    assert_eq!((standard.timeout, standard.retry_after_max), (Duration::from_secs(15), Duration::from_secs(86_400)));
    assert_eq!((standard.jitter_max, standard.disable_after_days), (0.0, Some(5)));
    for (code, verdict) in [
        (200, StatusVerdict::Success),
        (299, StatusVerdict::Success),
        (302, StatusVerdict::Retry),
        (410, StatusVerdict::Disable),
        (500, StatusVerdict::Retry),
    ] {
        assert_eq!(standard.statuses.verdict(code), verdict, "{code}");
    }
    assert!(standard.only_standard_signature());
    for profile in [&standard, &magnetite] {
        assert_eq!(profile.url_rule, UrlRule::HttpsOnly);
        let kinds: Vec<_> = profile.attributes.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        use MatchKind::{Domain, Exact, Ip};
        let common = [("bridge", Exact), ("dedicated_ip", Ip), ("sending_domain", Domain), ("sending_node", Exact)];
        assert_eq!(kinds, common);
    }
}

#[test]
fn the_catalog_of_magnetite_is_the_documented_one_and_closed() {
    let magnetite = profile("magnetite");
    let names: Vec<_> = magnetite.catalog.iter().map(|info| info.name.as_str()).collect();
    let documented = [
        "lead.created",
        "research.started",
        "research.completed",
        "research.failed",
        "magnet.generated",
        "lead.completed",
        "lead.failed",
        "magnet.viewed",
    ];
    assert_eq!(names, documented);
    assert!(!magnetite.knows(&"lead.deleted".parse().unwrap()));
    assert!(profile("standard").knows(&"lead.deleted".parse().unwrap()));
    assert!(magnetite.origin_fires(&"lead.created".parse().unwrap(), Origin::Dashboard));
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
