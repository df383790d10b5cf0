//! Slack: incoming webhooks, which take a text and blocks.
//!
//! The blocks are rich text, whose elements Slack shows literally. Notifications and services that accept Slack's messages show
//! the text, whose markup is off and in which `&`, `<` and `>` are escaped.

use postrider_egress::Response;
use postrider_model::limits::SLACK_MESSAGE_CHARS_MAX;
use postrider_model::notification::Notification;
use serde_json::{Value, json};

use super::fit::{Fitted, Space, fit};
use super::{explain, short_text};

/// Codes that disable the endpoint: the webhook was revoked, its channel is gone or archived, or an administrator forbids it.
pub(super) const DISABLING: [u16; 3] = [403, 404, 410];

/// Builds the message.
pub(super) fn message(notification: &Notification) -> Value {
    let space = |escape| Space { units_max: SLACK_MESSAGE_CHARS_MAX, per_line: 4, escape };
    let Fitted { title, lines, time } = fit(notification, &space(str::to_owned));
    let bold = |text: String| json!({"type": "text", "text": text, "style": {"bold": true}});
    let plain = |text: String| json!({"type": "text", "text": text});
    let mut elements = vec![bold(title)];
    for (name, value) in lines {
        if name.is_empty() {
            elements.push(plain(format!("\n{value}")));
        } else {
            elements.extend([bold(format!("\n{name}: ")), plain(value)]);
        }
    }
    elements.push(json!({"type": "text", "text": format!("\n{time}"), "style": {"italic": true}}));
    json!({
        "text": text(fit(notification, &space(escape))),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}],
    })
}

fn text(Fitted { title, lines, time }: Fitted) -> String {
    let lines = lines.into_iter().map(|(name, value)| if name.is_empty() { value } else { format!("{name}: {value}") });
    std::iter::once(title).chain(lines).chain([time]).collect::<Vec<_>>().join("\n")
}

/// Escapes the three characters that begin Slack's links and mentions.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Interprets a response. The body of a refusal is a word such as `channel_is_archived`.
pub(super) fn judge(response: &mut Response) {
    let said = short_text(response);
    explain(response, "Slack", &said);
}
