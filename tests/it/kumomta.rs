//! A mapping file turns KumoMTA's log records from the exchange into events.

use serde_json::{Value, json};

use crate::harness::{Deployment, Message, Producer, Receiver};

/// A mapping for tenants of the profile `standard`, which has no built-in mapping.
const MAPPING: &str = r#"
description = "KumoMTA's records as events of the tests"

[[events]]
records = ["Delivery"]
type = "mail.delivered"

[[events]]
records = ["TransientFailure"]
type = "mail.delayed"

[attributes]
sending_domain = { from = ["sender"], take = "domain" }
sending_node = { from = ["nodeid"] }
bridge = { from = ["meta.bridge"] }
dedicated_ip = { from = ["source_address.address"], take = "ip" }

[[data]]
name = "to"
from = ["recipient"]

[[data]]
name = "smtp.code"
from = ["response.code"]
"#;

fn record(kind: &str, attempts: u32) -> String {
    json!({
        "type": kind, "id": "1d98076abbbc11ed940250ebf67f93bd", "sender": "bounce@mail.example.com",
        "recipient": "user@example.net", "timestamp": 1_700_000_000, "num_attempts": attempts,
        "response": {"code": 451, "enhanced_code": null, "content": "later", "command": null},
        "bounce_classification": "Uncategorized", "egress_source": "source2",
        "source_address": {"address": "198.51.100.1:53210"}, "feedback_report": null,
        "meta": {"bridge": "cred-7"}, "headers": {}, "nodeid": "557f3ad4-2c8c-11ee-976e-782d7e12e173",
    })
    .to_string()
}

/// Guarantee (Publishing): KumoMTA's log records become events.
#[tokio::test]
async fn log_records_become_events_by_the_mapping_of_the_tenants_profile() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("standard.toml"), MAPPING).unwrap();
    let settings = [("POSTRIDER_MAPPINGS_DIR", folder.path().to_str().unwrap())];
    let deployment = Deployment::start_with("kumomta", &settings).await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant
        .endpoint(json!({
            "name": "hook", "url": receiver.url("/"), "event_types": ["mail.*"],
            "filters": {
                "sending_domain": ["mail.example.com"], "sending_node": ["557f3ad4-2c8c-11ee-976e-782d7e12e173"],
                "bridge": ["cred-7"], "dedicated_ip": ["198.51.100.0/24"],
            },
        }))
        .await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    let publish = async |record: String| {
        producer.publish(Message::new(format!("{}.kumomta", tenant.id), record)).await;
    };
    // Two records of one message are two events. Repeating the first, as after a lost confirm, makes no third.
    publish(record("TransientFailure", 1)).await;
    publish(record("TransientFailure", 2)).await;
    publish(record("TransientFailure", 1)).await;
    publish(record("Reception", 0)).await;
    publish(r#"{"type":"Delivery"}"#.to_owned()).await;
    publish(record("Delivery", 3)).await;

    let mut bodies: Vec<String> = Vec::new();
    for _ in 0..3 {
        bodies.push(receiver.next().await.text().to_owned());
    }
    bodies.sort();
    let body = |event_type: &str| {
        format!(
            r#"{{"type":"{event_type}","timestamp":"2023-11-14T22:13:20.000Z","data":{{"to":"user@example.net","smtp":{{"code":451}}}}}}"#
        )
    };
    assert_eq!(bodies, [body("mail.delayed"), body("mail.delayed"), body("mail.delivered")]);
    let letters = deployment
        .operator()
        .wait_for("/v1/dead-letters", |page| page["data"].as_array().is_some_and(|data| !data.is_empty()))
        .await;
    let letters = letters["data"].as_array().unwrap();
    assert_eq!(letters.len(), 1, "the malformed one alone: {letters:#?}");
    assert!(letters[0]["reason"].as_str().unwrap().contains("`timestamp` is missing"), "{letters:#?}");
    // All six messages were consumed.
    deployment.wait_for_messages("postrider.intake", 0).await;
    let events = tenant.wait_for("/v1/events?type=mail.delivered", |page| page["data"] != json!([])).await;
    assert_eq!(events["data"].as_array().map(Vec::len), Some(1));
    let events: Value = tenant.get("/v1/events").await;
    assert_eq!(events["data"].as_array().map(Vec::len), Some(3), "{events:#}");
}

#[tokio::test]
async fn a_bounce_in_kumomtas_log_reaches_mumaras_customers() {
    let deployment = Deployment::start("kumomta-mumara").await;
    let tenant = deployment.tenant("mumara").await;
    let receiver = Receiver::start().await;
    tenant
        .endpoint(json!({
            "name": "hook", "url": receiver.url("/"), "event_types": ["Bounced"],
            "filters": {"bridge": ["cred-7"], "dedicated_ip": ["198.51.100.1"]},
        }))
        .await;
    let producer = Producer::connect(&deployment.scope().amqp_url).await;
    for kind in ["Delivery", "Bounce"] {
        producer.publish(Message::new(format!("{}.kumomta", tenant.id), record(kind, 0))).await;
    }
    let request = receiver.next().await;
    let expected = concat!(
        r#"{"event":"bounced","timestamp":"2023-11-14T22:13:20Z","email":"user@example.net","#,
        r#""message_id":"1d98076abbbc11ed940250ebf67f93bd","bounce_type":"hard","bounce_classification":"Uncategorized","#,
        r#""response":"later","sending_domain":"mail.example.com","#,
        r#""sending_node":"557f3ad4-2c8c-11ee-976e-782d7e12e173"}"#,
    );
    assert_eq!(request.text(), expected);
    tenant.wait_for("/v1/events?type=Delivered", |page| page["data"] != json!([])).await;
}

#[tokio::test]
async fn a_broken_mapping_is_refused_at_start_with_file_and_field() {
    let refused = async |name: &str, text: &str, words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let said = Deployment::refused_start(&[("POSTRIDER_MAPPINGS_DIR", folder.path().to_str().unwrap())]).await;
        for word in words.iter().chain(&[name]) {
            assert!(said.contains(word), "{said:?} lacks {word:?}");
        }
    };
    let broken = MAPPING.replace("records = [\"Delivery\"]", "records = []");
    refused("standard.toml", &broken, &["line 5", "events.records"]).await;
    // A mapping must not make types that the profile of the same name does not have.
    refused("magnetite.toml", MAPPING, &["events.type", "mail.delivered is not in the catalog of profile magnetite"])
        .await;
}
