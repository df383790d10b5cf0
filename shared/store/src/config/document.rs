//! An endpoint: its document, which has no secrets, its status, and the fields that the store adds.

use std::collections::BTreeMap;

use postrider_model::batch::Batch;
use postrider_model::delivery::{BodyKind, EndpointStatus};
use postrider_model::endpoint::{Channel, SignatureKey};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::notice::Notify;
use postrider_model::ordering::Ordering;
use postrider_model::time::UnixMillis;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;

use super::{EndpointPrivate, Rotation};
use crate::sql::Column;

/// The customer's settings of an endpoint, without secrets. The store keeps a copy of every version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct EndpointDocument {
    /// A name for people.
    pub name: String,
    /// A description for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The customer's own JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// How deliveries reach the endpoint.
    #[serde(default)]
    pub channel: Channel,
    /// The URL, for [`Channel::Web`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The sound, for [`Channel::Pushover`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// The part of a chat service's webhook URL that is shown, such as `https://hooks.slack.com/********1aB2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_shown: Option<String>,
    /// The id or public name of the chat, for [`Channel::Telegram`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// The addresses, for [`Channel::Email`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Patterns of event types; not empty.
    pub event_types: Vec<String>,
    /// The accepted values of attributes, by attribute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, Vec<String>>,
    /// The payload filter, as the customer wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_filter: Option<serde_json::Value>,
    /// The names of [`EndpointPrivate::headers`], which the store copies here. The values are sealed elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header_names: Vec<String>,
    /// The kind of key that signs the endpoint's deliveries.
    #[serde(default)]
    pub signature_key: SignatureKey,
    /// The public key (`whpk_…`) of an endpoint that signs with [`SignatureKey::Ed25519`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The public key that replaces `public_key` at the time of a planned rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_public_key: Option<String>,
    /// The endpoint's own retry schedule. `None`: the profile's schedule applies; empty: no retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_schedule_seconds: Option<Vec<u32>>,
    /// The endpoint's own attempt timeout, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// The endpoint's own maximum rate, in attempts per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// The order of the endpoint's deliveries. `None`: they are attempted as soon as possible, in no order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// The generation of the ordering. The store increments it when the ordering is added or its key is edited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ordering_generation: u32,
    /// When several deliveries are sent in one request. `None`: each delivery has its own request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// The endpoint that gets a notice when this one fails, stops or recovers. `None`: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Whether the endpoint's bodies escape all non-ASCII characters.
    #[serde(default)]
    pub ascii_json: bool,
    /// The name of the header that contains the endpoint's token. Only for profiles that authenticate by a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_header: Option<String>,
}

fn is_zero(generation: &u32) -> bool {
    *generation == 0
}

impl Column for EndpointDocument {
    type Stored = Json<Self>;

    fn of_stored(Json(document): Json<Self>) -> Result<Self, String> {
        Ok(document)
    }
}

/// The format of the bodies that an endpoint with these fields receives.
pub(crate) fn body_kind(channel: Channel, ascii_json: bool) -> BodyKind {
    match (channel, ascii_json) {
        (Channel::Pushover, _) => BodyKind::Pushover,
        (Channel::Slack | Channel::Discord | Channel::Teams | Channel::Telegram | Channel::Email, _) => {
            BodyKind::Notification
        }
        (Channel::Web, true) => BodyKind::AsciiJson,
        (Channel::Web, false) => BodyKind::Json,
    }
}

impl EndpointDocument {
    /// The format of the bodies of the endpoint's deliveries.
    pub fn body_kind(&self) -> BodyKind {
        body_kind(self.channel, self.ascii_json)
    }

    /// Increments the generation of the ordering if `before` was not ordered by the same field. Deliveries that wait in the
    /// order of before are then attempted first.
    pub(crate) fn count_generation(&mut self, before: &Self) {
        let key = |document: &Self| document.ordering.as_ref().map(|ordering| ordering.key.clone());
        self.ordering_generation = before.ordering_generation;
        if self.ordering.is_some() && key(self) != key(before) {
            self.ordering_generation = before.ordering_generation.saturating_add(1);
        }
    }

    /// Stores the public key of a rotation at `now`. `next_from` is the time at which the next key starts to sign; `None` if
    /// there is no next key. If that time has passed, the next key first becomes the current one.
    pub(crate) fn rotate_public_key(
        &mut self,
        new: Option<String>,
        rotation: Rotation,
        next_from: Option<UnixMillis>,
        now: UnixMillis,
    ) {
        let next = self.next_public_key.take();
        if next_from.is_some_and(|from| from <= now) {
            self.public_key = next;
        }
        match rotation {
            Rotation::CutOver { at } if at > now => self.next_public_key = new,
            _ => self.public_key = new,
        }
    }
}

/// The editable part of an endpoint, with its secrets opened.
#[derive(Debug, Clone)]
pub struct EndpointDraft {
    /// The document.
    pub document: EndpointDocument,
    /// `Active` or `Inactive`. Activating a disabled endpoint clears its `disabled_reason`.
    pub status: EndpointStatus,
    /// Header values and credentials.
    pub private: EndpointPrivate,
}

/// An endpoint to create.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// The customer's settings.
    pub draft: EndpointDraft,
    /// The signing secret, which the caller generated or imported.
    pub secret: SecretString,
}

/// An endpoint without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The customer's settings.
    pub document: EndpointDocument,
    /// Whether the endpoint receives events.
    pub status: EndpointStatus,
    /// Why Postrider disabled it.
    pub disabled_reason: Option<String>,
    /// When Postrider disabled it.
    pub disabled_at: Option<UnixMillis>,
    /// Why Postrider paused it; `None` if a person paused it, or if it is not paused.
    pub paused_reason: Option<String>,
    /// When it was paused.
    pub paused_at: Option<UnixMillis>,
    /// When each previous secret stops signing, newest secret first. Such a time may be in the past.
    pub previous_secrets_until: Vec<UnixMillis>,
    /// When the next secret starts signing.
    pub next_secret_from: Option<UnixMillis>,
    /// Configuration version of the endpoint's last edit, which is its ETag.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixMillis,
    /// When it was last edited.
    pub updated_at: UnixMillis,
}

impl Endpoint {
    /// The public key that verifies signatures made at `now`.
    pub fn public_key_at(&self, now: UnixMillis) -> Option<&str> {
        let document = &self.document;
        let key = if self.next_is_in_force(now) { &document.next_public_key } else { &document.public_key };
        key.as_deref()
    }

    /// The public key that will replace the current one; `None` if no replacement is planned after `now`.
    pub fn next_public_key_at(&self, now: UnixMillis) -> Option<&str> {
        self.document.next_public_key.as_deref().filter(|_| !self.next_is_in_force(now))
    }

    fn next_is_in_force(&self, now: UnixMillis) -> bool {
        self.next_secret_from.is_some_and(|from| from <= now)
    }
}

/// An endpoint in a list, with the numbers of its attempts within the retention.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointSummary {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Deliveries with at least one failed attempt.
    pub failed_deliveries: u64,
}

/// One page of a tenant's endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointList {
    /// The endpoints, in the requested order.
    pub items: Vec<EndpointSummary>,
    /// The cursor of the next page; `None` for the last page.
    pub next_cursor: Option<String>,
    /// Number of endpoints that the tenant has.
    pub usage: u32,
    /// Maximum number of endpoints of the tenant.
    pub limit: u32,
}

/// The document of an endpoint at a configuration version.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointVersion {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The configuration version that wrote it.
    pub version: i64,
    /// Whether the endpoint received events at that version.
    pub status: EndpointStatus,
    /// Whether that version deleted the endpoint.
    pub deleted: bool,
    /// The document.
    pub document: EndpointDocument,
    /// When the version was written.
    pub created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_follow_their_private_ones_through_rotations() {
        let now = UnixMillis(1_000);
        let mut document = EndpointDocument { public_key: Some("a".into()), ..EndpointDocument::default() };
        let mut check = |new: &str, rotation, next_from: Option<i64>, keys: (&str, Option<&str>)| {
            document.rotate_public_key(Some(new.into()), rotation, next_from.map(UnixMillis), now);
            assert_eq!((document.public_key.as_deref(), document.next_public_key.as_deref()), (Some(keys.0), keys.1));
        };
        let overlap = Rotation::Overlap { until: UnixMillis(9_000) };
        let later = Rotation::CutOver { at: UnixMillis(2_000) };
        check("b", overlap, None, ("b", None));
        check("c", Rotation::CutOver { at: now }, None, ("c", None));
        check("d", later, None, ("c", Some("d")));
        // Before its start time, a next key can be replaced. After that time it counts as the current key.
        check("e", later, Some(2_000), ("c", Some("e")));
        check("f", later, Some(1_000), ("e", Some("f")));
        check("g", overlap, Some(2_000), ("g", None));
    }
}
