//! E-mail: a customer's events in a mailbox, through a real SMTP server.

use postrider_testkit::smtp::{Encryption, SmtpServer};
use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Receiver, Tenant};

/// A deployment that sends e-mail through the server, and a tenant.
async fn stage(name: &str, server: &SmtpServer) -> (Deployment, Tenant) {
    let (url, ca_file) = (server.url(), server.ca_file());
    let settings = [
        ("POSTRIDER_SMTP_URL", url.as_str()),
        ("POSTRIDER_SMTP_CA_FILE", ca_file.to_str().expect("a path")),
        ("POSTRIDER_MAIL_FROM", "Acme Hooks <hooks@acme.example>"),
        ("POSTRIDER_MAIL_DOMAINS", "example.com"),
        ("POSTRIDER_MAIL_PER_HOUR", "4"),
    ];
    let deployment = Deployment::start_with(name, &settings).await;
    let tenant = deployment.tenant("standard").await;
    (deployment, tenant)
}

async fn server() -> SmtpServer {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    SmtpServer::start(Encryption::StartTls, &certificate, &key).await.expect("an SMTP server")
}

fn document(recipients: Value) -> Value {
    json!({"name": "mail", "channel": "email", "event_types": ["*"], "email": {"recipients": recipients},
        "retry_schedule_seconds": [1]})
}

async fn endpoint(deployment: &Deployment, tenant: &Tenant, recipients: Value) -> String {
    let made = tenant.post("/v1/endpoints", &document(recipients)).await;
    deployment.configuration_in_force().await;
    format!("/v1/endpoints/{}", made["id"].as_str().expect("an id"))
}

fn bounced() -> Value {
    json!({"type": "email.bounced", "timestamp": "2024-01-15T10:30:00Z", "data": {"email": "a@example.com", "reason": "full"}})
}

/// Guarantee (Who gets an event): E-mail: readable messages over TLS, allowed domains, refusals and the tenant's limit.
#[tokio::test]
async fn an_event_is_an_email_to_allowed_recipients() {
    let mut server = server().await;
    let (deployment, tenant) = stage("email", &server).await;
    let at = endpoint(&deployment, &tenant, json!(["a@example.com", "b@example.com"])).await;
    let id = tenant.publish(&bounced()).await;
    let message = server.next().await.expect("a message");
    assert_eq!((message.sender.as_str(), message.encrypted), ("hooks@acme.example", true));
    assert_eq!(message.recipients, ["a@example.com", "b@example.com"]);
    let delivery = tenant.wait_for_delivery(&id, "delivered").await;
    let attempt = &delivery["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["status_code"]), (&json!("success"), &json!(250)), "{delivery:#}");
    assert_eq!(attempt["url"], "mailto:a@example.com,b@example.com");
    let delivery_id = delivery["id"].as_str().expect("an id");
    for header in [
        "Subject: email.bounced".to_owned(),
        "Auto-Submitted: auto-generated".to_owned(),
        format!("Message-ID: <{delivery_id}@acme.example>"),
        "To: a@example.com, b@example.com".to_owned(),
    ] {
        assert!(message.message.lines().any(|line| line == header), "{header} in {}", message.message);
    }
    assert!(message.message.contains("Email: a@example.com") && message.message.contains("Reason: full"));

    // The limit of 4 recipients per hour: the test call uses the other two.
    let attempt = tenant.post(&format!("{at}/test"), &json!({})).await;
    assert_eq!(attempt["outcome"], "success", "{attempt:#}");
    server.next().await.expect("a message");
    let attempt = tenant.post(&format!("{at}/test"), &json!({})).await;
    assert_eq!((&attempt["outcome"], &attempt["status_code"]), (&json!("http_status"), &json!(429)), "{attempt:#}");
    assert!(attempt["error"].as_str().unwrap().contains("limit of 4"), "{attempt:#}");
}

/// Guarantee: as `email::an_event_is_an_email_to_allowed_recipients`.
#[tokio::test]
async fn a_refusal_of_the_mail_server_fails_and_a_temporary_one_is_retried() {
    let server = server().await;
    let (deployment, tenant) = stage("email-refused", &server).await;
    for (recipient, code, attempts) in [("gone@example.com", 550, 1), ("busy@example.com", 451, 2)] {
        let at = endpoint(&deployment, &tenant, json!([recipient])).await;
        let id = tenant.publish(&bounced()).await;
        let delivery = tenant.wait_for_delivery(&id, "failed").await;
        let made = delivery["attempts"].as_array().expect("attempts");
        assert_eq!((made.len(), &made[0]["status_code"]), (attempts, &json!(code)), "{delivery:#}");
        assert!(made[0]["error"].as_str().unwrap().contains("the SMTP server"), "{delivery:#}");
        tenant.delete(&at).await;
        deployment.configuration_in_force().await;
    }
    let (status, problem) = tenant.try_post("/v1/endpoints", &document(json!(["a@elsewhere.example"]))).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/email/recipients/0")), "{problem:#}");
}

/// Guarantee (Who gets an event): A notice by e-mail says that an endpoint was switched off, with the link to its page.
#[tokio::test]
async fn an_email_tells_that_another_endpoint_was_switched_off() {
    let mut server = server().await;
    let (deployment, tenant) = stage("email-notify", &server).await;
    let mut told = document(json!(["oncall@example.com"]));
    told["event_types"] = json!(["never.published"]);
    let told = tenant.post("/v1/endpoints", &told).await;
    let receiver = Receiver::start().await;
    receiver.answer_at("/", Answer::status(410));
    let watched = json!({"name": "CRM hook", "url": receiver.url("/"), "event_types": ["*"],
        "notify": {"endpoint": told["id"], "on": ["disabled"]}});
    let watched = tenant.endpoint(watched).await;
    deployment.configuration_in_force().await;
    tenant.publish(&bounced()).await;
    let message = server.next().await.expect("a message");
    assert_eq!(message.recipients, ["oncall@example.com"]);
    assert!(message.message.contains("Subject: CRM hook was switched off"), "{}", message.message);
    // Quoted-printable breaks long lines.
    let text = message.message.replace("=\r\n", "");
    assert!(
        text.contains("Reason: it answered 410.") && text.contains(&format!("/webhooks/{}", watched.id())),
        "{text}"
    );
}
