//! Endpoints as answers show them.

use std::collections::BTreeMap;

use postrider_model::batch::Batch;
use postrider_model::breaker::{BreakerState, BreakerStatement};
use postrider_model::delivery::EndpointStatus;
use postrider_model::endpoint::{Channel, SignatureKey};
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::notice::Notify;
use postrider_model::ordering::Ordering;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::config::{Endpoint as StoredEndpoint, EndpointHealth};
use postrider_store::pauses::SetAsideTotals;
use serde::Serialize;
use utoipa::ToSchema;

use super::chat::{ChatShown, EmailFields, TelegramShown};
use super::health::Health;
use super::paused::SetAside;
use super::recover::RecoveryAccepted;
use super::request::MASK;

/// The Pushover user of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct PushoverShown {
    /// Always `********`.
    pub user_key: &'static str,
    /// Always `********`.
    pub api_token: &'static str,
    /// The sound of its notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
}

/// The state of an endpoint's breaker, which holds attempts back while the endpoint fails.
#[derive(Debug, Serialize, ToSchema)]
pub struct Breaker {
    /// Its state.
    pub state: BreakerState,
    /// When the breaker entered this state; absent if it has been closed for more than a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl From<Option<BreakerStatement>> for Breaker {
    fn from(statement: Option<BreakerStatement>) -> Self {
        let state = statement.map(|statement| statement.state).unwrap_or_default();
        Self { state, since: statement.map(|statement| statement.since.into()) }
    }
}

/// An endpoint. Secrets and the values of its own headers are not shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its name.
    #[schema(example = "bounces")]
    pub name: String,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Your own JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
    /// How deliveries reach the endpoint.
    pub channel: Channel,
    /// The URL that deliveries are sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Pushover user that it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushover: Option<PushoverShown>,
    /// The webhook of Slack, Discord or Microsoft Teams that it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatShown>,
    /// The Telegram chat that it sends to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram: Option<TelegramShown>,
    /// The addresses that it sends e-mail to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailFields>,
    /// The event types that it subscribes to.
    #[schema(example = json!(["email.*"]))]
    pub event_types: Vec<String>,
    /// For each attribute, the accepted values.
    #[schema(example = json!({"bridge": ["b1"]}))]
    pub filters: BTreeMap<String, Vec<String>>,
    /// The condition on an event's payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload_filter: Option<serde_json::Value>,
    /// The names of the headers that it adds to each request. Every value is shown as `********`.
    #[schema(example = json!({"X-Team": "********"}))]
    pub headers: BTreeMap<String, &'static str>,
    /// Whether the endpoint receives events.
    pub status: EndpointStatus,
    /// Why Postrider disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<String>,
    /// When Postrider disabled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<Timestamp>,
    /// Why Postrider paused it; absent if a person paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_reason: Option<String>,
    /// When it was paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// The deliveries that were set aside while it was paused and that were neither released nor discarded yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<SetAside>,
    /// Whether attempts are held back because the endpoint fails.
    pub breaker: Breaker,
    /// Whether its attempts succeed; since when they fail, and why.
    pub health: Health,
    /// The kind of key that makes `webhook-signature`.
    pub signature_key: SignatureKey,
    /// The public key that verifies the signatures of an `ed25519` endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")]
    pub public_key: Option<String>,
    /// The public key that verifies the signatures from `next_secret_from` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_public_key: Option<String>,
    /// Its own delays between attempts, in seconds; absent if the profile's delays apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_schedule_seconds: Option<Vec<u32>>,
    /// Its own timeout of an attempt, in seconds; absent if the profile's timeout applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// Its own maximum rate, in attempts per second; absent if the profile's rate applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    /// The order of its deliveries; absent if they have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordering: Option<Ordering>,
    /// When several events are sent in one request; absent if each event has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// The endpoint that gets notices about its state; absent if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Whether its bodies escape all non-ASCII characters.
    pub ascii_json: bool,
    /// The name of the header with the secret token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_header: Option<String>,
    /// When the last previous secret stops signing `webhook-signature`: the latest of `previous_secrets_until`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_secret_until: Option<Timestamp>,
    /// When each previous secret stops signing `webhook-signature`; the newest secret comes first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub previous_secrets_until: Vec<Timestamp>,
    /// When the next secret starts signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_secret_from: Option<Timestamp>,
    /// The version, which every edit increases. The ETag is `"v<version>"`.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
}

/// An endpoint that was just created.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedEndpoint {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The secret that signs the deliveries. It is only shown in this answer. An `ed25519` endpoint has a `public_key` instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: Option<String>,
}

/// An endpoint that was just edited.
#[derive(Debug, Serialize, ToSchema)]
pub struct EditedEndpoint {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The recovery that the edit ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryAccepted>,
}

/// An endpoint in a list, with the numbers of its attempts that are in the history.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointInList {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Deliveries with at least one failed attempt. `GET /v1/deliveries?endpoint_id=…&failed_attempts=true&test=false` lists the
    /// same deliveries.
    pub failed_deliveries: u64,
}

/// A page of a tenant's endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointPage {
    /// The endpoints of this page in the order of `sort`; newest first by default.
    pub data: Vec<EndpointInList>,
    /// The `cursor` of the next page; `null` on the last page.
    #[schema(required = true, example = json!(null))]
    pub next_cursor: Option<String>,
    /// The number of endpoints that the tenant has.
    pub usage: u32,
    /// The maximum number of endpoints that the tenant may have.
    pub limit: u32,
}

impl Endpoint {
    /// Converts an endpoint to the form that answers show. `breaker` is the dispatchers' last statement about the endpoint's
    /// breaker.
    pub(crate) fn new(
        endpoint: StoredEndpoint,
        breaker: Option<BreakerStatement>,
        health: EndpointHealth,
        set_aside: Option<SetAsideTotals>,
    ) -> Self {
        let now = UnixMillis::now();
        let breaker = Breaker::from(breaker);
        let public_key = endpoint.public_key_at(now).map(str::to_owned);
        let next_public_key = endpoint.next_public_key_at(now).map(str::to_owned);
        let previous_secrets_until = previous_ends(&endpoint, now);
        let last_end = endpoint.previous_secrets_until.iter().copied().filter(|until| *until > now).max();
        let document = endpoint.document;
        let (chat, telegram) = (ChatShown::of(&document), TelegramShown::of(&document));
        let email = EmailFields::of(&document);
        Self {
            id: endpoint.id,
            tenant_id: endpoint.tenant,
            name: document.name,
            description: document.description,
            metadata: document.metadata,
            channel: document.channel,
            url: document.url,
            pushover: (document.channel == Channel::Pushover).then_some(PushoverShown {
                user_key: MASK,
                api_token: MASK,
                sound: document.sound,
            }),
            chat,
            telegram,
            email,
            event_types: document.event_types,
            filters: document.filters,
            payload_filter: document.payload_filter,
            headers: document.header_names.into_iter().map(|name| (name, MASK)).collect(),
            status: endpoint.status,
            disabled_reason: endpoint.disabled_reason,
            disabled_at: endpoint.disabled_at.map(Timestamp),
            paused_reason: endpoint.paused_reason,
            paused_at: endpoint.paused_at.map(Timestamp),
            set_aside: set_aside.and_then(SetAside::of),
            health: Health::of(health, endpoint.status, breaker.state, now),
            breaker,
            signature_key: document.signature_key,
            public_key,
            next_public_key,
            retry_schedule_seconds: document.retry_schedule_seconds,
            timeout_seconds: document.timeout_seconds,
            rate_per_second: document.rate_per_second,
            ordering: document.ordering,
            batch: document.batch,
            notify: document.notify,
            ascii_json: document.ascii_json,
            token_header: document.token_header,
            previous_secret_until: last_end.map(Timestamp),
            previous_secrets_until,
            next_secret_from: endpoint.next_secret_from.map(Timestamp),
            version: endpoint.version,
            created_at: endpoint.created_at.into(),
            updated_at: endpoint.updated_at.into(),
        }
    }
}

/// Returns when each previous secret that still signs at `now` stops signing, the newest secret first.
pub(crate) fn previous_ends(endpoint: &StoredEndpoint, now: UnixMillis) -> Vec<Timestamp> {
    let ends = endpoint.previous_secrets_until.iter().copied();
    ends.filter(|until| *until > now).map(Timestamp).collect()
}
