//! The public contract of publishing: the bodies of `POST /v1/publish` and `POST /v1/publish/batch`.
//!
//! Ingest serves these routes, and the API describes them in its OpenAPI document, so both use these types. `data`, `metadata`
//! and the events of a batch are the producer's bytes, unchanged.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postrider_model::event::Origin;
#[cfg(feature = "openapi")]
use postrider_model::{ids::EventId, timestamp::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What caused an event, as producers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProducerOrigin {
    /// A call of the product's API.
    Api,
    /// A person in the product's dashboard.
    Dashboard,
}

impl From<ProducerOrigin> for Origin {
    fn from(origin: ProducerOrigin) -> Self {
        match origin {
            ProducerOrigin::Api => Self::Api,
            ProducerOrigin::Dashboard => Self::Dashboard,
        }
    }
}

/// An event.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishEvent))]
#[serde(deny_unknown_fields)]
pub struct PublishEvent<'a> {
    /// The type of the event, such as `email.bounced`.
    #[serde(rename = "type", borrow)]
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "email.bounced"))]
    pub event_type: Cow<'a, str>,
    /// The payload: any JSON. Endpoints receive the same bytes.
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(
        value_type = serde_json::Value, example = json!({"email": "recipient@example.com"})
    ))]
    pub data: &'a RawValue,
    /// Your own id for the event, `[A-Za-z0-9_-]{1,64}`, unique in the tenant.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<EventId>))]
    pub id: Option<Cow<'a, str>>,
    /// When the event happened; now if absent.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Timestamp>))]
    pub timestamp: Option<Cow<'a, str>>,
    /// An object that the product adds to `data`.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub metadata: Option<&'a RawValue>,
    /// Attributes that it can be filtered by.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<BTreeMap<String, String>>))]
    pub attributes: Option<BTreeMap<Box<str>, Box<str>>>,
    /// What caused the event; `api` if absent.
    #[serde(default)]
    pub origin: Option<ProducerOrigin>,
    /// When its deliveries are due, at most 6 days ahead; at once if absent.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Timestamp>))]
    pub deliver_at: Option<Cow<'a, str>>,
    /// When it expires: no attempt starts at this time or later. Excludes `ttl_seconds`.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Timestamp>))]
    pub expires_at: Option<Cow<'a, str>>,
    /// The number of seconds from `deliver_at`, or from its acceptance, after which it expires, 1 to 604,800. The `ttl_seconds`
    /// of its event type if neither this nor `expires_at` is given.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 604_800))]
    pub ttl_seconds: Option<i64>,
    /// The `Idempotency-Key` of this event. Only in a batch.
    #[serde(borrow, default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub idempotency_key: Option<Cow<'a, str>>,
    /// The tenant of the event, by id or external id. Required with a key for several tenants, unless `?tenant=` names the tenant.
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
    /// The events. Each is accepted or refused on its own.
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

/// A result for each event, in the order of the events.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishBatchResult))]
pub struct PublishBatchResult<'a> {
    /// The results.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<PublishBatchItem>))]
    pub results: Vec<PublishBatchItem<'a>>,
}

/// The result of one event of a batch: a receipt, or the problem for which it was refused.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = PublishBatchItem))]
#[serde(untagged)]
pub enum PublishBatchItem<'a> {
    /// The event was accepted.
    Accepted(PublishReceipt<'a>),
    /// The event was refused.
    Refused {
        /// The problem that would be the answer if the event were published alone.
        #[cfg_attr(feature = "openapi", schema(schema_with = openapi::problem))]
        error: Box<RawValue>,
    },
}

#[cfg(feature = "openapi")]
pub use openapi::CloudEvent;

#[cfg(feature = "openapi")]
mod openapi {
    use postrider_model::timestamp::Timestamp;
    use utoipa::ToSchema;
    use utoipa::openapi::Ref;

    use super::ProducerOrigin;

    /// Refers to the schema of problems, which the API's document contains.
    pub(super) fn problem() -> Ref {
        Ref::from_schema_name("Problem")
    }

    // This type only describes the format. Ingest reads a CloudEvent attribute by attribute, in each of its forms.
    /// A CloudEvent 1.0. `time` becomes the event's timestamp. Attributes that are not listed here become attributes of the event.
    #[derive(Debug, ToSchema)]
    pub struct CloudEvent {
        /// `1.0`
        #[schema(example = "1.0")]
        pub specversion: String,
        /// The id of the event. An id that does not match `[A-Za-z0-9_-]{1,64}` is replaced by a hash of `source` and `id`.
        #[schema(example = "order-4711-paid")]
        pub id: String,
        /// The producer's name for the source of the event.
        #[schema(example = "/shops/7")]
        pub source: String,
        /// The type of the event, such as `email.bounced`.
        #[schema(rename = "type", example = "email.bounced")]
        pub event_type: String,
        /// When the event happened; now if absent.
        pub time: Option<Timestamp>,
        /// `application/json`, or absent.
        pub datacontenttype: Option<String>,
        /// The payload: any JSON. Endpoints receive the same bytes.
        #[schema(value_type = serde_json::Value)]
        pub data: Option<serde_json::Value>,
        /// The payload as base64 of JSON, instead of `data`.
        pub data_base64: Option<String>,
        /// The tenant of the event, by id or external id. Required with a key for several tenants, unless `?tenant=` names the
        /// tenant.
        pub tenant: Option<String>,
        /// What caused the event; `api` if absent.
        pub origin: Option<ProducerOrigin>,
        /// The event's metadata: a JSON object, written as a string.
        pub metadata: Option<String>,
        /// When its deliveries are due, at most 6 days ahead; at once if absent.
        pub deliverat: Option<Timestamp>,
        /// When it expires: no attempt starts at this time or later. Excludes `expirytime` and `ttlseconds`.
        pub expiresat: Option<Timestamp>,
        /// The same as `expiresat`, by the name of the CloudEvents extension.
        pub expirytime: Option<Timestamp>,
        /// The number of seconds from `deliverat`, or from its acceptance, after which it expires.
        #[schema(minimum = 1, maximum = 604_800)]
        pub ttlseconds: Option<i64>,
        /// The event's attribute `sending_domain`.
        pub sendingdomain: Option<String>,
        /// The event's attribute `sending_node`.
        pub sendingnode: Option<String>,
        /// The event's attribute `bridge`.
        pub bridge: Option<String>,
        /// The event's attribute `dedicated_ip`.
        pub dedicatedip: Option<String>,
    }
}
