//! What each chat service is sent, and what its responses mean.

use std::time::Duration;

use postrider_model::attempt::StatusVerdict;
use postrider_model::limits::{
    DISCORD_MESSAGE_CHARS_MAX, SLACK_MESSAGE_CHARS_MAX, TEAMS_CARD_CHARS_MAX, TELEGRAM_MESSAGE_CHARS_MAX,
};
use serde_json::{Value, json};

use super::*;
use crate::testing;

const CHATS: [Channel; 4] = [Channel::Slack, Channel::Discord, Channel::Teams, Channel::Telegram];
const BOT_TOKEN: &str = "123456789:AAH-bot-token-that-is-secret-0123456";
const WEBHOOK: &str =
    "https://hooks.slack.com/services/T00000000/B00000000/webhook-secret-0123456789?sig=query-secret-0123456";

fn secret(channel: Channel) -> &'static str {
    if channel == Channel::Telegram { BOT_TOKEN } else { WEBHOOK }
}

fn messenger(channel: Channel) -> (Messenger, Target) {
    let endpoint = testing::chat_endpoint(channel, secret(channel));
    Messenger::new(&endpoint.document, &endpoint.private, &testing::service_urls()).unwrap().unwrap()
}

/// The message of a notification. JSON has no spaces.
fn sent(channel: Channel, notification: &Notification) -> (Value, String) {
    let body = serde_json::to_vec(notification).unwrap();
    let payload = messenger(channel).0.payload(&body, &"a.b".parse().unwrap());
    (serde_json::from_slice(&payload).unwrap(), String::from_utf8(payload.into()).unwrap())
}

fn bounced() -> Notification {
    let facts = [("email", "a@example.com"), ("bounce_type", "hard & fast")];
    Notification::new("email.bounced", "An e-mail bounced", facts, UnixMillis(1_705_314_600_000))
}

#[test]
fn each_service_gets_a_readable_message_in_its_own_markup() {
    let (slack, _) = sent(Channel::Slack, &bounced());
    let text =
        "email.bounced\nAn e-mail bounced\nEmail: a@example.com\nBounce type: hard &amp; fast\n2024-01-15 10:30:00 UTC";
    assert_eq!((&slack["text"], &slack["mrkdwn"]), (&json!(text), &json!(false)));
    let elements = &slack["blocks"][0]["elements"][0]["elements"];
    assert_eq!(elements[0], json!({"type": "text", "text": "email.bounced", "style": {"bold": true}}));
    assert_eq!(elements[5], json!({"type": "text", "text": "hard & fast"}), "{elements:#}");

    let (discord, _) = sent(Channel::Discord, &bounced());
    let content = "**email.bounced**\nAn e-mail bounced\n**Email:** a@example.com\n**Bounce type:** hard & fast\n2024-01-15 10:30:00 UTC";
    assert_eq!(discord, json!({"content": content, "allowed_mentions": {"parse": []}, "flags": 4}));

    let (teams, _) = sent(Channel::Teams, &bounced());
    let card = &teams["attachments"][0];
    assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive");
    let body = &card["content"]["body"];
    assert_eq!(body[0]["inlines"][0]["text"], "email.bounced");
    assert_eq!(
        (&body[3]["inlines"][0]["text"], &body[3]["inlines"][1]["text"]),
        (&json!("Bounce type: "), &json!("hard & fast"))
    );

    let (telegram, _) = sent(Channel::Telegram, &bounced());
    let text = "<b>email.bounced</b>\nAn e-mail bounced\n<b>Email:</b> a@example.com\n<b>Bounce type:</b> hard &amp; fast\n\
                <i>2024-01-15 10:30:00 UTC</i>";
    assert_eq!((&telegram["text"], &telegram["chat_id"]), (&json!(text), &json!("-100123")));
    assert_eq!(
        (&telegram["parse_mode"], &telegram["link_preview_options"]),
        (&json!("HTML"), &json!({"is_disabled": true}))
    );
}

#[test]
fn no_text_mentions_people_or_hides_the_target_of_a_link() {
    let check = |channel, value: &str, expected: &str| {
        let made = Notification::new("t", "", [("v", value)], UnixMillis(0));
        let (message, _) = sent(channel, &made);
        let shown = match channel {
            Channel::Discord => &message["content"],
            Channel::Teams => &message["attachments"][0]["content"]["body"][1]["inlines"][1]["text"],
            _ => &message["text"],
        };
        let shown = shown.as_str().unwrap();
        let line = if channel == Channel::Teams { shown } else { shown.lines().nth(1).unwrap() };
        let start = line.find([' ']).filter(|_| channel != Channel::Teams).map_or(0, |at| at + 1);
        assert_eq!(&line[start..], expected, "{channel}: {value}");
    };
    check(
        Channel::Slack,
        "<!channel> <@U1> <https://evil.example|bank>",
        "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.example|bank&gt;",
    );
    check(Channel::Discord, "@everyone <@1> @here", "@\u{200b}everyone \\<@1> @\u{200b}here");
    check(Channel::Discord, "[bank](https://evil.example)", "\\[bank\\](https://evil.example)");
    check(
        Channel::Discord,
        "https://a.example/[b](https://evil.example)",
        "https://a.example/\\[b\\](https://evil.example)",
    );
    check(
        Channel::Discord,
        "https://a.example/x_y?z=1 a_b *c* # `d` ||e||",
        "https://a.example/x_y?z=1 a\\_b \\*c\\* \\# \\`d\\` \\|\\|e\\|\\|",
    );
    check(
        Channel::Telegram,
        "<a href='https://evil.example'>bank</a> @admin (@b) a@b.c",
        "&lt;a href='https://evil.example'&gt;bank&lt;/a&gt; @\u{200b}admin (@\u{200b}b) a@b.c",
    );
    // A text run has neither Markdown nor mentions.
    check(Channel::Teams, "[bank](https://evil.example) <at>all</at>", "[bank](https://evil.example) <at>all</at>");
    let slack = sent(Channel::Slack, &Notification::new("t", "", [("v", "<!channel>")], UnixMillis(0))).0;
    assert_eq!(slack["blocks"][0]["type"], "rich_text", "whose elements are literal");
}

#[test]
fn a_long_message_is_cut_to_the_limit_of_its_service() {
    let value = "<\"😀&*\\".repeat(60);
    let facts: Vec<(&str, &str)> = (0..16).map(|_| ("name", value.as_str())).collect();
    let text = "*😀".repeat(500);
    let long = Notification::new(&"<ü>".repeat(60), &text, facts, UnixMillis(0));
    let units = |text: &str| text.encode_utf16().count();
    let of = |channel| sent(channel, &long);
    let (slack, telegram, discord) = (of(Channel::Slack).0, of(Channel::Telegram).0, of(Channel::Discord).0);
    for (text, most) in [
        (&slack["text"], SLACK_MESSAGE_CHARS_MAX),
        (&telegram["text"], TELEGRAM_MESSAGE_CHARS_MAX),
        (&discord["content"], DISCORD_MESSAGE_CHARS_MAX),
    ] {
        let text = text.as_str().unwrap();
        assert!(units(text) <= most && units(text) > most - 40, "{} of {most}", units(text));
        assert!(text.contains("…\n") && text.contains("1970-01-01"), "{text}");
    }
    assert!(units(&of(Channel::Teams).1) <= TEAMS_CARD_CHARS_MAX);
}

#[track_caller]
fn check(channel: Channel, code: u16, body: &str, expected: (Outcome, u16), error: Option<&str>) -> Option<Duration> {
    let mut response = Response {
        outcome: if (200..300).contains(&code) { Outcome::Success } else { Outcome::HttpStatus },
        status_code: Some(code),
        headers: Vec::new(),
        excerpt: Bytes::copy_from_slice(body.as_bytes()),
        retry_after: None,
        first_byte: None,
        duration: Duration::ZERO,
        incomplete: false,
        error: None,
    };
    messenger(channel).0.judge(&mut response);
    let judged = (response.outcome, response.status_code.unwrap());
    assert_eq!((judged, response.error.as_deref()), (expected, error), "{channel} {code} {body}");
    response.retry_after
}

#[test]
fn responses_mean_what_each_service_documents() {
    let (good, refused) = (Outcome::Success, Outcome::HttpStatus);
    check(Channel::Slack, 200, "ok", (good, 200), None);
    let archived = Some("Slack refused the message: channel_is_archived");
    check(Channel::Slack, 410, "channel_is_archived", (refused, 410), archived);
    check(Channel::Slack, 500, "rollup_error", (refused, 500), Some("Slack cannot accept messages now: rollup_error"));
    check(Channel::Slack, 429, "", (refused, 429), Some("Slack limits the rate of messages"));
    check(Channel::Slack, 502, "<html>", (refused, 502), Some("Slack cannot accept messages now"));

    check(Channel::Discord, 204, "", (good, 204), None);
    let unknown = r#"{"message": "Unknown Webhook", "code": 10015}"#;
    check(Channel::Discord, 404, unknown, (refused, 404), Some("Discord refused the message: Unknown Webhook"));
    let limited = r#"{"message": "You are being rate limited.", "retry_after": 1.5, "global": false}"#;
    let said = Some("Discord limits the rate of messages: You are being rate limited.");
    assert_eq!(check(Channel::Discord, 429, limited, (refused, 429), said), Some(Duration::from_millis(1_500)));

    check(Channel::Teams, 202, "", (good, 202), None);
    check(Channel::Teams, 200, "1", (good, 200), None);
    let failed = |code| {
        format!(
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {code} with ContextId x"
        )
    };
    let said = format!("Microsoft Teams limits the rate of messages: {}", failed("429"));
    check(Channel::Teams, 200, &failed("429"), (refused, 429), Some(&said));
    let said = format!("Microsoft Teams refused the message: {}", failed("413"));
    check(Channel::Teams, 200, &failed("413"), (refused, 413), Some(&said));
    let said = "Microsoft Teams's response does not confirm the message: Webhook message delivery failed with error: x";
    let unclear = "Webhook message delivery failed with error: x";
    check(Channel::Teams, 200, unclear, (Outcome::ProtocolError, 200), Some(said));
    let off = r#"{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"The workflow is off."}}"#;
    check(Channel::Teams, 404, off, (refused, 404), Some("Microsoft Teams refused the message: The workflow is off."));

    check(Channel::Telegram, 200, r#"{"ok":true,"result":{}}"#, (good, 200), None);
    check(Channel::Telegram, 200, r#"{"ok":true,"result":{"text":"cut off"#, (good, 200), None);
    let limited = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 7","parameters":{"retry_after":7}}"#;
    let said = Some("Telegram limits the rate of messages: Too Many Requests: retry after 7");
    for code in [429, 200] {
        assert_eq!(check(Channel::Telegram, code, limited, (refused, 429), said), Some(Duration::from_secs(7)));
    }
    let unconfirmed = Some("Telegram's response does not confirm the message");
    check(Channel::Telegram, 200, "<html>", (Outcome::ProtocolError, 200), unconfirmed);
    let moved = r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded","parameters":{"migrate_to_chat_id":-1001}}"#;
    let said = "Telegram refused the message: Bad Request: group chat was upgraded; the group has a new id, set chat_id to -1001";
    check(Channel::Telegram, 400, moved, (refused, 400), Some(said));
}

#[test]
fn a_wrong_configuration_disables_and_a_rate_limit_retries() {
    for (channel, code, verdict) in [
        (Channel::Slack, 400, StatusVerdict::Fail),
        (Channel::Slack, 404, StatusVerdict::Disable),
        (Channel::Slack, 410, StatusVerdict::Disable),
        (Channel::Discord, 401, StatusVerdict::Disable),
        (Channel::Teams, 413, StatusVerdict::Fail),
        (Channel::Telegram, 400, StatusVerdict::Fail),
        (Channel::Telegram, 403, StatusVerdict::Disable),
    ] {
        assert_eq!(messenger(channel).0.statuses.verdict(code), verdict, "{channel} {code}");
    }
    for channel in CHATS {
        let verdict = |code| messenger(channel).0.statuses.verdict(code);
        assert_eq!((verdict(200), verdict(204)), (StatusVerdict::Success, StatusVerdict::Success));
        assert!([302, 408, 429, 500, 503].into_iter().all(|code| verdict(code) == StatusVerdict::Retry), "{channel}");
    }
}

#[test]
fn the_target_shows_no_secret_and_the_secret_parts_of_the_url_are_known() {
    let (messenger, target) = messenger(Channel::Telegram);
    assert_eq!(target.url.as_str(), format!("https://api.telegram.org/bot{BOT_TOKEN}/sendMessage"));
    assert_eq!(target.shown, "https://api.telegram.org/bot***/sendMessage");
    let known: Vec<&str> = messenger.secrets.iter().map(|secret| secret.expose_secret()).collect();
    assert_eq!(known, [BOT_TOKEN, "AAH-bot-token-that-is-secret-0123456"]);
    let (messenger, target) = self::messenger(Channel::Slack);
    assert_eq!((target.url.as_str(), target.shown.as_str()), (WEBHOOK, "https://chat.example/********"));
    let known: Vec<&str> = messenger.secrets.iter().map(|secret| secret.expose_secret()).collect();
    assert_eq!(known, [WEBHOOK, "webhook-secret-0123456789", "query-secret-0123456"]);
    for channel in CHATS {
        let printed = format!("{:?}", self::messenger(channel));
        assert!(!printed.contains("secret-0123456"), "{printed}");
    }
}
