//! An endpoint of a chat channel.

use postrider_egress::{AddressGuard, Url};
use postrider_model::endpoint::{Channel, UrlRule};
use postrider_model::limits::TELEGRAM_FIELD_BYTES_MAX;
use postrider_store::config::EndpointDraft;
use secrecy::ExposeSecret;

use super::only_web;
use crate::error::Mistakes;

/// Minimum number of characters of the key in a Telegram bot's token.
const BOT_KEY_CHARS_MIN: usize = 30;

/// Requires the webhook URL of the service, and refuses the fields of other channels.
pub(super) fn check_webhook(draft: &EndpointDraft, guard: &AddressGuard, mistakes: &mut Mistakes) {
    let channel = draft.document.channel;
    only_web(draft, mistakes);
    if draft.document.chat_id.is_some() {
        return mistakes.add("/telegram", format!("the channel is {channel}"));
    }
    let Some(url) = draft.private.chat.as_ref().filter(|_| draft.document.webhook_shown.is_some()) else {
        return mistakes.add("/chat", format!("the channel {channel} needs webhook_url"));
    };
    // An error never quotes the URL, which is a secret.
    match guard.check_url(url.expose_secret(), UrlRule::HttpsOnly) {
        _ if url.expose_secret().is_empty() => {
            mistakes.add("/chat/webhook_url", format!("the webhook URL that {} gave out", channel.label()));
        }
        Err(refused) => mistakes.add("/chat/webhook_url", refused.to_string()),
        Ok(url) if !is_of_service(channel, &url) && !guard.is_chat_host(&url) => {
            let (label, example) = (channel.label(), example(channel));
            mistakes.add("/chat/webhook_url", format!("not a webhook URL of {label}, which is such as {example}"));
        }
        Ok(_) => {}
    }
}

/// Requires a bot and a chat, and refuses the fields of other channels.
pub(super) fn check_telegram(draft: &EndpointDraft, mistakes: &mut Mistakes) {
    only_web(draft, mistakes);
    if draft.document.webhook_shown.is_some() {
        return mistakes.add("/chat", "the channel is telegram");
    }
    let (Some(token), Some(chat_id)) = (&draft.private.chat, &draft.document.chat_id) else {
        return mistakes.add("/telegram", "the channel telegram needs bot_token and chat_id");
    };
    if !is_bot_token(token.expose_secret()) {
        mistakes.add(
            "/telegram/bot_token",
            "a number, a colon and a key of letters, digits, - and _, as @BotFather shows it",
        );
    }
    if !is_chat_id(chat_id) {
        mistakes.add("/telegram/chat_id", "an id such as -1001234567890, or a public name such as @alerts");
    }
}

/// Whether a URL is a webhook of the service, by its host and path.
fn is_of_service(channel: Channel, url: &Url) -> bool {
    let (host, path) = (url.host_str().unwrap_or_default(), url.path());
    let is_default_port = url.port().is_none();
    is_default_port
        && match channel {
            Channel::Slack => {
                ["hooks.slack.com", "hooks.slack-gov.com"].contains(&host) && path.starts_with("/services/")
            }
            Channel::Discord => {
                let hosts = ["discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"];
                // Paths that end so take the formats of other services.
                let is_own_format = !path.ends_with("/slack") && !path.ends_with("/github");
                hosts.contains(&host) && path.starts_with("/api/") && path.contains("/webhooks/") && is_own_format
            }
            Channel::Teams => {
                let domains = [".webhook.office.com", ".logic.azure.com", ".api.powerplatform.com"];
                domains.iter().any(|domain| host.ends_with(domain)) && path.len() > 1
            }
            Channel::Web | Channel::Pushover | Channel::Telegram | Channel::Email => false,
        }
}

fn example(channel: Channel) -> &'static str {
    match channel {
        Channel::Slack => "https://hooks.slack.com/services/…",
        Channel::Discord => "https://discord.com/api/webhooks/…",
        _ => "https://….api.powerplatform.com/…",
    }
}

fn is_bot_token(token: &str) -> bool {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    token.len() <= TELEGRAM_FIELD_BYTES_MAX
        && token.split_once(':').is_some_and(|(bot, key)| {
            !bot.is_empty()
                && bot.bytes().all(|byte| byte.is_ascii_digit())
                && key.len() >= BOT_KEY_CHARS_MIN
                && key.bytes().all(is_key)
        })
}

fn is_chat_id(chat: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match chat.strip_prefix('@') {
        Some(name) => !name.is_empty() && chat.len() <= TELEGRAM_FIELD_BYTES_MAX && name.bytes().all(is_name),
        None => chat.parse::<i64>().is_ok_and(|id| id != 0) && !chat.starts_with('+'),
    }
}
