//! Chat channels: a customer's events in Slack, Discord, Microsoft Teams and Telegram. The stand-ins respond as documented by the
//! services.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Deployment, Received, Receiver, Stage};

const SLACK: &str = "/services/T00000000/B00000000/slack-secret-0123456789";
const DISCORD: &str = "/api/webhooks/123456789/discord-secret-0123456789";
const TEAMS: &str = "/workflows/0123456789/triggers/manual?sig=teams-secret-0123456789";
const BOT_TOKEN: &str = "123456789:telegram-secret-0123456789-0123456789";
const SECRETS: [&str; 4] = ["slack-secret", "discord-secret", "teams-secret", "telegram-secret"];

/// A deployment whose chat services are a stand-in.
async fn stage(name: &str) -> Stage {
    let stand_in = Receiver::start().await;
    let base = stand_in.url("");
    let host = base.strip_prefix("http://").expect("an http URL").to_owned();
    let settings = [("POSTRIDER_CHAT_HOSTS", host.as_str()), ("POSTRIDER_TELEGRAM_URL", &base)];
    let deployment = Deployment::start_with(name, &settings).await;
    let mut stage = Stage::on(deployment, "standard").await;
    stage.receiver = stand_in;
    stage
}

/// The members of an endpoint of a channel.
fn members(stage: &Stage, channel: &str) -> Value {
    let webhook = |path: &str| json!({"channel": channel, "chat": {"webhook_url": stage.receiver.url(path)}});
    match channel {
        "slack" => webhook(SLACK),
        "discord" => webhook(DISCORD),
        "teams" => webhook(TEAMS),
        _ => json!({"channel": channel, "telegram": {"bot_token": BOT_TOKEN, "chat_id": "-1001"}}),
    }
}

/// The path of a channel's requests.
fn target(channel: &str) -> String {
    match channel {
        "slack" => SLACK.into(),
        "discord" => DISCORD.into(),
        "teams" => TEAMS.into(),
        _ => format!("/bot{BOT_TOKEN}/sendMessage"),
    }
}

/// Creates an endpoint of a channel and returns its document.
async fn endpoint(stage: &Stage, channel: &str, more: Value) -> Value {
    let mut document = json!({"name": channel, "event_types": ["*"]});
    for given in [members(stage, channel), more] {
        document.as_object_mut().expect("an object").extend(given.as_object().expect("members").clone());
    }
    let made = stage.tenant.post("/v1/endpoints", &document).await;
    stage.deployment.configuration_in_force().await;
    made
}

/// What each service answers to a message that it takes.
fn taken(channel: &str) -> Answer {
    match channel {
        "slack" => Answer::status(200).body("ok"),
        "discord" => Answer::status(204),
        "teams" => Answer::status(202),
        _ => Answer::status(200).body(r#"{"ok":true,"result":{"message_id":7}}"#),
    }
}

fn bounced(email: &str) -> Value {
    json!({"type": "email.bounced", "timestamp": "2024-01-15T10:30:00Z",
        "data": {"ignored": [1], "reason": "mailbox full", "email": email}, "attributes": {"sending_domain": "mail.example.com"}})
}

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

fn assert_no_secret(document: &Value) {
    let text = document.to_string();
    assert!(SECRETS.iter().all(|secret| !text.contains(secret)), "{document:#}");
}

/// Guarantee (Who gets an event): Slack, Discord, Microsoft Teams and Telegram: readable texts, their limits, refusals and rates.
#[tokio::test]
async fn an_event_is_a_readable_message_in_every_chat() {
    let stage = stage("chat-message").await;
    let channels = ["slack", "discord", "teams", "telegram"];
    let mut made = Vec::new();
    for channel in channels {
        stage.receiver.answer_at(&target(channel), taken(channel));
        made.push(endpoint(&stage, channel, json!({})).await);
    }
    let id = stage.tenant.publish(&bounced("a@example.com <!channel> @everyone")).await;
    let requests = stage.receiver.take(4).await;
    let of = |channel: &str| requests.iter().find(|request| request.target == target(channel)).expect("a request");
    let lines = |value: &Value| value.as_str().expect("a text").lines().map(str::to_owned).collect::<Vec<_>>();
    let time = "2024-01-15 10:30:00 UTC";
    let email = "Email: a@example.com &lt;!channel&gt; @everyone";
    let domain = "Sending domain: mail.example.com";
    assert_eq!(lines(&body(of("slack"))["text"]), ["email.bounced", email, "Reason: mailbox full", domain, time]);
    let discord = body(of("discord"));
    let expected = ["**email.bounced**", "**Email:** a@example.com \\<!channel> @\u{200b}everyone"];
    assert_eq!(lines(&discord["content"])[..2], expected);
    assert_eq!(discord["allowed_mentions"], json!({"parse": []}));
    let card = &body(of("teams"))["attachments"][0]["content"];
    assert_eq!(
        (&card["type"], &card["body"][0]["inlines"][0]["text"]),
        (&json!("AdaptiveCard"), &json!("email.bounced"))
    );
    let telegram = body(of("telegram"));
    assert_eq!(lines(&telegram["text"])[1], "<b>Email:</b> a@example.com &lt;!channel&gt; @\u{200b}everyone");
    assert_eq!(telegram["chat_id"], "-1001");
    for request in &requests {
        let names = request.header_names_but(&["accept", "accept-encoding", "content-length", "host"]);
        assert_eq!(
            (names, request.header("content-type")),
            (vec!["content-type".into(), "user-agent".into()], "application/json")
        );
    }

    // The secrets are in no answer and in no record.
    let path = format!("/v1/deliveries?event_id={id}");
    let all = |page: &Value| {
        page["data"].as_array().is_some_and(|all| all.iter().filter(|d| d["status"] == "delivered").count() == 4)
    };
    let deliveries = stage.tenant.wait_for(&path, all).await;
    for delivery in deliveries["data"].as_array().expect("deliveries") {
        let shown = stage.tenant.get(&format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap())).await;
        assert_eq!(shown["attempts"][0]["outcome"], "success", "{shown:#}");
        assert!(shown["attempts"][0]["url"].as_str().unwrap().contains("***"), "{shown:#}");
        let notification: Value = serde_json::from_str(shown["body"].as_str().expect("a body")).unwrap();
        assert_eq!((&notification["title"], &notification["time"]), (&json!("email.bounced"), &json!(time)));
        assert_no_secret(&shown);
    }
    for made in &made {
        let shown = stage.tenant.get(&format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await;
        assert_eq!((shown["chat"].clone(), made.get("secret")), (made["chat"].clone(), None));
        assert_no_secret(&shown);
        assert_no_secret(made);
    }
    assert_eq!(made[0]["chat"]["webhook_url"], json!(format!("{}6789", stage.receiver.url("/********"))));
    assert_eq!(made[3]["telegram"], json!({"bot_token": "********", "chat_id": "-1001"}));
    assert_no_secret(&stage.tenant.get("/v1/audit-log").await);
}

/// Guarantee: as `chat::an_event_is_a_readable_message_in_every_chat`.
#[tokio::test]
async fn an_edit_keeps_the_secret_of_a_chat_and_a_test_call_uses_it() {
    let stage = stage("chat-edit").await;
    stage.receiver.answer_at(SLACK, taken("slack"));
    let made = endpoint(&stage, "slack", json!({"status": "inactive"})).await;
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    let edited = stage
        .tenant
        .patch(&path, &json!({"name": "renamed", "chat": {"webhook_url": made["chat"]["webhook_url"]}}))
        .await;
    assert_eq!((&edited["name"], &edited["chat"]), (&json!("renamed"), &made["chat"]));
    let attempt = stage.tenant.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!((&attempt["outcome"], stage.receiver.next().await.target.as_str()), (&json!("success"), SLACK));
    let (status, problem) = stage.tenant.try_post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(status, 409, "there is no secret: {problem:#}");
    let outside = json!({"name": "x", "channel": "slack", "event_types": ["*"],
        "chat": {"webhook_url": "https://hooks.example.com/services/slack-secret-0123456789"}});
    let (status, problem) = stage.tenant.try_post("/v1/endpoints", &outside).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/chat/webhook_url")), "{problem:#}");
    assert_no_secret(&problem);
    let migma = stage.deployment.tenant("migma").await;
    let (status, problem) = migma.try_post("/v1/endpoints", &outside).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/channel")), "only where the profile has it");
}

/// Guarantee: as `chat::an_event_is_a_readable_message_in_every_chat`.
#[tokio::test]
async fn a_rate_limit_of_a_chat_is_honoured_and_the_message_retried() {
    let stage = stage("chat-limited").await;
    let limited = [
        ("discord", 429, r#"{"message":"You are being rate limited.","retry_after":3.5,"global":false}"#, 3_500),
        (
            "telegram",
            200,
            r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":4}}"#,
            4_000,
        ),
    ];
    for (channel, status, answer, wait_ms) in limited {
        let made = endpoint(&stage, channel, json!({"retry_schedule_seconds": [1, 1]})).await;
        stage.receiver.answer_next([Answer::status(status).body(answer), taken(channel)]);
        let id = stage.tenant.publish(&bounced("a@example.com")).await;
        let requests = stage.receiver.take(2).await;
        let waited = requests[1].arrived.duration_since(requests[0].answered);
        assert!(waited >= Duration::from_millis(wait_ms), "{channel}: tried again after {waited:?}");
        assert_eq!(requests[1].body, requests[0].body);
        let delivery = stage.tenant.wait_for_delivery(&id, "delivered").await;
        let first = &delivery["attempts"][0];
        assert_eq!((&first["outcome"], &first["status_code"]), (&json!("http_status"), &json!(429)), "{delivery:#}");
        assert!(first["error"].as_str().unwrap().contains("limits the rate of messages"), "{delivery:#}");
        stage.tenant.delete(&format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await;
        stage.deployment.configuration_in_force().await;
    }
}

/// Guarantee: as `chat::an_event_is_a_readable_message_in_every_chat`.
#[tokio::test]
async fn a_message_that_a_chat_refuses_is_not_retried_and_a_gone_webhook_is_disabled() {
    let stage = stage("chat-refused").await;
    let failed = "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413";
    for (channel, status, answer, error, end) in [
        ("slack", 410, "channel_is_archived", "Slack refused the message: channel_is_archived", "disabled"),
        (
            "discord",
            404,
            r#"{"message":"Unknown Webhook","code":10015}"#,
            "Discord refused the message: Unknown Webhook",
            "disabled",
        ),
        (
            "discord",
            400,
            r#"{"message":"Cannot send an empty message","code":50006}"#,
            "Discord refused the message: Cannot send an empty message",
            "active",
        ),
        ("teams", 200, failed, failed, "active"),
        (
            "telegram",
            403,
            r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked"}"#,
            "Forbidden: bot was blocked",
            "disabled",
        ),
    ] {
        let made = endpoint(&stage, channel, json!({})).await;
        stage.receiver.answer_next([Answer::status(status).body(answer)]);
        let id = stage.tenant.publish(&bounced("a@example.com")).await;
        stage.receiver.next().await;
        let delivery = stage.tenant.wait_for_delivery(&id, "failed").await;
        let attempts = delivery["attempts"].as_array().expect("attempts");
        assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &json!("http_status")), "{delivery:#}");
        assert!(attempts[0]["error"].as_str().unwrap().contains(error), "{delivery:#}");
        let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
        stage.tenant.wait_for(&path, |endpoint| endpoint["status"] == end).await;
        stage.tenant.delete(&path).await;
        stage.deployment.configuration_in_force().await;
    }
}
