//! The public contract of publishing: the bodies of `POST /v1/publish` and `POST /v1/publish/batch`.
//!
//! Ingest serves these routes and the API describes them in its OpenAPI document, so both use these types. `data`, `metadata` and
//! the events of a batch remain the producer's bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postrider_model::event::Origin;
#[cfg(feature = "openapi")]
use postrider_model::{ids::EventId, timestamp::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishEvent))]
#[serde(deny_unknown_fields)]
pub struct PublishEvent<'a> {
    /// Its class, such as `email.bounced`.
    #[serde(rename = "type", borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "email.bounced"))]
    pub event_type: Cow<'a, str>,
    /// Any JSON; it reaches endpoints byte for byte.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(
        value_type = serde_json::Value, example = json!({"email": "recipient@example.com"})
    ))]
    pub data: &'a RawValue,
    /// Your own id for it, `[A-Za-z0-9_-]{1,64}`, unique in the tenant.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<EventId>))]
    pub id: Option<Cow<'a, str>>,
    /// When it happened; absent: now.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Timestamp>))]
    pub timestamp: Option<Cow<'a, str>>,
    /// What the product puts next to `data`.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<&'a RawValue>,
    /// Attributes that it can be filtered by.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, String>>))]
    pub attributes: Option<BTreeMap<Box<str>, Box<str>>>,
    /// Where it was caused; absent: `api`.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// In a batch: the `Idempotency-Key` of this event.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<Cow<'a, str>>,
    /// Its tenant, by id or external id: with a key for several tenants, unless `?tenant=` names it.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(
        value_type = Option<String>, example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6"
    ))]
    pub tenant: Option<Cow<'a, str>>,
}

/// Up to 1,000 events.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishBatch))]
#[serde(deny_unknown_fields)]
pub struct PublishBatch<'a> {
    /// The events. Each is read on its own, so that an invalid one does not spoil the others.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<PublishEvent>))]
    pub events: Vec<&'a RawValue>,
}

/// An event that was accepted.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishReceipt))]
pub struct PublishReceipt<'a> {
    /// The event's id.
    #[cfg_attr(feature = "openapi", schema(value_type = EventId))]
    pub id: &'a str,
    /// Whether it was accepted before under the same id or key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// What receivers may not be able to handle in this event.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, example = json!([])))]
    pub warnings: &'a [String],
}

/// A result for each event, in their order.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishBatchResult))]
pub struct PublishBatchResult<'a> {
    /// The results.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<PublishBatchItem>))]
    pub results: Vec<PublishBatchItem<'a>>,
}

/// A receipt, or the problem of that event alone.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishBatchItem))]
#[serde(untagged)]
pub enum PublishBatchItem<'a> {
    /// The event was accepted.
    Accepted(PublishReceipt<'a>),
    /// The event was refused.
    Refused {
        /// The problem, as it would be the answer to this event alone.
        #[cfg_attr(feature = "openapi", schema(schema_with = openapi::problem))]
        error: Box<RawValue>,
    },
}

#[cfg(feature = "openapi")]
pub use openapi::CloudEvent;

#[cfg(feature = "openapi")]
mod openapi {
    use postrider_model::event::Origin;
    use postrider_model::timestamp::Timestamp;
    use utoipa::ToSchema;
    use utoipa::openapi::Ref;

    /// Refers to the schema of problems, which the API's document contains.
    pub(super) fn problem() -> Ref {
        Ref::from_schema_name("Problem")
    }

    // This type only describes the format. Ingest reads a CloudEvent attribute by attribute, in each of its forms.
    /// A CloudEvent 1.0. `time` becomes the event's timestamp; any further attribute becomes one of the event's.
    #[derive(Debug, ToSchema)]
    pub struct CloudEvent {
        /// `1.0`
        #[schema(example = "1.0")]
        pub specversion: String,
        /// One that does not match `[A-Za-z0-9_-]{1,64}` is replaced by a hash of source and id.
        #[schema(example = "order-4711-paid")]
        pub id: String,
        /// The producer's own name for where the event comes from.
        #[schema(example = "/shops/7")]
        pub source: String,
        /// Its class, such as `email.bounced`.
        #[schema(rename = "type", example = "email.bounced")]
        pub event_type: String,
        /// When it happened; absent: now.
        pub time: Option<Timestamp>,
        /// `application/json`, or absent.
        pub datacontenttype: Option<String>,
        /// Any JSON; it reaches endpoints byte for byte.
        #[schema(value_type = serde_json::Value)]
        pub data: Option<serde_json::Value>,
        /// JSON, in base64.
        pub data_base64: Option<String>,
        /// Its tenant, by id or external id: with a key for several tenants, unless `?tenant=` names it.
        pub tenant: Option<String>,
        /// Where it was caused; absent: `api`.
        pub origin: Option<Origin>,
        /// A JSON object, as a string.
        pub metadata: Option<String>,
        /// The attribute `sending_domain`.
        pub sendingdomain: Option<String>,
        /// The attribute `sending_node`.
        pub sendingnode: Option<String>,
        /// The attribute `bridge`.
        pub bridge: Option<String>,
        /// The attribute `dedicated_ip`.
        pub dedicatedip: Option<String>,
    }
}
