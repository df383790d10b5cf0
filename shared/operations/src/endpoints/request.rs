//! Requests that create or edit an endpoint, and how they become what is stored.

use std::collections::BTreeMap;

use postrider_model::batch::Batch;
use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::{Channel, SignatureKey};
use postrider_model::notice::Notify;
use postrider_model::ordering::Ordering;
use postrider_store::config::{EndpointDocument, EndpointDraft, EndpointPrivate, PushoverCredentials};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat::{ChatFields, EmailFields, TelegramFields};
use super::recover::RecoverSince;
use crate::tenants::clearable;

/// Answers show this in place of a secret value. An edit that contains it keeps the stored value.
pub const MASK: &str = "********";

/// The Pushover user that an endpoint sends to. A key or token is 30 letters and digits, and answers do not show it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PushoverFields {
    /// The key of the user or group. An edit keeps the key if this field is absent or `********`.
    #[schema(example = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG")]
    pub user_key: Option<String>,
    /// The API token of the application. An edit keeps the token if this field is absent or `********`.
    #[schema(example = "azGDORePK8gMaC0QOYAMyEEuzJnyUi")]
    pub api_token: Option<String>,
    /// The sound of the notifications: `Mute`, `Vibrate`, `Pushover`, `Bike`, `Bugle`, `Cash Register`, `Classical`, `Cosmic`,
    /// `Falling`, `Gamelan`, `Incoming`, `Intermission`, `Magic`, `Mechanical`, `Piano Bar`, `Siren`, `Space Alarm`, `Tug Boat`,
    /// `Alien Alarm`, `Climb`, `Persistent`, `Echo`, `Up Down`, `None`. `Mute` and `None` are silent.
    #[schema(example = "Cash Register")]
    pub sound: Option<String>,
}

/// The statuses that a customer can choose; only Postrider disables an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedStatus {
    /// It receives events.
    #[default]
    Active,
    /// It receives no events. Test calls still work.
    Inactive,
    /// Its deliveries wait until it is active again. Test calls still work.
    Paused,
}

impl From<RequestedStatus> for EndpointStatus {
    fn from(status: RequestedStatus) -> Self {
        match status {
            RequestedStatus::Active => Self::Active,
            RequestedStatus::Inactive => Self::Inactive,
            RequestedStatus::Paused => Self::Paused,
        }
    }
}

/// An endpoint to be created.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEndpoint {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "bounces")]
    pub name: String,
    /// A description for people, at most 2,000 bytes.
    pub description: Option<String>,
    /// Your own JSON object, at most 16 KiB.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// How deliveries reach the endpoint.
    #[serde(default)]
    pub channel: Channel,
    /// The URL that deliveries are sent to. Required for the channel `web`.
    #[schema(example = "https://example.com/hooks")]
    pub url: Option<String>,
    /// The Pushover user. Required for the channel `pushover`, with its key and token.
    pub pushover: Option<PushoverFields>,
    /// The webhook of the chat service. Required for the channels `slack`, `discord` and `teams`.
    pub chat: Option<ChatFields>,
    /// The Telegram chat. Required for the channel `telegram`, with its bot token and chat id.
    pub telegram: Option<TelegramFields>,
    /// The addresses. Required for the channel `email`.
    pub email: Option<EmailFields>,
    /// The event types to receive: at least one type, pattern of types (`email.*`), or `*` for all types.
    #[schema(example = json!(["email.*"]))]
    pub event_types: Vec<String>,
    /// For each attribute, the accepted values. An event is delivered if each of these attributes has one of its accepted values.
    #[serde(default)]
    pub filters: BTreeMap<String, Vec<String>>,
    /// A condition on `data.*`, `metadata.*` and `attributes.*`: `{"all": [..]}`, `{"any": [..]}`, `{"not": {..}}`, or a test
    /// with `eq`, `ne`, `in`, `prefix`, `suffix`, `gt`, `gte`, `lt`, `lte` or `exists`. At most 5 levels and 50 tests.
    #[schema(value_type = Option<Object>, example = json!({"field": "data.amount", "op": "gt", "value": 5}))]
    pub payload_filter: Option<serde_json::Value>,
    /// Names and values of headers to add to each request, at most 20. Answers show the names only.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the endpoint receives events.
    #[serde(default)]
    pub status: RequestedStatus,
    /// A secret of your own, 16 bytes to 256 characters: `whsec_` and the base64 of 16 to 64 bytes. A profile with another
    /// signature than `webhook-signature` accepts any text. Generated if absent; the keys of an `ed25519` endpoint are always
    /// generated.
    pub secret: Option<String>,
    /// The kind of key that makes `webhook-signature`.
    #[serde(default)]
    pub signature_key: SignatureKey,
    /// The delays between attempts, in seconds; empty for no retries. The profile's delays if absent.
    pub retry_schedule_seconds: Option<Vec<u32>>,
    /// The timeout of an attempt, 1 to 60 s. The profile's timeout if absent.
    pub timeout_seconds: Option<u32>,
    /// The maximum rate, in attempts per second. The profile's rate if absent.
    pub rate_per_second: Option<f64>,
    /// Lets the deliveries of events with the same key be attempted one after the other, in the order in which the events were
    /// accepted. If absent, deliveries have no order.
    pub ordering: Option<Ordering>,
    /// Lets several events be sent in one request, which is signed as a whole. If absent, each event has its own request. Not
    /// together with `ordering`, and only for the channel `web`.
    pub batch: Option<Batch>,
    /// The endpoint that gets a notice when this one is failing, is disabled or paused, or has recovered. None if absent.
    pub notify: Option<Notify>,
    /// Whether bodies escape all non-ASCII characters.
    #[serde(default)]
    pub ascii_json: bool,
    /// The name of the header with the secret token, for profiles that authenticate by a token.
    pub token_header: Option<String>,
}

/// An edit of an endpoint. A field that is left out keeps its value; `null` removes the value. The secret is replaced by
/// `rotate-secret` instead.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditEndpoint {
    /// A name for people, 1 to 200 bytes.
    #[schema(example = "bounces")]
    pub name: Option<String>,
    /// A description for people.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// Your own JSON object.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
    /// The channel. It cannot change; create another endpoint for another channel.
    pub channel: Option<Channel>,
    /// The URL that deliveries are sent to.
    pub url: Option<String>,
    /// Replaces the Pushover fields that are given.
    pub pushover: Option<PushoverFields>,
    /// Replaces the webhook of the chat service.
    pub chat: Option<ChatFields>,
    /// Replaces the Telegram fields that are given.
    pub telegram: Option<TelegramFields>,
    /// Replaces the addresses.
    pub email: Option<EmailFields>,
    /// Replaces the event types.
    pub event_types: Option<Vec<String>>,
    /// Replaces all filters.
    pub filters: Option<BTreeMap<String, Vec<String>>>,
    /// Replaces the payload filter.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Object>)]
    pub payload_filter: Option<Option<serde_json::Value>>,
    /// Replaces all headers; the value `********` keeps a header's value.
    pub headers: Option<BTreeMap<String, String>>,
    /// Whether the endpoint receives events.
    pub status: Option<RequestedStatus>,
    /// Recovers the endpoint, which must be active after this edit: delivers the events that it did not receive.
    pub recover: Option<RecoverSince>,
    /// The kind of key. It cannot change; create another endpoint for another kind.
    pub signature_key: Option<SignatureKey>,
    /// The delays between attempts, in seconds.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Vec<u32>>)]
    pub retry_schedule_seconds: Option<Option<Vec<u32>>>,
    /// The timeout of an attempt, in seconds.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>)]
    pub timeout_seconds: Option<Option<u32>>,
    /// The maximum rate, in attempts per second.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<f64>)]
    pub rate_per_second: Option<Option<f64>>,
    /// The order of the deliveries. Deliveries that wait in the order of before are attempted first.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Ordering>)]
    pub ordering: Option<Option<Ordering>>,
    /// When several events are sent in one request. The new value replaces the whole object.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Batch>)]
    pub batch: Option<Option<Batch>>,
    /// The endpoint that gets a notice when this one is failing, is disabled or paused, or has recovered.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Notify>)]
    pub notify: Option<Option<Notify>>,
    /// Whether bodies escape all non-ASCII characters.
    pub ascii_json: Option<bool>,
    /// The name of the header with the secret token.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub token_header: Option<Option<String>>,
}

fn secret_headers(headers: BTreeMap<String, String>) -> Vec<(String, SecretString)> {
    headers.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect()
}

impl CreateEndpoint {
    /// Converts the request to what would be stored, without checking it.
    pub(crate) fn into_draft(self) -> EndpointDraft {
        let mut pushover = self.pushover;
        let document = EndpointDocument {
            name: self.name,
            description: self.description,
            metadata: self.metadata.map(serde_json::Value::Object),
            channel: self.channel,
            url: self.url,
            sound: pushover.as_mut().and_then(|pushover| pushover.sound.take()),
            webhook_shown: None,
            chat_id: None,
            recipients: self.email.map(|email| email.recipients).unwrap_or_default(),
            event_types: self.event_types,
            filters: self.filters,
            payload_filter: self.payload_filter,
            header_names: Vec::new(),
            signature_key: self.signature_key,
            public_key: None,
            next_public_key: None,
            retry_schedule_seconds: self.retry_schedule_seconds,
            timeout_seconds: self.timeout_seconds,
            rate_per_second: self.rate_per_second,
            ordering: self.ordering,
            ordering_generation: 0,
            batch: self.batch,
            notify: self.notify,
            ascii_json: self.ascii_json,
            token_header: self.token_header,
        };
        let pushover = pushover.map(|given| PushoverCredentials {
            user_key: given.user_key.unwrap_or_default().into(),
            api_token: given.api_token.unwrap_or_default().into(),
        });
        let private = EndpointPrivate { headers: secret_headers(self.headers), token: None, pushover, chat: None };
        let mut draft = EndpointDraft { document, status: self.status.into(), private };
        self.chat.into_iter().for_each(|chat| chat.apply(&mut draft));
        self.telegram.into_iter().for_each(|telegram| telegram.apply(&mut draft));
        draft
    }
}

impl EditEndpoint {
    /// Applies the edit without checking it. Returns the names of the members that it sets.
    pub(crate) fn apply(self, draft: &mut EndpointDraft) -> Vec<&'static str> {
        let mut touched = Vec::new();
        let document = &mut draft.document;
        macro_rules! set {
            ($name:literal, $from:expr, $to:expr) => {
                if let Some(value) = $from {
                    $to = value;
                    touched.push($name);
                }
            };
        }
        set!("name", self.name, document.name);
        set!("description", self.description, document.description);
        set!("metadata", self.metadata.map(|m| m.map(serde_json::Value::Object)), document.metadata);
        set!("channel", self.channel, document.channel);
        set!("url", self.url.map(Some), document.url);
        set!("event_types", self.event_types, document.event_types);
        set!("filters", self.filters, document.filters);
        set!("payload_filter", self.payload_filter, document.payload_filter);
        set!("signature_key", self.signature_key, document.signature_key);
        set!("retry_schedule_seconds", self.retry_schedule_seconds, document.retry_schedule_seconds);
        set!("timeout_seconds", self.timeout_seconds, document.timeout_seconds);
        set!("rate_per_second", self.rate_per_second, document.rate_per_second);
        set!("ordering", self.ordering, document.ordering);
        set!("batch", self.batch, document.batch);
        set!("notify", self.notify, document.notify);
        set!("ascii_json", self.ascii_json, document.ascii_json);
        set!("token_header", self.token_header, document.token_header);
        set!("status", self.status.map(EndpointStatus::from), draft.status);
        if let Some(given) = self.pushover {
            touched.push("pushover");
            let old = draft.private.pushover.take();
            let kept = |given: Option<String>, old: Option<SecretString>| match given.filter(|given| given != MASK) {
                Some(given) => given.into(),
                None => old.unwrap_or_else(|| String::new().into()),
            };
            let (user_key, api_token) = old.map(|old| (old.user_key, old.api_token)).unzip();
            draft.private.pushover = Some(PushoverCredentials {
                user_key: kept(given.user_key, user_key),
                api_token: kept(given.api_token, api_token),
            });
            document.sound = given.sound.or(document.sound.take());
        }
        set!("email", self.email.map(|email| email.recipients), document.recipients);
        if let Some(chat) = self.chat {
            touched.push("chat");
            chat.apply(draft);
        }
        if let Some(telegram) = self.telegram {
            touched.push("telegram");
            telegram.apply(draft);
        }
        if let Some(headers) = self.headers {
            touched.push("headers");
            let old = std::mem::take(&mut draft.private.headers);
            draft.private.headers = secret_headers(headers);
            for (name, value) in &mut draft.private.headers {
                let kept = old.iter().find(|(before, _)| before.eq_ignore_ascii_case(name));
                if let Some((_, kept)) = kept
                    && value.expose_secret() == MASK
                {
                    *value = kept.clone();
                }
            }
        }
        touched
    }
}
