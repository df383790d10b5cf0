//! Tests hostile profiles, mappings, log records and JSON: they are refused with a bounded message, or rendered as valid JSON.

use std::path::Path;

use postrider_model::delivery::BodyKind;
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::EventId;
use postrider_model::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Mappings, Profile, ProfileError, Profiles};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

/// Maximum number of bytes of a mistake's description, without file and field.
const WORDS_MAX: usize = 2_000;

/// Reads the files of a folder of this crate.
fn files(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("the built-in files").flatten();
    files.map(|file| std::fs::read_to_string(file.path()).expect("a file")).collect()
}

/// Creates a folder with one file that contains `text`.
fn folder(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("hostile.toml"), text).expect("written");
    folder
}

/// Checks that a mistake has a line of the text and a bounded description.
fn named(error: &ProfileError, text: &str) -> Result<(), TestCaseError> {
    let ProfileError::Invalid { line, detail, .. } = error else { panic!("{error}") };
    prop_assert!((1..=text.lines().count() + 1).contains(line), "line {} of {}", line, text.lines().count());
    prop_assert!(detail.len() <= WORDS_MAX + text.len(), "{}", detail.len());
    Ok(())
}

/// Renders an event's body with a profile.
fn body(profile: &Profile, metadata: Option<&RawValue>, data: &str, kind: BodyKind) -> Vec<u8> {
    let (id, event_type): (EventId, EventType) =
        ("evt_1".parse().expect("an id"), "lead.created".parse().expect("a type"));
    let attributes = Attributes::default();
    let view = EventView {
        id: &id,
        event_type: &event_type,
        occurred_at: UnixMillis(1_703_123_456_789),
        accepted_at: UnixMillis(1_703_123_456_789),
        attributes: &attributes,
        metadata,
        data: data.as_bytes(),
    };
    profile.warnings(&view);
    profile.pushover(&view);
    profile.render(&view, kind)
}

const DATA: [&str; 4] = [
    r#"{"a":1.50,"10":[true,null,"Zo\u00eb \ud83d\ude00"],"__proto__":{},"a":2,"e":1E400}"#,
    r#"{"email":"user@example.com","lead_id":"l","n":-0.0}"#,
    r#"[[],{},"\u0000"]"#,
    "null",
];

const RECORD: &str = r#"{"type":"Delivery","id":"1d98","sender":"b@mail.example.com","recipient":["a@example.com","b@example.com"],
    "response":{"code":250,"enhanced_code":{"class":2,"subject":0,"detail":0},"content":"OK"},"timestamp":1678069691.5,
    "source_address":{"address":"198.51.100.1:53210"},"feedback_report":null,"meta":{"campaign_id":123},
    "headers":{"Message-ID":"<abc@example.com>"},"bounce_classification":"Uncategorized","nodeid":"557f"}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_profile_file_is_accepted_or_its_mistake_has_a_line(text in postrider_fuzz::text(files("profiles"))) {
        match Profiles::load(Some(folder(&text).path())) {
            Ok(profiles) => {
                let profile = profiles.get("hostile").expect("it is in the folder");
                let again = Profiles::load(Some(folder(&text).path())).expect("the same text");
                prop_assert_eq!(format!("{profile:?}"), format!("{:?}", again.get("hostile").expect("again")));
                // Every accepted profile renders valid JSON.
                let body = body(profile, None, DATA[1], BodyKind::Json);
                prop_assert!(serde_json::from_slice::<Value>(&body).is_ok(), "{}", String::from_utf8_lossy(&body));
            }
            Err(error) => named(&error, &text)?,
        }
    }

    #[test]
    fn a_mapping_file_is_accepted_or_its_mistake_has_a_line(text in postrider_fuzz::text(files("mappings"))) {
        match Mappings::load(Some(folder(&text).path())) {
            Ok(mappings) => {
                let mapping = mappings.get("hostile").expect("it is in the folder");
                for event in mapping.events(RECORD.as_bytes()).expect("a record") {
                    prop_assert!(serde_json::from_str::<Value>(event.data.get()).is_ok());
                }
            }
            Err(error) => named(&error, &text)?,
        }
    }

    #[test]
    fn a_log_record_becomes_events_of_bounded_size_or_none(record in postrider_fuzz::bytes([RECORD])) {
        for (_, mapping) in Mappings::load(None).expect("the built-in ones").iter() {
            match mapping.events(&record) {
                Ok(events) => {
                    prop_assert!(events.len() <= BATCH_EVENTS_MAX);
                    let bytes: usize = events.iter().map(|event| event.record.len()).sum();
                    prop_assert!(bytes <= BATCH_BYTES_MAX);
                    for event in events {
                        let again = mapping.events(event.record.as_bytes()).expect("the canonical form is a record");
                        prop_assert!(again.iter().any(|again| again.record == event.record));
                        let is_object = event.metadata.is_none_or(|metadata| metadata.get().starts_with('{'));
                        prop_assert!(is_object);
                    }
                }
                Err(error) => prop_assert!(error.to_string().len() <= WORDS_MAX + record.len()),
            }
        }
    }

    #[test]
    fn every_profile_renders_valid_json_from_any_json(
        data in postrider_fuzz::text(DATA),
        metadata in postrider_fuzz::text(DATA),
        kind in prop::sample::select(vec![BodyKind::Json, BodyKind::AsciiJson]),
    ) {
        // Ingest accepts only valid JSON within the maximum depth.
        let is_json = |text: &&String| serde_json::from_str::<&RawValue>(text).is_ok() && postrider_model::json::depth(text) <= 64;
        if !is_json(&&data) {
            return Ok(());
        }
        let metadata = Some(metadata).filter(|text| is_json(&text) && text.starts_with('{'));
        let metadata = metadata.map(|text| RawValue::from_string(text).expect("JSON"));
        for profile in Profiles::builtin().iter() {
            let body = body(profile, metadata.as_deref(), &data, kind);
            let text = std::str::from_utf8(&body).expect("text");
            prop_assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{}: {}", profile.name, text);
            prop_assert!(kind != BodyKind::AsciiJson || text.is_ascii());
            let given = data.len() + metadata.as_deref().map_or(0, |metadata| metadata.get().len());
            prop_assert!(body.len() <= 4_096 + 12 * given, "{}: {} of {}", profile.name, body.len(), given);
        }
    }
}

#[test]
fn a_record_with_too_many_recipients_is_refused_at_once() {
    let recipients = vec!["\"\""; 80_000].join(",");
    let record = RECORD.replace(r#""a@example.com","b@example.com""#, &recipients);
    let mappings = Mappings::load(None).expect("the built-in ones");
    let refused = mappings.get("mumara").expect("a mapping").events(record.as_bytes()).expect_err("too many");
    assert!(refused.to_string().contains("80000 recipients"), "{refused}");
}
