//! Microsoft Teams: webhooks of workflows, and incoming webhooks, which take an Adaptive Card.
//!
//! The texts are text runs, in which Teams reads no Markdown and no mentions.

use postrider_egress::Response;
use postrider_model::attempt::Outcome;
use postrider_model::limits::TEAMS_CARD_CHARS_MAX;
use postrider_model::notification::Notification;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fit::{Fitted, Space, fit, units};
use super::{explain, short_text};

/// Codes that disable the endpoint: the URL's signature is wrong, or the workflow or webhook is gone.
pub(super) const DISABLING: [u16; 4] = [401, 403, 404, 410];
/// Number of characters of a card without its texts.
const CARD_CHARS: usize = 400;
/// Number of characters of a line without its texts.
const LINE_CHARS: usize = 200;
/// How the body of a 200 begins if the message was not delivered.
const FAILED: &str = "Webhook message delivery failed with error";
/// What precedes the code of the failure in that body.
const FAILED_WITH: &str = "HTTP error ";

/// Builds the message.
pub(super) fn message(notification: &Notification) -> Value {
    // Quotes and backslashes need two characters in JSON. The escaped text only measures; `json!` escapes the plain text.
    let space = Space { units_max: TEAMS_CARD_CHARS_MAX - CARD_CHARS, per_line: LINE_CHARS, escape: str::to_owned };
    let mut fitted = fit(notification, &space);
    let mut card = card(&fitted);
    while units(&card.to_string()) > TEAMS_CARD_CHARS_MAX && fitted.lines.pop().is_some() {
        card = self::card(&fitted);
    }
    card
}

fn card(Fitted { title, lines, time }: &Fitted) -> Value {
    let block = |inlines: Value| json!({"type": "RichTextBlock", "spacing": "Small", "inlines": inlines});
    let run = |text: &str| json!({"type": "TextRun", "text": text});
    let mut body = vec![block(json!([{"type": "TextRun", "text": title, "weight": "Bolder", "size": "Medium"}]))];
    for (name, value) in lines {
        body.push(match name.is_empty() {
            true => block(json!([run(value)])),
            false => block(json!([{"type": "TextRun", "text": format!("{name}: "), "weight": "Bolder"}, run(value)])),
        });
    }
    body.push(block(json!([{"type": "TextRun", "text": time, "isSubtle": true}])));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// The error in the response of a workflow.
#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkflowAnswer {
    error: WorkflowError,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WorkflowError {
    message: String,
}

/// Interprets a response. An incoming webhook reports failures of Teams in the body of a 200. Their code replaces the 200.
pub(super) fn judge(response: &mut Response) {
    let text = String::from_utf8_lossy(&response.excerpt).into_owned();
    if response.outcome == Outcome::Success
        && let Some((_, failure)) = text.split_once(FAILED)
    {
        let digits = failure.split_once(FAILED_WITH).map(|(_, code)| code.chars().take_while(char::is_ascii_digit));
        let code = digits.and_then(|digits| digits.collect::<String>().parse().ok());
        let code = code.filter(|code: &u16| (400..=599).contains(code));
        response.outcome = if code.is_some() { Outcome::HttpStatus } else { Outcome::ProtocolError };
        response.status_code = code.or(response.status_code);
    }
    let answer: WorkflowAnswer = serde_json::from_slice(&response.excerpt).unwrap_or_default();
    let said = if answer.error.message.is_empty() { short_text(response) } else { answer.error.message };
    explain(response, "Microsoft Teams", &said);
}
