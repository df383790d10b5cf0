//! The client against a real SMTP server: what it takes, what it refuses, and what the client tells about it.

use std::time::Duration;

use postrider_mail::{Mail, MailError, Mailer, MailerConfig};
use postrider_model::attempt::Outcome;
use postrider_model::ids::TenantId;
use postrider_model::notification::Notification;
use postrider_model::time::UnixMillis;
use postrider_testkit::smtp::{Encryption, SmtpServer};

const TIMEOUT: Duration = Duration::from_secs(60);

async fn server(encryption: Encryption) -> SmtpServer {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    SmtpServer::start(encryption, &made.cert.pem(), &made.signing_key.serialize_pem()).await.expect("an SMTP server")
}

fn config(server: &SmtpServer) -> MailerConfig {
    MailerConfig {
        url: server.url().into(),
        ca_file: Some(server.ca_file()),
        from: "hooks@postrider.example".into(),
        per_tenant_and_hour: 10,
        per_tenant_and_day: 100,
    }
}

fn notification() -> Notification {
    Notification::new("email.bounced", "", [("email", "ä@example.com")], UnixMillis(0))
}

/// The result of sending to these recipients.
async fn send(mailer: &Mailer, tenant: TenantId, recipients: &[&str]) -> postrider_mail::Sent {
    let recipients: Vec<String> = recipients.iter().map(|address| (*address).to_owned()).collect();
    let notification = notification();
    let mail = Mail { id: "dlv_1", recipients: &recipients, sender: Some("Acme"), notification: &notification };
    mailer.send(tenant, &mail, TIMEOUT).await
}

#[tokio::test]
async fn messages_arrive_encrypted_over_connections_that_are_kept() {
    for encryption in [Encryption::Tls, Encryption::StartTls] {
        let mut server = server(encryption).await;
        let mailer = Mailer::new(&config(&server)).unwrap();
        let mut clients = Vec::new();
        for _ in 0..5 {
            let sent = send(&mailer, TenantId::generate(), &["a@example.com", "b@example.com"]).await;
            assert_eq!((sent.outcome, sent.code, sent.error), (Outcome::Success, Some(250), None), "{}", sent.said);
            let message = server.next().await.unwrap();
            assert_eq!(message.recipients, ["a@example.com", "b@example.com"]);
            assert_eq!((message.sender.as_str(), message.encrypted), ("hooks@postrider.example", true));
            assert!(message.message.contains("Message-ID: <dlv_1@postrider.example>"), "{}", message.message);
            clients.push(message.client);
            tokio::task::yield_now().await;
        }
        // The client takes a connection back in the background, so the next message may open another one.
        clients.sort_unstable();
        clients.dedup();
        assert!(clients.len() < 5, "a connection is used again");
    }
}

#[tokio::test]
async fn the_servers_refusals_and_the_tenants_limit_are_outcomes() {
    let server = server(Encryption::Tls).await;
    let mailer = Mailer::new(&config(&server)).unwrap();
    for (recipient, code, error) in [
        ("gone@example.com", 550, "the SMTP server refused the message: 550"),
        ("busy@example.com", 451, "the SMTP server cannot accept the message now: 451"),
    ] {
        let sent = send(&mailer, TenantId::generate(), &[recipient]).await;
        assert_eq!((sent.outcome, sent.code), (Outcome::HttpStatus, Some(code)), "{:?}", sent.error);
        assert!(sent.error.as_ref().unwrap().starts_with(error), "{:?}", sent.error);
    }
    let tenant = TenantId::generate();
    let many: Vec<String> = (0..10).map(|n| format!("a{n}@example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(send(&mailer, tenant, &many).await.outcome, Outcome::Success);
    let limited = send(&mailer, tenant, &["a@example.com"]).await;
    assert_eq!((limited.outcome, limited.code), (Outcome::HttpStatus, Some(429)));
    assert!(limited.retry_after.is_some() && limited.error.unwrap().contains("limit of 10"));
}

#[tokio::test]
async fn an_untrusted_certificate_a_wrong_password_and_no_server_are_outcomes_without_secrets() {
    let server = server(Encryption::Tls).await;
    let untrusted = Mailer::new(&MailerConfig { ca_file: None, ..config(&server) }).unwrap();
    let sent = send(&untrusted, TenantId::generate(), &["a@example.com"]).await;
    assert_eq!((sent.outcome, sent.code), (Outcome::TlsFailed, None), "{:?}", sent.error);
    let wrong = server.url().replace("word@", "wrong-s3cret@");
    let wrong = Mailer::new(&MailerConfig { url: wrong.into(), ..config(&server) }).unwrap();
    let sent = send(&wrong, TenantId::generate(), &["a@example.com"]).await;
    assert_eq!((sent.outcome, sent.code), (Outcome::ConnectFailed, None), "{:?}", sent.error);
    assert!(!format!("{sent:?}").contains("s3cret"), "{sent:?}");
    let nowhere = Mailer::new(&MailerConfig { url: "smtps://127.0.0.1:1".into(), ..config(&server) }).unwrap();
    let sent = send(&nowhere, TenantId::generate(), &["a@example.com"]).await;
    assert_eq!(sent.outcome, Outcome::ConnectFailed, "{:?}", sent.error);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_refused() {
    let server = server(Encryption::Tls).await;
    let with = |edit: fn(&mut MailerConfig)| {
        let mut config = config(&server);
        edit(&mut config);
        Mailer::new(&config).unwrap_err()
    };
    assert!(matches!(with(|config| config.from = "nobody".into()), MailError::From));
    assert!(matches!(with(|config| config.url = "http://127.0.0.1".into()), MailError::Url(_)));
    assert!(matches!(with(|config| config.ca_file = Some("/nope".into())), MailError::CaFile { .. }));
}
