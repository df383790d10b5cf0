//! The client against a real SMTP server: what it takes, what it refuses, and what the client tells about it.

use std::time::Duration;

use futures::FutureExt as _;
use postrider_mail::{Mail, MailError, Mailer, MailerConfig, Recipients, Sent};
use postrider_model::attempt::Outcome;
use postrider_model::ids::TenantId;
use postrider_model::limits::SMTP_CONNECTIONS_MAX;
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
        allowed: Recipients::of_domains(&["example.com".into()]),
        per_tenant_and_hour: 10,
        per_tenant_and_day: 100,
    }
}

fn notification() -> Notification {
    Notification::new("email.bounced", "", [("email", "ä@example.com")], UnixMillis(0))
}

/// The result of sending to these recipients.
async fn send(mailer: &Mailer, tenant: TenantId, recipients: &[&str]) -> Sent {
    send_within(TIMEOUT, mailer, tenant, recipients).await
}

async fn send_within(timeout: Duration, mailer: &Mailer, tenant: TenantId, recipients: &[&str]) -> Sent {
    let recipients: Vec<String> = recipients.iter().map(|address| (*address).to_owned()).collect();
    let notification = notification();
    let mail = Mail { id: "dlv_1", recipients: &recipients, sender: Some("Acme"), notification: &notification };
    mailer.send(tenant, &mail, timeout).await
}

#[tokio::test]
async fn messages_arrive_encrypted_over_a_connection_each() {
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
        }
        clients.sort_unstable();
        clients.dedup();
        assert_eq!(clients.len(), 5, "no connection is used again");
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

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_answer_to_a_later_message() {
    let mut server = server(Encryption::Tls).await;
    let mailer = Mailer::new(&config(&server)).unwrap();
    let late = send_within(Duration::from_secs(1), &mailer, TenantId::generate(), &["slow@example.com"]).await;
    assert_eq!((late.outcome, late.code), (Outcome::Timeout, None), "{:?}", late.error);
    let gone = send(&mailer, TenantId::generate(), &["gone@example.com"]).await;
    assert_eq!((gone.outcome, gone.code), (Outcome::HttpStatus, Some(550)), "{:?}", gone.error);
    let sent = send(&mailer, TenantId::generate(), &["a@example.com"]).await;
    assert_eq!((sent.outcome, sent.code), (Outcome::Success, Some(250)), "{:?}", sent.error);
    assert_eq!(server.next().await.unwrap().recipients, ["a@example.com"]);
}

#[tokio::test]
async fn an_unreachable_server_uses_up_no_limit() {
    let server = server(Encryption::Tls).await;
    let many: Vec<String> = (0..10).map(|n| format!("a{n}@example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wrong = server.url().replace("word@", "wrong@");
    for (url, ca_file, outcome) in [
        ("smtps://127.0.0.1:1".to_owned(), Some(server.ca_file()), Outcome::ConnectFailed),
        (wrong, Some(server.ca_file()), Outcome::ConnectFailed),
        (server.url(), None, Outcome::TlsFailed),
    ] {
        let mailer = Mailer::new(&MailerConfig { url: url.into(), ca_file, ..config(&server) }).unwrap();
        let tenant = TenantId::generate();
        for _ in 0..2 {
            let sent = send(&mailer, tenant, &many).await;
            assert_eq!((sent.outcome, sent.code), (outcome, None), "{:?}", sent.error);
        }
    }
}

#[tokio::test]
async fn a_recipient_whose_domain_is_no_longer_allowed_gets_nothing() {
    let mut server = server(Encryption::Tls).await;
    let mailer = Mailer::new(&config(&server)).unwrap();
    let tenant = TenantId::generate();
    for _ in 0..20 {
        let sent = send(&mailer, tenant, &["a@example.com", "b@elsewhere.example"]).await;
        assert_eq!((sent.outcome, sent.code), (Outcome::HttpStatus, Some(550)));
        let error = "b@elsewhere.example: the operator does not allow e-mail to this domain";
        assert_eq!(sent.error.as_deref(), Some(error));
    }
    let sent = send(&mailer, tenant, &["c@example.com"]).await;
    assert_eq!((sent.outcome, sent.code), (Outcome::Success, Some(250)), "{:?}", sent.error);
    assert_eq!(server.next().await.unwrap().recipients, ["c@example.com"]);
}

#[tokio::test]
async fn a_limited_number_of_connections_is_open_at_a_time() {
    let server = server(Encryption::Tls).await;
    // It takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let mailer = Mailer::new(&MailerConfig { url: url.into(), ..config(&server) }).unwrap();
    let tenant = TenantId::generate();
    let send_within = |seconds| {
        let mailer = mailer.clone();
        let timeout = Duration::from_secs(seconds);
        tokio::spawn(async move { send_within(timeout, &mailer, tenant, &["a@example.com"]).await })
    };
    let first: Vec<_> = (0..SMTP_CONNECTIONS_MAX).map(|_| send_within(600)).collect();
    let mut accepted = Vec::new();
    for _ in &first {
        accepted.push(silent.accept().await.unwrap());
    }
    for further in [send_within(1), send_within(1), send_within(1)] {
        let sent = further.await.unwrap();
        assert_eq!(sent.outcome, Outcome::Timeout);
        assert_eq!(sent.error.as_deref(), Some("no connection to the SMTP server within 1 s"));
    }
    let more = silent.accept().now_or_never();
    assert!(more.is_none(), "more connections than allowed: {more:?}");
    // A closed connection makes room for the next.
    drop(accepted);
    let next = send_within(600);
    silent.accept().await.unwrap();
    next.abort();
    first.iter().for_each(tokio::task::JoinHandle::abort);
}
