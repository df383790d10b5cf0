//! Discord: webhooks, which take Markdown.

use postrider_egress::Response;
use postrider_model::limits::DISCORD_MESSAGE_CHARS_MAX;
use postrider_model::notification::Notification;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fit::{Fitted, Space, fit};
use super::{explain, request_delay};

/// Codes that disable the endpoint: the webhook's token is wrong, or the webhook was deleted.
pub(super) const DISABLING: [u16; 2] = [401, 404];
/// The flag of a message that shows no previews of links.
const SUPPRESS_EMBEDS: u32 = 1 << 2;
/// Characters of Discord's Markdown: emphasis, spoilers, code, links, mentions and custom emoji.
const MARKUP: [char; 9] = ['\\', '*', '_', '~', '`', '|', '[', ']', '<'];

/// Builds the message.
pub(super) fn message(notification: &Notification) -> Value {
    let space = Space { units_max: DISCORD_MESSAGE_CHARS_MAX, per_line: 8, escape };
    let Fitted { title, lines, time } = fit(notification, &space);
    let lines = lines.into_iter().map(|(name, value)| match name.is_empty() {
        true => value,
        false => format!("**{name}:** {value}"),
    });
    let content: Vec<String> = std::iter::once(format!("**{title}**")).chain(lines).chain([time]).collect();
    json!({"content": content.join("\n"), "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS})
}

/// Escapes Markdown, except in words that are plain URLs, in which Discord would show the backslashes.
fn escape(text: &str) -> String {
    let words: Vec<String> = text.split(' ').map(escape_word).collect();
    // The message itself forbids notifications. The invisible space also keeps Discord from showing the text as a mention.
    words.join(" ").replace("@everyone", "@\u{200b}everyone").replace("@here", "@\u{200b}here")
}

fn escape_word(word: &str) -> String {
    if is_plain_url(word) {
        return word.to_owned();
    }
    let mut escaped = String::with_capacity(word.len() + 8);
    for (index, character) in word.chars().enumerate() {
        // At the start of a line, these begin a heading, a quotation or a list.
        let begins_block = index == 0 && matches!(character, '#' | '>' | '-' | '+');
        if begins_block || MARKUP.contains(&character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// Whether a word is a URL without characters that could end it and begin a link with another target.
fn is_plain_url(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'+,;=%".contains(&byte);
    (word.starts_with("https://") || word.starts_with("http://")) && word.bytes().all(is_plain)
}

/// The error in Discord's response, and the delay of a rate limit in seconds.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DiscordAnswer {
    message: String,
    retry_after: Option<f64>,
}

/// Interprets a response.
pub(super) fn judge(response: &mut Response) {
    let answer: DiscordAnswer = serde_json::from_slice(&response.excerpt).unwrap_or_default();
    request_delay(response, answer.retry_after.filter(|_| response.status_code == Some(429)));
    explain(response, "Discord", &answer.message);
}
