//! Tests profile files of a directory: their settings, and how mistakes are reported.

use std::time::Duration;

use postrider_model::brand::Logo;
use postrider_model::delivery::BodyKind;
use postrider_model::endpoint::UrlRule;
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::EventId;
use postrider_model::limits::BRAND_LOGO_BYTES_MAX;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile, ProfileError, Profiles, SchemeKind};
use serde_json::value::RawValue;

fn load(files: &[(&str, &str)]) -> Result<Profiles, ProfileError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    Profiles::load(Some(dir.path()))
}

/// The smallest valid profile.
const LEAST: &str = r#"description = "d"
[delivery]
url = "https_only"
timeout_seconds = 10
[[envelope]]
name = "data"
from = "data"
[catalog]
open = true
sample = { type = "a", data = "{}" }
"#;

fn render(profile: &Profile, event_type: &str, attributes: &[(&str, &str)], metadata: &str, data: &str) -> String {
    let (id, event_type): (EventId, EventType) = ("evt_9".parse().unwrap(), event_type.parse().unwrap());
    let attributes = Attributes(attributes.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
    let metadata = Some(metadata).filter(|text| !text.is_empty());
    let metadata = metadata.map(|text| RawValue::from_string(text.into()).unwrap());
    let view = EventView {
        id: &id,
        event_type: &event_type,
        occurred_at: UnixMillis(1_705_314_600_000),
        accepted_at: UnixMillis(1_705_314_600_500),
        attributes: &attributes,
        metadata: metadata.as_deref(),
        data: data.as_bytes(),
    };
    String::from_utf8(profile.render(&view, BodyKind::Json)).unwrap()
}

#[test]
fn a_directory_adds_profiles_and_replaces_built_in_ones() {
    let profiles = load(&[("acme.toml", LEAST), ("magnetite.toml", LEAST), ("notes.txt", "not read")]).unwrap();
    let all = ["acme", "magnetite", "metigan", "migma", "migomail", "mumara", "standard"];
    assert_eq!(profiles.names().collect::<Vec<_>>(), all);
    assert_eq!(profiles.get("magnetite").unwrap().description, "d");
}

#[test]
fn omitted_settings_have_the_platforms_defaults() {
    let acme = load(&[("acme.toml", LEAST)]).unwrap().get("acme").unwrap().clone();
    assert_eq!(acme.retry_schedule.seconds(), [10, 60, 300, 1800, 7200, 18000, 36000]);
    assert_eq!(acme.jitter_max, 0.1);
    assert_eq!(acme.retry_after_max, Duration::from_secs(86_400));
    assert!(acme.standard_headers && acme.traceparent && acme.signature.is_none());
    assert_eq!((acme.rate_per_second, acme.disable_after_days), (None, None));
}

/// A profile with flattened `data` and wire names, like Mumara's.
const FLAT: &str = r#"description = "flat"
[delivery]
url = "http_allowed"
channels = ["web", "pushover"]
timeout_seconds = 30
[[envelope]]
name = "event"
from = "wire_type"
[[envelope]]
name = "timestamp"
from = "timestamp"
format = "iso_s"
[[envelope]]
flatten = "data"
required = { email = "string", message_id = "string" }
[[envelope]]
name = "sending_domain"
from = "attributes.sending_domain"
[signature]
header = "X-Webhook-Token"
scheme = "token"
[catalog]
[[catalog.types]]
name = "Newsletter Opened"
wire_name = "opened"
description = "Recipient opened a newsletter email"
sample = '{"email":"recipient@example.com","message_id":"abc123xyz"}'
"#;

#[test]
fn a_flat_envelope_inlines_data_and_keeps_the_first_of_equal_names() {
    let flat = load(&[("flat.toml", FLAT)]).unwrap().get("flat").unwrap().clone();
    let domain = [("sending_domain", "mail.example.com")];
    assert_eq!(
        render(&flat, "Newsletter Opened", &domain, "", r#"{ "email" : "a@b.c", "n": 1.50, "event": "no" }"#),
        concat!(
            r#"{"event":"opened","timestamp":"2024-01-15T10:30:00Z","#,
            r#""email":"a@b.c","n":1.50,"sending_domain":"mail.example.com"}"#
        )
    );
    assert_eq!(
        render(&flat, "Newsletter Opened", &domain, "", r#"{"sending_domain":"own"}"#),
        r#"{"event":"opened","timestamp":"2024-01-15T10:30:00Z","sending_domain":"own"}"#
    );
    assert_eq!(flat.signature.as_ref().unwrap().kind, SchemeKind::Token);
    assert_eq!((flat.url_rule, flat.channels.len()), (UrlRule::HttpAllowed, 2));
}

#[test]
fn a_flat_envelope_names_the_members_that_data_lacks() {
    let flat = load(&[("flat.toml", FLAT)]).unwrap().get("flat").unwrap().clone();
    let (id, event_type): (EventId, EventType) = ("e".parse().unwrap(), "Newsletter Opened".parse().unwrap());
    let attributes = Attributes::default();
    let pointers = |data: &str| -> Vec<String> {
        let view = EventView {
            id: &id,
            event_type: &event_type,
            occurred_at: UnixMillis(0),
            accepted_at: UnixMillis(0),
            attributes: &attributes,
            metadata: None,
            data: data.as_bytes(),
        };
        flat.check_event(&view).err().unwrap_or_default().into_iter().map(|error| error.pointer).collect()
    };
    assert!(pointers(r#"{"email":"a","message_id":"b"}"#).is_empty());
    assert_eq!(pointers(r#"{"email":1}"#), ["/data/email", "/data/message_id"]);
    assert_eq!(pointers("[1]"), ["/data"]);
}

#[test]
fn metadata_is_included_whole_or_by_member_with_a_default() {
    let text = LEAST.replace(
        "[catalog]",
        "[[envelope]]\nname = \"messageId\"\nfrom = \"metadata.messageId\"\ndefault = \"id\"\n\
         [[envelope]]\nname = \"metadata\"\nfrom = \"metadata\"\n[catalog]",
    );
    let profile = load(&[("m.toml", &text)]).unwrap().get("m").unwrap().clone();
    assert_eq!(
        render(&profile, "a", &[], r#"{ "messageId":"m-1" }"#, "{}"),
        r#"{"data":{},"messageId":"m-1","metadata":{ "messageId":"m-1" }}"#
    );
    assert_eq!(render(&profile, "a", &[], "", "{}"), r#"{"data":{},"messageId":"evt_9"}"#);
}

#[test]
fn origins_and_a_documented_test_event_are_kept_verbatim() {
    let text = format!(
        "{LEAST}\n{}",
        r#"[test_event]
type = "email.generation.completed"
body_id = "evt_test_123"
timestamp = "2025-01-30T12:00:00.000Z"
data = '{ "subject": "Test Email" }'
metadata = '{ "test": true }'
[[origins]]
types = ["api_key.*"]
fire = ["dashboard"]
[[origins]]
types = ["*"]
fire = ["api"]
"#
    );
    let profile = load(&[("m.toml", &text)]).unwrap().get("m").unwrap().clone();
    let fires = |event_type: &str, origin| profile.origin_fires(&event_type.parse().unwrap(), origin);
    assert!(fires("api_key.created", Origin::Dashboard) && !fires("api_key.created", Origin::Api));
    assert!(fires("export.failed", Origin::Api) && !fires("export.failed", Origin::Dashboard));
    let test = profile.test_event(None).unwrap();
    assert_eq!(test.body_id.unwrap().as_str(), "evt_test_123");
    assert_eq!(test.occurred_at.unwrap().to_rfc3339_millis(), "2025-01-30T12:00:00.000Z");
    assert_eq!((test.data.get(), test.metadata.unwrap().get()), (r#"{"subject":"Test Email"}"#, r#"{"test":true}"#));
    // A test event of another type is created from the sample of that type.
    assert!(profile.test_event(Some(&"a".parse().unwrap())).unwrap().body_id.is_none());
}

/// Loads `LEAST` with `old` replaced by `new`. Expects a mistake at `line` in `field` whose message contains `detail`.
#[track_caller]
fn check_refused(old: &str, new: &str, line: usize, field: &str, detail: &str) {
    assert!(LEAST.contains(old));
    match load(&[("bad.toml", &LEAST.replacen(old, new, 1))]) {
        Err(ProfileError::Invalid { file, line: at, field: found, detail: words }) => {
            assert!(file.ends_with("bad.toml"), "{file}");
            assert_eq!((at, found.as_str()), (line, field), "{words}");
            assert!(words.contains(detail), "{words}");
        }
        other => panic!("{new:?} should be refused, got {:?}", other.map(|_| "loaded")),
    }
}

#[test]
fn mistakes_are_reported_with_line_and_field() {
    check_refused("timeout_seconds = 10", "timeout_seconds = 61", 4, "delivery.timeout_seconds", "1 to 60");
    check_refused("timeout_seconds = 10", "timeout_secs = 10", 4, "delivery.timeout_secs", "unknown field");
    check_refused("timeout_seconds = 10", "timeout_seconds = \"10\"", 4, "delivery.timeout_seconds", "invalid type");
    check_refused("timeout_seconds = 10", "timeout_seconds = ", 4, "delivery.timeout_seconds", "");
    let retries = "timeout_seconds = 10\nretry_schedule_seconds = ";
    check_refused("timeout_seconds = 10", &format!("{retries}[5, 0]"), 5, "delivery.retry_schedule_seconds", "delay 1");
    check_refused("timeout_seconds = 10", &format!("{retries}[86401]"), 5, "delivery.retry_schedule_seconds", "86400");
    check_refused("timeout_seconds = 10", "timeout_seconds = 10\njitter_max = 2.0", 5, "delivery.jitter_max", "0 to 1");
    check_refused("from = \"data\"", "from = \"body\"", 7, "envelope.from", "metadata.<member>");
    check_refused("from = \"data\"", "from = \"data\"\nformat = \"iso_s\"", 8, "envelope.format", "timestamp");
    check_refused("data = \"{}\"", "data = \"[]\"", 10, "catalog.sample.data", "JSON object");
    check_refused("data = \"{}\"", "data = \"{\"", 10, "catalog.sample.data", "EOF");
    check_refused("type = \"a\"", "type = \"a.*\"", 10, "catalog.sample.type", "an event type");
    let header = |name: &str| format!("[[headers.extra]]\nname = \"{name}\"\nvalue = \"v\"\n[catalog]");
    check_refused("[catalog]", &header("X Y"), 9, "headers.extra.name", "not a header name");
    check_refused("[catalog]", &header("Webhook-Id"), 9, "headers.extra.name", "set by Postrider");
    check_refused("[catalog]", "[statuses]\nsuccess = [\"2yy\"]\n[catalog]", 9, "statuses.success", "4xx");
    let signature = |rest: &str| format!("[signature]\nheader = \"X-S\"\nscheme = \"hmac-sha256\"\n{rest}\n[catalog]");
    check_refused("[catalog]", &signature("template = \"{sig}\""), 11, "signature.template", "placeholders");
    check_refused("[catalog]", &signature(""), 9, "signature.template", "such as");
    check_refused("name = \"data\"", "name = \"data\"\ncolour = \"red\"", 7, "envelope.colour", "unknown field");
    check_refused("timeout_seconds = 10\n", "", 2, "delivery.timeout_seconds", "missing");
    check_refused("[delivery]\n", "[ delivery ] # of parcels\ncolour = 1\n", 3, "delivery.colour", "unknown field");
    check_refused("description = \"d\"\n", "", 1, "description", "missing");
    let template =
        "open = true\npushover_message = \"{email}\"\ntypes = [{ name = \"a\", description = \"\", sample = \"{}\" }]";
    check_refused("open = true", template, 10, "catalog.pushover_message", "{email} is not a placeholder");
    check_refused("open = true", "open = false", 8, "catalog.types", "at least one");
    check_refused(
        "[catalog]",
        "[headers]\nstandard = false\n[catalog]",
        9,
        "headers.standard",
        "a profile needs a signature",
    );
    let test = "sample = { type = \"a\", data = \"{}\" }";
    let closed =
        "types = [{ name = \"a\", description = \"\", sample = \"{}\" }]\n[test_event]\ntype = \"b\"\ndata = \"{}\"";
    check_refused(&format!("open = true\n{test}"), closed, 11, "test_event.type", "not in the catalog");
    check_refused("[delivery]", "body = \"stable\"\n[delivery]", 2, "body", "js-stable");
}

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>";

#[test]
fn a_brand_is_read_with_its_logo_from_a_file_or_a_data_url() {
    let brand = "[brand]\nname = \"Acme\"\naccent = \"#0A7D4F\"\nlogo = \"acme.svg\"\n\
                 docs_url = \"https://docs.acme.example\"\nsupport_url = \"mailto:help@acme.example\"\n";
    let text = format!("{LEAST}{brand}");
    let profiles = load(&[("acme.toml", &text), ("acme.svg", SVG)]).unwrap();
    let acme = &profiles.get("acme").unwrap().brand;
    assert_eq!((acme.name.as_deref(), acme.accent.as_deref()), (Some("Acme"), Some("#0A7D4F")));
    let logo = acme.logo.clone().unwrap();
    assert_eq!(logo.parse::<Logo>().unwrap().bytes(), SVG.as_bytes());
    assert_eq!(acme.support_url.as_deref(), Some("mailto:help@acme.example"));

    let inline = text.replace("acme.svg", &logo);
    assert_eq!(load(&[("acme.toml", &inline)]).unwrap().get("acme").unwrap().brand, *acme);
    assert!(profiles.get("standard").unwrap().brand.is_empty(), "no brand without the section");
}

#[test]
fn language_files_add_languages_and_change_texts_of_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let languages = folder.path().join("languages");
    std::fs::create_dir(&languages).unwrap();
    let write = |name: &str, text: &str| std::fs::write(languages.join(name), text).unwrap();
    write("fr.toml", "[texts]\n\"Save\" = \"Enregistrer\"\n");
    write("de.toml", "[terms]\nwebhook = \"Haken\"\nwebhooks = \"Haken\"\n[texts]\n\"Save\" = \"Sichern\"\n");
    let brand = "[brand]\nlanguage = \"fr\"\nterms = { webhook = \"rappel\", webhooks = \"rappels\" }\n";
    std::fs::write(folder.path().join("acme.toml"), format!("{LEAST}{brand}")).unwrap();
    let profiles = Profiles::load(Some(folder.path())).unwrap();
    let acme = &profiles.get("acme").unwrap().brand;
    assert_eq!((acme.language.as_deref(), acme.terms.get("webhooks")), (Some("fr"), Some("rappels")));
    assert_eq!(profiles.languages().tags(), ["de", "en", "fr"]);
    let text = |tag: &str, text: &str| profiles.languages().get(tag).unwrap().text(text).map(str::to_owned);
    assert_eq!((text("fr", "Save").as_deref(), text("fr", "Delete")), (Some("Enregistrer"), None));
    assert_eq!((text("de", "Save").as_deref(), text("de", "Delete").as_deref()), (Some("Sichern"), Some("Löschen")));
    assert_eq!(profiles.languages().get("de").unwrap().terms().get("endpoint"), Some("Endpunkt"));

    write("fr.toml", "[texts]\n\"Sava\" = \"Enregistrer\"\n");
    let refused = Profiles::load(Some(folder.path())).unwrap_err().to_string();
    assert!(refused.contains("fr.toml, line 2, texts.\"Sava\": no page has this text"), "{refused}");
}

#[test]
fn mistakes_in_a_brand_are_reported_with_line_and_field() {
    let brand = |line: &str| format!("[brand]\n{line}\n[catalog]");
    check_refused("[catalog]", &brand("name = \"\""), 9, "brand.name", "1 to 200 bytes");
    check_refused("[catalog]", &brand("accent = \"green\""), 9, "brand.accent", "#rrggbb");
    check_refused("[catalog]", &brand("docs_url = \"javascript:x\""), 9, "brand.docs_url", "https://");
    check_refused("[catalog]", &brand("name = \"A\"\nsupport_url = \"help\""), 10, "brand.support_url", "mailto:");
    check_refused("[catalog]", &brand("logo = \"none.svg\""), 9, "brand.logo", "cannot read none.svg");
    check_refused("[catalog]", &brand("logo = \"../bad.toml\""), 9, "brand.logo", "next to this one");
    check_refused("[catalog]", &brand("logo = \"bad.toml\""), 9, "brand.logo", "not a PNG or SVG");
    check_refused("[catalog]", &brand("logo = \"data:image/gif;base64,AA==\""), 9, "brand.logo", "data:image/png");
    check_refused("[catalog]", &brand("color = \"#ffffff\""), 9, "brand.color", "unknown field");
    check_refused("[catalog]", &brand("name = \"A\"\nlanguage = \"tlh\""), 10, "brand.language", "there are: de, en");
    check_refused(
        "[catalog]",
        &brand("terms = { webhook = \"a\" }"),
        9,
        "brand.terms.webhooks",
        "together with webhook",
    );

    let text = LEAST.replace("[catalog]", &brand("logo = \"large.svg\""));
    let large = format!("{SVG}{}", " ".repeat(BRAND_LOGO_BYTES_MAX));
    let refused = load(&[("bad.toml", &text), ("large.svg", &large)]).unwrap_err().to_string();
    assert!(refused.contains("line 9, brand.logo: large.svg: the image has more than 16384 bytes"), "{refused}");
}

#[test]
fn an_envelope_has_no_field_twice_and_at_least_one() {
    let twice = "[[envelope]]\nname = \"data\"\nfrom = \"type\"\n[catalog]";
    check_refused("[catalog]", twice, 8, "envelope.name", "twice");
    let text = LEAST
        .replace("[[envelope]]\nname = \"data\"\nfrom = \"data\"\n", "")
        .replace("[delivery]", "envelope = []\n[delivery]");
    assert!(load(&[("bad.toml", &text)]).unwrap_err().to_string().contains("line 2, envelope: at least one field"));
}

#[test]
fn an_unsigned_profile_a_bad_name_and_a_missing_directory_are_refused() {
    let unsigned = LEAST.replace("[catalog]", "[headers]\nstandard = false\n[catalog]");
    assert!(load(&[("bad.toml", &unsigned)]).unwrap_err().to_string().contains("a profile needs a signature"));
    assert!(load(&[("Bad Name.toml", LEAST)]).is_err());
    let missing = Profiles::load(Some(std::path::Path::new("/nowhere/at/all"))).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /nowhere/at/all");
}

#[test]
fn the_example_of_the_documentation_loads() {
    let page = include_str!("../../../docs/profiles.md");
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let profiles = load(&[("acme.toml", example)]).unwrap();
    let acme = profiles.get("acme").unwrap();
    let body = render(acme, "Parcel Sent", &[], r#"{"parcel":"p-1"}"#, "{}");
    let expected = r#"{"event":"sent","sent_at":"2024-01-15T10:30:00Z","parcel":"p-1","message_id":"evt_9","data":{}}"#;
    assert_eq!(body, expected);
    assert_eq!(acme.attribute_kind("warehouse"), Some(postrider_model::subscription::MatchKind::Exact));
}
