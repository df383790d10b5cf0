//! The part of the document about publishing. Ingest serves these routes, and services do not import each other; a test of the
//! whole deployment compares the two.

use std::collections::BTreeMap;

use postrider_http::problem::Problem;
use postrider_model::event::Origin;
use postrider_model::ids::EventId;
use postrider_model::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::responses::{BadBody, Conflict, Refused};

/// An event.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishEvent {
    /// Its type, such as `email.bounced`.
    #[serde(rename = "type")]
    #[schema(example = "email.bounced")]
    event_type: String,
    /// Any JSON; endpoints get it byte for byte.
    #[schema(value_type = serde_json::Value, example = json!({"email": "recipient@example.com"}))]
    data: serde_json::Value,
    /// Your own id for it, unique in the tenant.
    id: Option<EventId>,
    /// When it happened; absent: now.
    timestamp: Option<Timestamp>,
    /// The product's own data next to `data`.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// Attributes that it can be filtered by.
    attributes: Option<BTreeMap<String, String>>,
    /// Where it was caused; `api` by default.
    origin: Option<Origin>,
    /// Its tenant, by id or external id: with a key for several tenants, unless `?tenant=` names it.
    #[schema(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    tenant: Option<String>,
    /// In a batch: the `Idempotency-Key` of this event.
    idempotency_key: Option<String>,
}

/// A CloudEvent 1.0. `time` becomes the event's timestamp; any further attribute becomes one of the event's.
#[derive(Serialize, Deserialize, ToSchema)]
struct CloudEvent {
    /// `1.0`
    #[schema(example = "1.0")]
    specversion: String,
    /// An id that does not match `[A-Za-z0-9_-]{1,64}` is replaced by a hash of source and id.
    #[schema(example = "order-4711-paid")]
    id: String,
    /// Where it comes from.
    #[schema(example = "/shops/7")]
    source: String,
    /// Its type.
    #[serde(rename = "type")]
    #[schema(example = "email.bounced")]
    event_type: String,
    /// When it happened.
    time: Option<Timestamp>,
    /// The content type of `data`: JSON.
    datacontenttype: Option<String>,
    /// Any JSON; endpoints get it byte for byte.
    #[schema(value_type = serde_json::Value)]
    data: Option<serde_json::Value>,
    /// JSON, in base64.
    data_base64: Option<String>,
    /// Its tenant, by id or external id: with a key for several tenants, unless `?tenant=` names it.
    tenant: Option<String>,
    /// Where it was caused.
    origin: Option<Origin>,
    /// A JSON object, as a string.
    metadata: Option<String>,
    /// The attribute `sending_domain`.
    sendingdomain: Option<String>,
    /// The attribute `sending_node`.
    sendingnode: Option<String>,
    /// The attribute `bridge`.
    bridge: Option<String>,
    /// The attribute `dedicated_ip`.
    dedicatedip: Option<String>,
}

/// Up to 1,000 events.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishBatch {
    /// The events.
    events: Vec<PublishEvent>,
}

/// An event that was accepted.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishReceipt {
    /// Its id.
    id: EventId,
    /// Whether it was accepted before under the same id or key.
    duplicate: Option<bool>,
    /// What the receiver's software may not be able to handle.
    #[schema(example = json!([]))]
    warnings: Vec<String>,
}

/// A result for each event, in their order.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishBatchResult {
    /// The results.
    results: Vec<PublishBatchMember>,
}

/// A receipt, or the problem of this event.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum PublishBatchMember {
    /// It was accepted.
    Accepted(PublishReceipt),
    /// It was refused.
    Refused {
        /// Why.
        error: Problem,
    },
}

/// The tenant, for keys of several tenants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "described here, read by ingest")]
struct PublishTenant {
    /// The tenant, by id or external id; with an operator key or a key for several tenants.
    #[param(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    tenant: Option<String>,
}

/// The header `Idempotency-Key` of a publish.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "described here, read by ingest")]
struct PublishKey {
    /// 1 to 256 visible ASCII characters of your own: the same key again means the same event.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, example = "order-4711-paid")]
    idempotency_key: Option<String>,
}

/// Publish an event
///
/// 202: the broker has stored it. 503: unknown; repeat it under the same id or key. Takes a tenant's key with the scope `publish`,
/// or a key for several tenants or an operator key, which name the tenant by `?tenant=` or in the event. CloudEvents 1.0 may be
/// structured, as below, or binary: attributes in `ce-` headers and the data as the body.
#[utoipa::path(post, path = "/v1/publish", tag = "publishing", params(PublishKey, PublishTenant),
    request_body(content((PublishEvent = "application/json"), (CloudEvent = "application/cloudevents+json"))),
    responses((status = 202, body = PublishReceipt), Refused, BadBody, Conflict))]
#[expect(dead_code, reason = "described here, served by ingest")]
pub(super) fn publish() {}

/// Publish up to 1,000 events
///
/// Each event has its own result; a bad event does not affect the others. With a key for several tenants each event may name
/// another tenant.
#[utoipa::path(post, path = "/v1/publish/batch", tag = "publishing", params(PublishTenant), request_body = PublishBatch,
    responses((status = 202, body = PublishBatchResult), Refused, BadBody, Conflict))]
#[expect(dead_code, reason = "described here, served by ingest")]
pub(super) fn publish_batch() {}
