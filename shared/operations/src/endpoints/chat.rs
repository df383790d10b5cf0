//! The fields of the chat channels and of e-mail, as requests set them and as answers show them.

use postrider_model::endpoint::Channel;
use postrider_store::config::{EndpointDocument, EndpointDraft};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::{Position, Url};
use utoipa::ToSchema;

use super::request::MASK;

/// Minimum number of characters of the secret part of a URL of which the last ones are shown.
const SHOWN_FROM_CHARS: usize = 24;
/// Number of characters that are shown.
const SHOWN_CHARS: usize = 4;

/// The webhook of a chat service that an endpoint sends to.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatFields {
    /// The webhook URL that Slack, Discord or Microsoft Teams gave out. It is a secret: answers show its host and last characters. An
    /// edit keeps the URL if this field is absent or contains `********`.
    #[schema(example = "https://hooks.slack.com/services/T00000000/B00000000/xxxxxxxxxxxxxxxxxxxxxxxx")]
    pub webhook_url: Option<String>,
}

/// The Telegram chat that an endpoint sends to.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramFields {
    /// The token of the bot, as @BotFather shows it. An edit keeps the token if this field is absent or `********`.
    #[schema(example = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0")]
    pub bot_token: Option<String>,
    /// The id of the chat, such as `-1001234567890`, or the public name of a channel or group, such as `@alerts`. The bot must be a
    /// member of it.
    #[schema(example = "-1001234567890")]
    pub chat_id: Option<String>,
}

/// The addresses that an endpoint sends e-mail to.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailFields {
    /// 1 to 10 addresses of domains that the operator allows. Each sees the others.
    #[schema(example = json!(["alerts@example.com"]))]
    pub recipients: Vec<String>,
}

/// The webhook of a chat service, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChatShown {
    /// The scheme, host and last characters of the URL.
    #[schema(example = "https://hooks.slack.com/********1aB2")]
    pub webhook_url: String,
}

/// The Telegram chat of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct TelegramShown {
    /// Always `********`.
    pub bot_token: &'static str,
    /// The chat.
    #[schema(example = "-1001234567890")]
    pub chat_id: String,
}

impl ChatFields {
    /// Sets the fields of an endpoint, without checking them.
    pub(super) fn apply(self, draft: &mut EndpointDraft) {
        match self.webhook_url.filter(|url| !url.contains(MASK)) {
            Some(url) => {
                draft.document.webhook_shown = Some(shown(&url));
                draft.private.chat = Some(url.into());
            }
            // Without a stored URL, the check finds an empty one.
            None => {
                draft.document.webhook_shown.get_or_insert_default();
                draft.private.chat.get_or_insert_with(|| SecretString::from(""));
            }
        }
    }
}

impl TelegramFields {
    /// Sets the fields of an endpoint, without checking them.
    pub(super) fn apply(self, draft: &mut EndpointDraft) {
        match self.bot_token.filter(|token| token != MASK) {
            Some(token) => draft.private.chat = Some(token.into()),
            None => {
                draft.private.chat.get_or_insert_with(|| SecretString::from(""));
            }
        }
        let stored = draft.document.chat_id.take();
        draft.document.chat_id = self.chat_id.or(stored).or(Some(String::new()));
    }
}

impl EmailFields {
    pub(super) fn of(document: &EndpointDocument) -> Option<Self> {
        (document.channel == Channel::Email).then(|| Self { recipients: document.recipients.clone() })
    }
}

impl ChatShown {
    pub(super) fn of(document: &EndpointDocument) -> Option<Self> {
        let shown = document.webhook_shown.clone().filter(|_| document.channel.has_webhook_url());
        shown.map(|webhook_url| Self { webhook_url })
    }
}

impl TelegramShown {
    pub(super) fn of(document: &EndpointDocument) -> Option<Self> {
        let chat_id = document.chat_id.clone().filter(|_| document.channel == Channel::Telegram);
        chat_id.map(|chat_id| Self { bot_token: MASK, chat_id })
    }
}

/// Returns the part of a webhook URL that is not secret: scheme and host, and the last characters of a long URL.
fn shown(url: &str) -> String {
    let Ok(parsed) = Url::parse(url) else { return MASK.to_owned() };
    let secret: Vec<char> = parsed[Position::BeforePath..].chars().collect();
    let last = if secret.len() >= SHOWN_FROM_CHARS { &secret[secret.len() - SHOWN_CHARS..] } else { &[] };
    let server = format!("{}://{}", parsed.scheme(), &parsed[Position::BeforeHost..Position::AfterPort]);
    format!("{server}/{MASK}{}", last.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_url_is_shown_by_its_host_and_last_characters() {
        let check = |url: &str, expected| assert_eq!(shown(url), expected, "{url}");
        check("https://hooks.slack.com/services/T0/B0/0123456789abcdefWXYZ", "https://hooks.slack.com/********WXYZ");
        check("https://u:p@a.example:8443/x?sig=0123456789abcdefghijWXYZ", "https://a.example:8443/********WXYZ");
        check("https://a.example/short", "https://a.example/********");
        check("not a url", "********");
    }
}
