//! Telegram: messages of a bot, by the Bot API, which takes HTML.

use postrider_egress::{Response, Url};
use postrider_model::attempt::{Outcome, SECRET_MASK};
use postrider_model::limits::TELEGRAM_MESSAGE_CHARS_MAX;
use postrider_model::notification::Notification;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::fit::{Fitted, Space, fit};
use super::{Target, explain, request_delay};

/// Codes that disable the endpoint: the bot's token is wrong or revoked, or the bot was blocked or removed from the chat.
pub(super) const DISABLING: [u16; 3] = [401, 403, 404];

/// Returns the URL for messages of a bot, and the parts of its token.
pub(super) fn target(base: &Url, token: &SecretString) -> (Target, Vec<SecretString>) {
    let url = |token: &str| {
        let mut url = base.clone();
        url.set_path(&format!("{}/bot{token}/sendMessage", base.path().trim_end_matches('/')));
        url
    };
    let key = token.expose_secret().split_once(':').map(|(_, key)| SecretString::from(key));
    let secrets = std::iter::once(token.clone()).chain(key).collect();
    (Target { url: url(token.expose_secret()), shown: url(SECRET_MASK).into() }, secrets)
}

/// Builds the message.
pub(super) fn message(notification: &Notification, chat_id: &str) -> Value {
    let space = Space { units_max: TELEGRAM_MESSAGE_CHARS_MAX, per_line: 10, escape };
    let Fitted { title, lines, time } = fit(notification, &space);
    let lines = lines.into_iter().map(|(name, value)| match name.is_empty() {
        true => value,
        false => format!("<b>{name}:</b> {value}"),
    });
    let text: Vec<String> =
        std::iter::once(format!("<b>{title}</b>")).chain(lines).chain([format!("<i>{time}</i>")]).collect();
    json!({
        "chat_id": chat_id,
        "text": text.join("\n"),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": true},
    })
}

/// Escapes HTML. An `@` that begins a word is followed by an invisible space, because Telegram notifies the member with that
/// name. E-mail addresses remain as they are.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' if !before.is_alphanumeric() => escaped.push_str("@\u{200b}"),
            other => escaped.push(other),
        }
        before = character;
    }
    escaped
}

/// The result in Telegram's response.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TelegramAnswer {
    ok: bool,
    error_code: Option<u16>,
    description: String,
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    retry_after: Option<f64>,
    migrate_to_chat_id: Option<i64>,
}

/// Interprets a response. A 2xx with `"ok": true` means that Telegram sent the message. The code in a body with `"ok": false`
/// replaces a 2xx.
///
/// An incomplete 2xx response also counts as sent, because a retry would send the message a second time.
pub(super) fn judge(response: &mut Response) {
    let answer: TelegramAnswer = serde_json::from_slice(&response.excerpt).unwrap_or_default();
    if response.outcome == Outcome::Success {
        if answer.ok || response.incomplete || response.excerpt.starts_with(b"{\"ok\":true,") {
            return;
        }
        let code = answer.error_code.filter(|code| (400..=599).contains(code));
        response.outcome = if code.is_some() { Outcome::HttpStatus } else { Outcome::ProtocolError };
        response.status_code = code.or(response.status_code);
    }
    request_delay(response, answer.parameters.retry_after.filter(|_| response.status_code == Some(429)));
    let moved = answer.parameters.migrate_to_chat_id;
    let moved = moved.map(|id| format!("; the group has a new id, set chat_id to {id}")).unwrap_or_default();
    explain(response, "Telegram", &format!("{}{moved}", answer.description));
}
