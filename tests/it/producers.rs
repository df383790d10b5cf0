//! Independent producers: a Python script with `pika`, and users whom the broker confines to their tenant.

use postrider_testkit::engines::Rights;
use postrider_testkit::python;
use serde_json::json;

use crate::harness::{Deployment, Message, Producer, Receiver};

/// What docs/publishing.md grants a tenant's producer.
fn rights<'a>(keys: &'a str) -> Rights<'a> {
    Rights { configure: "^$", write: r"^postrider\.events$", read: "^$", routing_keys: ("postrider.events", keys) }
}

fn keys(tenant: &str) -> String {
    format!(r"^{tenant}\.")
}

/// A file of the repository, from its root.
fn documentation(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path)
}

/// Guarantee: as `intake::an_event_from_the_exchange_is_delivered_as_one_over_http`.
#[tokio::test]
async fn the_python_script_of_the_documentation_publishes_within_its_tenant() {
    let deployment = Deployment::start("python").await;
    let tenant = deployment.tenant("standard").await;
    let receiver = Receiver::start().await;
    tenant.endpoint(json!({"name": "hook", "url": receiver.url("/"), "event_types": ["*"]})).await;
    let url = deployment.scope().user(&rights(&keys(&tenant.id))).await.unwrap();
    let run = async |tenant: &str, id: &str| {
        let mut command =
            tokio::task::spawn_blocking(|| python::with(&python::PIKA)).await.unwrap().expect("a Python with pika");
        command
            .arg(documentation("examples/publish.py"))
            .args([tenant, "Newsletter Opened", id, r#"{"email": "recipient@example.com"}"#])
            .env("POSTRIDER_AMQP_URL", &url);
        tokio::process::Command::from(command).output().await.expect("python3 runs")
    };
    let output = run(&tenant.id, "from-python-1").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let request = receiver.next().await;
    assert_eq!(request.header("webhook-id"), "from-python-1");
    assert!(request.text().ends_with(r#""data":{"email": "recipient@example.com"}}"#), "{}", request.text());

    // The script fails with an error if the broker refuses.
    let other = deployment.tenant("standard").await;
    let output = run(&other.id, "from-python-2").await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ACCESS_REFUSED"), "{output:?}");
}

/// Guarantee: as `intake::an_event_from_the_exchange_is_delivered_as_one_over_http`.
#[tokio::test]
async fn the_brokers_permissions_keep_a_producer_within_its_tenant() {
    let deployment = Deployment::start("permissions").await;
    let (tenant, other) = (deployment.tenant("standard").await, deployment.tenant("standard").await);
    let url = deployment.scope().user(&rights(&keys(&tenant.id))).await.unwrap();
    let event = |tenant: &str, id: &str| json!({"tenant": tenant, "id": id, "type": "a.b", "data": {}}).to_string();
    let message = |tenant: &str, id: &str| Message::new(format!("{tenant}.a.b"), event(tenant, id));

    let producer = Producer::connect(&url).await;
    producer.publish(message(&tenant.id, "own")).await;
    producer.publish(Message::new(format!("{}.batch", tenant.id), "{}")).await;
    // The broker itself refuses another tenant's routing key, and every way around it.
    for key in [format!("{}.a.b", other.id), format!("x{}.a.b", tenant.id), "ten_operator.a".into(), "#".into()] {
        let refused = Producer::connect(&url).await.try_publish(Message::new(key, event(&other.id, "foreign"))).await;
        assert!(refused.as_ref().is_err_and(|error| error.contains("ACCESS_REFUSED")), "{refused:?}");
    }
    // The body cannot name another tenant than the routing key.
    producer.publish(Message::new(format!("{}.a.b", tenant.id), event(&other.id, "foreign"))).await;

    tenant.wait_for("/v1/events/own", |event| event["type"] == "a.b").await;
    let both = |page: &serde_json::Value| page["data"].as_array().is_some_and(|data| data.len() == 2);
    deployment.operator().wait_for("/v1/dead-letters", both).await;
    assert_eq!(other.get("/v1/events").await["data"], json!([]));
    let refused = Producer::try_reading(&url, "postrider.intake").await;
    assert_eq!(refused.matches("ACCESS_REFUSED").count(), 2, "{refused}");
}
