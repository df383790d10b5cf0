//! How an endpoint is reached, and the kind of key that signs its deliveries.

use serde::{Deserialize, Serialize};

use crate::text::names;

/// How deliveries reach an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// An HTTP POST to the endpoint's URL.
    #[default]
    Web,
    /// A message to a Pushover user. Only for profiles whose `channels` include it, like every channel below.
    Pushover,
    /// A message to a Slack channel, by an incoming webhook.
    Slack,
    /// A message to a Discord channel, by a webhook.
    Discord,
    /// A card in a Microsoft Teams channel or chat, by a workflow's webhook.
    Teams,
    /// A message of a Telegram bot to a chat.
    Telegram,
    /// An e-mail through the operator's SMTP server.
    Email,
}
names!(Channel {
    Web => "web", Pushover => "pushover", Slack => "slack", Discord => "discord", Teams => "teams", Telegram => "telegram",
    Email => "email",
});

impl Channel {
    /// Every channel, in the order of the dashboard.
    pub const ALL: [Self; 7] =
        [Self::Web, Self::Pushover, Self::Slack, Self::Discord, Self::Teams, Self::Telegram, Self::Email];

    /// The name of the service for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Web => "Web",
            Self::Pushover => "Pushover",
            Self::Slack => "Slack",
            Self::Discord => "Discord",
            Self::Teams => "Microsoft Teams",
            Self::Telegram => "Telegram",
            Self::Email => "E-mail",
        }
    }

    /// Whether an endpoint of this channel is a webhook URL that a chat service gave out, which is a secret.
    pub fn has_webhook_url(self) -> bool {
        matches!(self, Self::Slack | Self::Discord | Self::Teams)
    }

    /// Whether deliveries are [notifications](crate::notification::Notification).
    pub fn is_chat(self) -> bool {
        self.has_webhook_url() || self == Self::Telegram
    }

    /// Maximum number of messages per second that the service accepts for one endpoint. An endpoint's own rate may be lower.
    pub fn rate_per_second_max(self) -> Option<f64> {
        match self {
            Self::Web | Self::Pushover => None,
            // Discord's limits are in its responses. 5 messages in 10 s stay below those in use.
            Self::Discord => Some(0.5),
            Self::Slack | Self::Teams | Self::Telegram | Self::Email => Some(1.0),
        }
    }

    /// The rate of an endpoint whose own or profile's rate is `wanted`: at most [`Self::rate_per_second_max`].
    pub fn rate_per_second(self, wanted: Option<f64>) -> Option<f64> {
        match (wanted, self.rate_per_second_max()) {
            (Some(wanted), Some(most)) => Some(wanted.min(most)),
            (wanted, most) => wanted.or(most),
        }
    }
}

/// The order of a list of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EndpointOrder {
    /// Newest first.
    #[default]
    Newest,
    /// By trouble: disabled or paused by Postrider; failing; 1 to 4 failures in a row; no failures; inactive, or paused by the
    /// customer. Within each group, newest first.
    Trouble,
    /// By name. Upper and lower case are equal.
    Name,
}
names!(EndpointOrder { Newest => "newest", Trouble => "trouble", Name => "name" });

/// The kind of key that makes `webhook-signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignatureKey {
    /// HMAC-SHA256 with the shared secret (`v1`).
    #[default]
    Hmac,
    /// Ed25519 with a key pair (`v1a`): the receiver holds the public key. Only for profiles whose only signature is
    /// `webhook-signature`.
    Ed25519,
}
names!(SignatureKey { Hmac => "hmac", Ed25519 => "ed25519" });

/// The schemes that endpoint URLs may have, in addition to the deployment's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlRule {
    /// Only `https`.
    HttpsOnly,
    /// `http` is allowed; `https` is recommended.
    HttpAllowed,
}
