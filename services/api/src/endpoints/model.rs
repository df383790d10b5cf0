//! Endpoints as requests and answers show them, and how one becomes the other.

use std::collections::BTreeMap;

use postrider_model::breaker::BreakerStatement;
use postrider_model::delivery::EndpointStatus;
use postrider_model::time::UnixMillis;
use postrider_store::config::{
    Channel as StoredChannel, Endpoint as StoredEndpoint, EndpointDocument, EndpointDraft, EndpointPrivate,
    PushoverCredentials, SignatureKey as StoredSignatureKey,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::breaker::Breaker;
use crate::request::clearable;
use crate::time::{shown, shown_if};

/// Stands for the value of an endpoint's own header, which is not shown again. In an edit it means "as it is".
pub(crate) const MASK: &str = "********";

/// How deliveries reach an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channel {
    /// An HTTP POST to its URL.
    #[default]
    Web,
    /// A message to a Pushover user. Only for profiles whose `channels` name it.
    Pushover,
}

/// Whom to notify through Pushover. Keys are 30 letters and digits; they are not shown again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PushoverSettings {
    /// The user's or group's key. In an edit, absent or `********`: as it is.
    #[schema(example = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG")]
    pub(crate) user_key: Option<String>,
    /// The application's API token. In an edit, absent or `********`: as it is.
    #[schema(example = "azGDORePK8gMaC0QOYAMyEEuzJnyUi")]
    pub(crate) api_token: Option<String>,
    /// One of `Mute`, `Vibrate`, `Pushover`, `Bike`, `Bugle`, `Cash Register`, `Classical`, `Cosmic`, `Falling`, `Gamelan`,
    /// `Incoming`, `Intermission`, `Magic`, `Mechanical`, `Piano Bar`, `Siren`, `Space Alarm`, `Tug Boat`, `Alien Alarm`,
    /// `Climb`, `Persistent`, `Echo`, `Up Down`, `None`. `Mute` and `None` are silent.
    #[schema(example = "Cash Register")]
    pub(crate) sound: Option<String>,
}

/// Whom an endpoint notifies through Pushover.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushoverShown {
    /// Always `********`.
    pub(crate) user_key: &'static str,
    /// Always `********`.
    pub(crate) api_token: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sound: Option<String>,
}

/// What `webhook-signature` is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SignatureKey {
    /// HMAC-SHA256 with the shared secret.
    #[default]
    Hmac,
    /// Ed25519 with a key pair: the receiver holds the public key. Only for profiles whose one signature is
    /// `webhook-signature`.
    Ed25519,
}

/// What a customer can say about an endpoint's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WantedStatus {
    /// It takes events.
    #[default]
    Active,
    /// It takes none; tests work all the same.
    Inactive,
}

/// Whether an endpoint takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It does.
    Active,
    /// Its customer switched it off.
    Inactive,
    /// The engine switched it off.
    Disabled,
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateEndpoint {
    /// 1 to 200 bytes, for people.
    pub(crate) name: String,
    /// At most 2,000 bytes, for people.
    pub(crate) description: Option<String>,
    /// Your own JSON object, at most 16 KiB.
    pub(crate) metadata: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    pub(crate) channel: Channel,
    /// Where deliveries are sent. Required for the channel `web`.
    #[schema(example = "https://example.com/hooks")]
    pub(crate) url: Option<String>,
    /// Required for the channel `pushover`, all of it.
    pub(crate) pushover: Option<PushoverSettings>,
    /// Event types: one exactly, everything below a dot (`email.*`), or all (`*`). Not empty.
    #[schema(example = json!(["email.*"]))]
    pub(crate) event_types: Vec<String>,
    /// Attribute -> values. Several values: any of them; several attributes: all of them.
    #[serde(default)]
    pub(crate) filters: BTreeMap<String, Vec<String>>,
    /// A condition on `data.*`, `metadata.*` and `attributes.*`: `{"all": [..]}`, `{"any": [..]}`, `{"not": {..}}`, or a test
    /// with `eq ne in prefix suffix gt gte lt lte exists`. At most 5 levels and 50 tests.
    #[schema(value_type = Option<Object>, example = json!({"field": "data.amount", "op": "gt", "value": 5}))]
    pub(crate) payload_filter: Option<serde_json::Value>,
    /// Headers of its own, name -> value, at most 20. Values are not shown again.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) status: WantedStatus,
    /// A secret of your own, 16 bytes to 256 characters: `whsec_` and base64 of 16 to 64 bytes; where the profile has a signature beside
    /// `webhook-signature`, any text. One is made when absent. Keys of `ed25519` are always made.
    pub(crate) secret: Option<String>,
    #[serde(default)]
    pub(crate) signature_key: SignatureKey,
    /// Delays between attempts, seconds; empty: no retries; absent: the profile's.
    pub(crate) retry_schedule_seconds: Option<Vec<u32>>,
    /// Longest time of an attempt, 1 to 60 s; absent: the profile's.
    pub(crate) timeout_seconds: Option<u32>,
    /// Highest rate, attempts a second; absent: the profile's.
    pub(crate) rate_per_second: Option<f64>,
    /// Escape everything that is not ASCII in bodies.
    #[serde(default)]
    pub(crate) ascii_json: bool,
    /// Another name for the header that carries the secret token, for profiles that authenticate so.
    pub(crate) token_header: Option<String>,
}

/// An edit of an endpoint: what is absent stays, what is `null` is cleared. The secret is replaced by `rotate-secret`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditEndpoint {
    #[schema(example = "bounces")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub(crate) description: Option<Option<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<Option<serde_json::Map<String, serde_json::Value>>>,
    /// Must be what it is: another channel takes another endpoint.
    pub(crate) channel: Option<Channel>,
    pub(crate) url: Option<String>,
    /// What it names is replaced.
    pub(crate) pushover: Option<PushoverSettings>,
    pub(crate) event_types: Option<Vec<String>>,
    /// Replaces all filters.
    pub(crate) filters: Option<BTreeMap<String, Vec<String>>>,
    /// Replaces the payload filter.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Object>)]
    pub(crate) payload_filter: Option<Option<serde_json::Value>>,
    /// Replaces all headers; the value `********` keeps a header's value as it is.
    pub(crate) headers: Option<BTreeMap<String, String>>,
    pub(crate) status: Option<WantedStatus>,
    /// Must be what it is: another kind of key takes another endpoint.
    pub(crate) signature_key: Option<SignatureKey>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Vec<u32>>)]
    pub(crate) retry_schedule_seconds: Option<Option<Vec<u32>>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>)]
    pub(crate) timeout_seconds: Option<Option<u32>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<f64>)]
    pub(crate) rate_per_second: Option<Option<f64>>,
    pub(crate) ascii_json: Option<bool>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub(crate) token_header: Option<Option<String>>,
}

/// An endpoint. Secrets and the values of its own headers are not shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Endpoint {
    #[schema(example = "ep_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) metadata: Option<serde_json::Value>,
    pub(crate) channel: Channel,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pushover: Option<PushoverShown>,
    #[schema(example = json!(["email.*"]))]
    pub(crate) event_types: Vec<String>,
    pub(crate) filters: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) payload_filter: Option<serde_json::Value>,
    /// Names of its own headers; each value reads `********`.
    pub(crate) headers: BTreeMap<String, &'static str>,
    pub(crate) status: Status,
    /// Why the engine switched it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_reason: Option<String>,
    /// When the engine switched it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) disabled_at: Option<String>,
    pub(crate) breaker: Breaker,
    pub(crate) signature_key: SignatureKey,
    /// What an `ed25519` endpoint's signatures are verified with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")]
    pub(crate) public_key: Option<String>,
    /// What they will be verified with from `next_secret_from` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_public_key: Option<String>,
    /// Its own delays; absent: the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_schedule_seconds: Option<Vec<u32>>,
    /// Its own timeout; absent: the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_seconds: Option<u32>,
    /// Its own rate; absent: the profile's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_per_second: Option<f64>,
    pub(crate) ascii_json: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_header: Option<String>,
    /// Until when a previous secret signs `webhook-signature`, too: the last of `previous_secrets_until`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) previous_secret_until: Option<String>,
    /// When the previous secrets stop signing `webhook-signature`, the newest secret's end first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) previous_secrets_until: Vec<String>,
    /// From when on the next secret signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_secret_from: Option<String>,
    /// Its ETag is `"v<version>"`.
    pub(crate) version: i64,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
}

/// An endpoint that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedEndpoint {
    #[serde(flatten)]
    pub(crate) endpoint: Endpoint,
    /// What its deliveries are signed with: shown this once. An `ed25519` endpoint has a `public_key` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub(crate) secret: Option<String>,
}

/// An endpoint in a list, with what its attempts came to within the retention.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointInList {
    #[serde(flatten)]
    pub(crate) endpoint: Endpoint,
    /// Attempts that succeeded.
    pub(crate) successes: u64,
    /// Attempts that failed.
    pub(crate) failures: u64,
}

/// A page of a tenant's endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndpointPage {
    /// Newest first.
    pub(crate) data: Vec<EndpointInList>,
    /// Give it as `cursor` to get the next page; `null`: this is the last.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
    /// Endpoints that the tenant has.
    pub(crate) usage: u32,
    /// Endpoints that the tenant may have.
    pub(crate) limit: u32,
}

impl Endpoint {
    /// As it is shown; `breaker`: what was said about its breaker last.
    pub(crate) fn new(endpoint: StoredEndpoint, breaker: Option<BreakerStatement>) -> Self {
        let now = UnixMillis::now();
        let public_key = endpoint.public_key_at(now).map(str::to_owned);
        let next_public_key = endpoint.next_public_key_at(now).map(str::to_owned);
        let previous_secrets_until = previous_ends(&endpoint, now);
        let last_end = endpoint.previous_secrets_until.iter().copied().filter(|until| *until > now).max();
        let document = endpoint.document;
        Self {
            id: endpoint.id.to_string(),
            tenant_id: endpoint.tenant.to_string(),
            name: document.name,
            description: document.description,
            metadata: document.metadata,
            channel: match document.channel {
                StoredChannel::Web => Channel::Web,
                StoredChannel::Pushover => Channel::Pushover,
            },
            url: document.url,
            pushover: (document.channel == StoredChannel::Pushover).then_some(PushoverShown {
                user_key: MASK,
                api_token: MASK,
                sound: document.sound,
            }),
            event_types: document.event_types,
            filters: document.filters,
            payload_filter: document.payload_filter,
            headers: document.header_names.into_iter().map(|name| (name, MASK)).collect(),
            status: match endpoint.status {
                EndpointStatus::Active => Status::Active,
                EndpointStatus::Inactive => Status::Inactive,
                EndpointStatus::Disabled => Status::Disabled,
            },
            disabled_reason: endpoint.disabled_reason,
            disabled_at: shown_if(endpoint.disabled_at),
            breaker: breaker.into(),
            signature_key: match document.signature_key {
                StoredSignatureKey::Hmac => SignatureKey::Hmac,
                StoredSignatureKey::Ed25519 => SignatureKey::Ed25519,
            },
            public_key,
            next_public_key,
            retry_schedule_seconds: document.retry_schedule_seconds,
            timeout_seconds: document.timeout_seconds,
            rate_per_second: document.rate_per_second,
            ascii_json: document.ascii_json,
            token_header: document.token_header,
            previous_secret_until: shown_if(last_end),
            previous_secrets_until,
            next_secret_from: shown_if(endpoint.next_secret_from),
            version: endpoint.version,
            created_at: shown(endpoint.created_at),
            updated_at: shown(endpoint.updated_at),
        }
    }
}

/// When the previous secrets that sign at `now` stop, the newest secret's end first.
pub(crate) fn previous_ends(endpoint: &StoredEndpoint, now: UnixMillis) -> Vec<String> {
    let ends = endpoint.previous_secrets_until.iter().copied();
    ends.filter(|until| *until > now).map(shown).collect()
}

fn stored_channel(channel: Channel) -> StoredChannel {
    match channel {
        Channel::Web => StoredChannel::Web,
        Channel::Pushover => StoredChannel::Pushover,
    }
}

fn stored_key(key: SignatureKey) -> StoredSignatureKey {
    match key {
        SignatureKey::Hmac => StoredSignatureKey::Hmac,
        SignatureKey::Ed25519 => StoredSignatureKey::Ed25519,
    }
}

fn stored_status(status: WantedStatus) -> EndpointStatus {
    match status {
        WantedStatus::Active => EndpointStatus::Active,
        WantedStatus::Inactive => EndpointStatus::Inactive,
    }
}

fn secret_headers(headers: BTreeMap<String, String>) -> Vec<(String, SecretString)> {
    headers.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect()
}

impl CreateEndpoint {
    /// What is to be stored, unchecked.
    pub(crate) fn into_draft(self) -> EndpointDraft {
        let mut pushover = self.pushover;
        let document = EndpointDocument {
            name: self.name,
            description: self.description,
            metadata: self.metadata.map(serde_json::Value::Object),
            channel: stored_channel(self.channel),
            url: self.url,
            sound: pushover.as_mut().and_then(|pushover| pushover.sound.take()),
            event_types: self.event_types,
            filters: self.filters,
            payload_filter: self.payload_filter,
            header_names: Vec::new(),
            signature_key: stored_key(self.signature_key),
            public_key: None,
            next_public_key: None,
            retry_schedule_seconds: self.retry_schedule_seconds,
            timeout_seconds: self.timeout_seconds,
            rate_per_second: self.rate_per_second,
            ascii_json: self.ascii_json,
            token_header: self.token_header,
        };
        let pushover = pushover.map(|given| PushoverCredentials {
            user_key: given.user_key.unwrap_or_default().into(),
            api_token: given.api_token.unwrap_or_default().into(),
        });
        let private = EndpointPrivate { headers: secret_headers(self.headers), token: None, pushover };
        EndpointDraft { document, status: stored_status(self.status), private }
    }
}

impl EditEndpoint {
    /// Applies the edit, unchecked. Returns the names of the members that it touches.
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
        set!("channel", self.channel.map(stored_channel), document.channel);
        set!("url", self.url.map(Some), document.url);
        set!("event_types", self.event_types, document.event_types);
        set!("filters", self.filters, document.filters);
        set!("payload_filter", self.payload_filter, document.payload_filter);
        set!("signature_key", self.signature_key.map(stored_key), document.signature_key);
        set!("retry_schedule_seconds", self.retry_schedule_seconds, document.retry_schedule_seconds);
        set!("timeout_seconds", self.timeout_seconds, document.timeout_seconds);
        set!("rate_per_second", self.rate_per_second, document.rate_per_second);
        set!("ascii_json", self.ascii_json, document.ascii_json);
        set!("token_header", self.token_header, document.token_header);
        set!("status", self.status.map(stored_status), draft.status);
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
        if let Some(headers) = self.headers {
            touched.push("headers");
            let old = std::mem::take(&mut draft.private.headers);
            draft.private.headers = secret_headers(headers);
            for (name, value) in &mut draft.private.headers {
                let kept = old.iter().find(|(before, _)| before.eq_ignore_ascii_case(name));
                if let Some((_, kept)) = kept
                    && secrecy::ExposeSecret::expose_secret(value) == MASK
                {
                    *value = kept.clone();
                }
            }
        }
        touched
    }
}
