//! Tests mapping files: the events that the built-in mappings create from KumoMTA's records, and how mistakes are reported.

use postrider_profiles::{MappedEvent, Mappings, ProfileError};
use serde_json::{Value, json};

fn load(files: &[(&str, &str)]) -> Result<Mappings, ProfileError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    Mappings::load(Some(dir.path()))
}

fn map(mappings: &Mappings, profile: &str, record: &Value) -> Vec<MappedEvent> {
    mappings.get(profile).unwrap().events(record.to_string().as_bytes()).unwrap()
}

/// Returns a log record of this kind as KumoMTA writes it, with some members changed.
fn record(kind: &str, changes: Value) -> Value {
    let mut record = json!({
        "type": kind,
        "id": "1d98076abbbc11ed940250ebf67f93bd",
        "sender": "bounce+7@mail.sender.example.com",
        "recipient": "user@recipient.example.com",
        "queue": "campaign:tenant@recipient.example.com",
        "site": "source2->(alt1|alt2)?.mx.recipient.example.com.",
        "size": 1047,
        "response": {"code": 250, "enhanced_code": {"class": 2, "subject": 0, "detail": 0}, "content": "OK", "command": "."},
        "peer_address": {"name": "mx.recipient.example.com.", "addr": "192.0.2.27"},
        "timestamp": 1_678_069_691,
        "created": 1_678_069_690,
        "num_attempts": 0,
        "bounce_classification": "Uncategorized",
        "egress_pool": "pool0",
        "egress_source": "source2",
        "source_address": {"address": "198.51.100.1:53210", "protocol": null, "server": null},
        "feedback_report": null,
        "meta": {"campaign_id": 123, "broadcast_name": "January Newsletter", "sending_node": "smtp1", "bridge": "cred-7"},
        "headers": {"Message-ID": "<abc123xyz@sender.example.com>"},
        "delivery_protocol": "ESMTP",
        "reception_protocol": "HTTP",
        "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
    });
    for (name, value) in changes.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

fn refused(code: u16, class: &str, changes: Value) -> Value {
    let response = json!({
        "code": code, "enhanced_code": {"class": code / 100, "subject": 1, "detail": 1}, "content": "no such user", "command": "RCPT TO",
    });
    let mut all = json!({"response": response, "bounce_classification": class});
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

/// Returns a feedback report. Its sender is the mailbox provider, and its recipient is the mailbox for reports.
fn report(feedback_type: &str) -> Value {
    record(
        "Feedback",
        json!({
            "sender": "fbl@provider.example", "recipient": "fbl@sender.example.com", "meta": {}, "headers": {},
            "source_address": null, "egress_source": null,
            "feedback_report": {
                "feedback_type": feedback_type, "user_agent": "SomeGenerator/1.0", "version": 1,
                "original_mail_from": "<bounce+7@mail.sender.example.com>", "source_ip": "198.51.100.1",
                "original_rcpto_to": ["<user@recipient.example.com>"], "reported_domain": ["sender.example.com"],
                "supplemental_trace": null,
            },
        }),
    )
}

#[track_caller]
fn check(profile: &str, record: &Value, event_type: &str, data: &str) {
    let events = map(&Mappings::load(None).unwrap(), profile, record);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event.event_type.as_str(), event_type);
    assert_eq!(event.data.get(), data);
    assert_eq!(event.occurred_at.to_rfc3339_seconds(), "2023-03-06T02:28:11Z");
}

#[track_caller]
fn check_type(profile: &str, record: &Value, event_type: Option<&str>) {
    let events = map(&Mappings::load(None).unwrap(), profile, record);
    assert_eq!(events.first().map(|event| event.event_type.as_str()), event_type, "{record:#}");
}

#[test]
fn records_become_mumaras_events() {
    let common =
        r#""campaign_id":123,"broadcast_name":"January Newsletter","message_id":"abc123xyz@sender.example.com""#;
    let email = r#""email":"user@recipient.example.com""#;
    check("mumara", &record("Reception", json!({})), "Received", &format!("{{{email},{common}}}"));
    check("mumara", &record("Delivery", json!({})), "Delivered", &format!(r#"{{{email},{common},"response":"OK"}}"#));
    check(
        "mumara",
        &record("Bounce", refused(550, "InvalidRecipient", json!({}))),
        "Bounced",
        &format!(
            r#"{{{email},{common},"bounce_type":"hard","bounce_classification":"InvalidRecipient","response":"no such user"}}"#
        ),
    );
    check(
        "mumara",
        &record("TransientFailure", refused(451, "QuotaIssues", json!({"num_attempts": 1}))),
        "Delayed",
        &format!(r#"{{{email},{common},"bounce_classification":"QuotaIssues","response":"no such user"}}"#),
    );
    check(
        "mumara",
        &report("abuse"),
        "Complaints",
        r#"{"email":"user@recipient.example.com","message_id":"1d98076abbbc11ed940250ebf67f93bd","complaint_type":"abuse"}"#,
    );
    for (record, event_type) in [
        (record("Bounce", refused(550, "SpamBlock", json!({}))), Some("Rejected")),
        (record("Bounce", refused(550, "PolicyRelated", json!({}))), Some("Rejected")),
        (record("Bounce", refused(552, "QuotaIssues", json!({}))), Some("Bounced")),
        (record("Expiration", json!({})), Some("Bounced")),
        (record("AdminBounce", json!({})), Some("Bounced")),
        (record("OOB", refused(550, "InactiveMailbox", json!({}))), Some("Bounced")),
        (record("Delay", json!({})), Some("Delayed")),
        (report("not-spam"), None),
        (record("Rejection", json!({"id": "", "recipient": ""})), None),
        (record("AdminRebind", json!({})), None),
        (record("SomethingNew", json!({})), None),
    ] {
        check_type("mumara", &record, event_type);
    }
}

#[test]
fn records_become_migomails_events() {
    let message = r#""message_id":"abc123xyz@sender.example.com","campaign_id":123"#;
    let subscriber = r#""subscriber":{"email":"user@recipient.example.com"}"#;
    check("migomail", &record("Delivery", json!({})), "email.sent", &format!("{{{message},{subscriber}}}"));
    check(
        "migomail",
        &record("Bounce", refused(550, "InvalidRecipient", json!({}))),
        "email.bounced",
        &format!(r#"{{{message},{subscriber},"bounce":{{"type":"hard","code":"5.1.1","reason":"no such user"}}}}"#),
    );
    check(
        "migomail",
        &record("Expiration", json!({"response": {"code": 551, "enhanced_code": null, "content": "too late"}})),
        "email.bounced",
        &format!(r#"{{{message},{subscriber},"bounce":{{"type":"soft","code":"551","reason":"too late"}}}}"#),
    );
    let named =
        record("Delivery", json!({"meta": {"subscriber_name": "Jane", "list_id": "lst_9", "message_id": "msg_1"}}));
    check(
        "migomail",
        &named,
        "email.sent",
        r#"{"message_id":"msg_1","subscriber":{"email":"user@recipient.example.com","name":"Jane","list_id":"lst_9"}}"#,
    );
    for (record, event_type) in [
        (report("abuse"), Some("email.spam_reported")),
        (report("opt-out"), Some("email.unsubscribed")),
        (report("not-spam"), None),
        (record("Reception", json!({})), None),
        (record("TransientFailure", json!({})), None),
    ] {
        check_type("migomail", &record, event_type);
    }
}

#[test]
fn records_carry_the_four_attributes() {
    let attributes = |record: &Value| {
        let mappings = Mappings::load(None).unwrap();
        let of = |profile| serde_json::to_value(&map(&mappings, profile, record).remove(0).attributes).unwrap();
        assert_eq!(of("mumara"), of("migomail"));
        of("mumara")
    };
    assert_eq!(
        attributes(&record("Delivery", json!({}))),
        json!({
            "sending_domain": "mail.sender.example.com", "sending_node": "smtp1", "bridge": "cred-7",
            "dedicated_ip": "198.51.100.1",
        })
    );
    let plain = record("Delivery", json!({"meta": {}, "source_address": {"address": "[2001:db8::1]:0"}}));
    assert_eq!(
        attributes(&plain),
        json!({
            "sending_domain": "mail.sender.example.com", "sending_node": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
            "dedicated_ip": "2001:db8::1",
        })
    );
}

#[test]
fn a_record_becomes_an_event_per_recipient_in_a_canonical_form() {
    let mappings = Mappings::load(None).unwrap();
    let record = record("Delivery", json!({"recipient": ["a@example.com", "b@example.com"]}));
    let events = map(&mappings, "mumara", &record);
    let recipients: Vec<_> = events.iter().map(|event| event.recipient.as_str()).collect();
    assert_eq!(recipients, ["a@example.com", "b@example.com"]);
    assert!(events[1].data.get().starts_with(r#"{"email":"b@example.com","#), "{}", events[1].data);
    let shuffled: Vec<String> =
        record.as_object().unwrap().iter().rev().map(|(name, value)| format!(" {}:{value}", json!(name))).collect();
    let shuffled = format!("{{{}}}", shuffled.join(","));
    let again = mappings.get("mumara").unwrap().events(shuffled.as_bytes()).unwrap();
    assert_eq!(again[0].record, events[0].record);
}

/// The smallest valid mapping.
const LEAST: &str = r#"description = "d"
[[events]]
records = ["Delivery"]
type = "sent"
"#;

#[test]
fn a_directory_adds_mappings_and_replaces_built_in_ones() {
    let mappings = load(&[("acme.toml", LEAST), ("mumara.toml", LEAST), ("notes.txt", "not read")]).unwrap();
    assert_eq!(mappings.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["acme", "migomail", "mumara"]);
    let event = map(&mappings, "mumara", &record("Delivery", json!({}))).remove(0);
    assert_eq!((event.event_type.as_str(), event.data.get(), event.metadata.is_none()), ("sent", "{}", true));
}

#[test]
fn a_mapping_may_fill_metadata_and_fall_back() {
    let more = format!(
        "{LEAST}[[metadata]]\nname = \"messageId\"\nfrom = [\"meta.nothing\", \"id\"]\n\
         [[data]]\nname = \"kind\"\nfrom = [\"meta.nothing\"]\ndefault = \"mail\"\n"
    );
    let event = map(&load(&[("acme.toml", &more)]).unwrap(), "acme", &record("Delivery", json!({}))).remove(0);
    assert_eq!(event.metadata.unwrap().get(), r#"{"messageId":"1d98076abbbc11ed940250ebf67f93bd"}"#);
    assert_eq!(event.data.get(), r#"{"kind":"mail"}"#);
}

#[track_caller]
fn refused_file(text: &str, line: usize, field: &str, words: &str) {
    let Err(error) = load(&[("acme.toml", text)]) else { panic!("accepted: {text}") };
    let ProfileError::Invalid { file, line: at, field: named, detail } = &error else { panic!("{error}") };
    assert!(file.ends_with("acme.toml"), "{error}");
    assert_eq!((*at, named.as_str()), (line, field), "{error}");
    assert!(detail.contains(words), "{error}");
}

#[test]
fn a_mistake_is_reported_with_file_line_and_field() {
    let and = |more: &str| format!("{LEAST}{more}");
    refused_file("description = 7\n", 1, "description", "string");
    refused_file("description = \"\"\nevents = []\n", 1, "description", "must not be empty");
    refused_file("description = \"d\"\nevents = []\n", 2, "events", "at least one");
    refused_file(&LEAST.replace("\"sent\"", "\"a..b\""), 4, "events.type", "an event type is");
    refused_file(&LEAST.replace("[\"Delivery\"]", "[]"), 3, "events.records", "at least one");
    refused_file(&and("whenever = 1\n"), 5, "events.whenever", "unknown field");
    refused_file(&and("when = { \"a..b\" = [\"x\"] }\n"), 5, "events.when", "names with dots");
    refused_file(&and("when = { a = [] }\n"), 5, "events.when", "at least one text");
    refused_file(&and("[attributes]\nBridge = { from = [\"a\"] }\n"), 6, "attributes", "a-z 0-9");
    refused_file(&and("[attributes]\nbridge = { from = [] }\n"), 6, "attributes.from", "at least one path");
    refused_file(
        &and("[attributes]\nbridge = { from = [\"a\"], take = \"all\" }\n"),
        6,
        "attributes.bridge",
        "unknown variant",
    );
    refused_file(&and("[[data]]\nname = \"\"\nfrom = [\"a\"]\n"), 6, "data.name", "names with dots");
    let inside = "[[data]]\nname = \"a\"\nfrom = [\"a\"]\n[[data]]\nname = \"a.b\"\nfrom = [\"a\"]\n";
    refused_file(&and(inside), 9, "data.name", "inside");
    refused_file(
        &and("[[data]]\nname = \"a\"\nfrom = [\"a\"]\ntypes = [\"other\"]\n"),
        8,
        "data.types",
        "no rule of the mapping makes",
    );
}
