//! The routes, and the OpenAPI document that is made from them.

mod complete;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

use postrider_http::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::{
    Api, attributes, audit_log, dead_letters, deliveries, endpoints, event_types, events, explain, keys, product_keys,
    profiles, replays, retry, stats, system, tenants, test_call, withdraw,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = "Webhook delivery: publish an event, and every endpoint that subscribed to it gets it, signed.\n\n\
            Errors are `application/problem+json`; one in a field carries a JSON pointer to it. Unknown fields are errors. \
            Lists are pages of 1 to 200, 50 unless said otherwise. Edits take `If-Match` with the ETag that a read gave.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "publishing", description = "Events in"),
        (name = "tenants", description = "The operator's customers"),
        (name = "keys", description = "API keys of a tenant, and keys that publish for several"),
        (name = "endpoints", description = "Where a tenant wants events"),
        (name = "event types", description = "A tenant's catalog: what its events are and what their data looks like"),
        (name = "events", description = "What was accepted"),
        (name = "deliveries", description = "What became of events, endpoint by endpoint"),
        (name = "stats", description = "What attempts came to, by minute and hour"),
        (name = "replays", description = "Past events, delivered again"),
        (name = "profiles", description = "What deliveries can look like"),
        (name = "audit log", description = "Who changed what"),
        (name = "operations", description = "For the operator"),
    ),
    paths(publish, publish_batch),
    components(schemas(Problem)),
    security(("key" = [])),
    modifiers(&Keys),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A tenant's key, or an operator's, which names the tenant by `?tenant=<id or external id>`.",
            ))
            .build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The document: OpenAPI 3.1, of this crate's routes and of ingest's.
pub fn openapi() -> serde_json::Value {
    complete::complete(serde_json::to_value(routes().into_openapi()).unwrap_or_default())
}

/// Every route of this crate with its part of the document.
pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::read, tenants::edit, tenants::delete))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::delete))
        .routes(routes!(product_keys::create, product_keys::list))
        .routes(routes!(product_keys::delete))
        .routes(routes!(endpoints::handlers::create, endpoints::handlers::list))
        .routes(routes!(endpoints::handlers::read, endpoints::handlers::edit, endpoints::handlers::delete))
        .routes(routes!(test_call::test))
        .routes(routes!(endpoints::rotate::rotate_secret))
        .routes(routes!(stats::of_endpoint))
        .routes(routes!(stats::of_tenant))
        .routes(routes!(attributes::values))
        .routes(routes!(events::list))
        .routes(routes!(events::read))
        .routes(routes!(explain::explain))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::read))
        .routes(routes!(retry::retry))
        .routes(routes!(withdraw::cancel))
        .routes(routes!(withdraw::expunge))
        .routes(routes!(replays::handlers::create, replays::handlers::list))
        .routes(routes!(replays::handlers::read))
        .routes(routes!(replays::handlers::pause))
        .routes(routes!(replays::handlers::resume))
        .routes(routes!(replays::handlers::cancel))
        .routes(routes!(event_types::handlers::list))
        .routes(routes!(event_types::handlers::read, event_types::handlers::put, event_types::handlers::delete))
        .routes(routes!(profiles::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::requeue))
        .routes(routes!(audit_log::list))
        .routes(routes!(system::read))
}

// What ingest serves. Services do not import each other, so its routes are described here; the test of the whole
// deployment holds the two together.

/// An event.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = PublishEvent)]
struct PublishEvent {
    /// Its class, such as `email.bounced`.
    #[serde(rename = "type")]
    event_type: String,
    /// Any JSON; it reaches endpoints byte for byte.
    #[schema(value_type = serde_json::Value, example = json!({"email": "recipient@example.com"}))]
    data: serde_json::Value,
    /// Your own id for it, `[A-Za-z0-9_-]{1,64}`, unique in the tenant.
    id: Option<String>,
    /// When it happened; absent: now.
    #[schema(format = DateTime)]
    timestamp: Option<String>,
    /// What the product puts beside `data`.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// What it can be filtered by.
    attributes: Option<BTreeMap<String, String>>,
    /// `api` or `dashboard`.
    origin: Option<String>,
    /// Whose it is, by id or external id: with a key for several tenants, unless `?tenant=` says so.
    #[schema(example = "ten_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    tenant: Option<String>,
    /// Members of a batch only: what the header `Idempotency-Key` is for a single event.
    idempotency_key: Option<String>,
}

/// A CloudEvent 1.0. `time` becomes the event's timestamp; any further attribute becomes one of the event's.
#[derive(Serialize, Deserialize, ToSchema)]
struct CloudEvent {
    /// `1.0`
    specversion: String,
    /// One that does not match `[A-Za-z0-9_-]{1,64}` is replaced by a hash of source and id.
    #[schema(example = "order-4711-paid")]
    id: String,
    #[schema(example = "/shops/7")]
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    #[schema(format = DateTime)]
    time: Option<String>,
    datacontenttype: Option<String>,
    /// Any JSON; it reaches endpoints byte for byte.
    #[schema(value_type = serde_json::Value)]
    data: Option<serde_json::Value>,
    /// JSON, in base64.
    data_base64: Option<String>,
    /// Whose it is, by id or external id: with a key for several tenants, unless `?tenant=` says so.
    tenant: Option<String>,
    /// `api` or `dashboard`.
    origin: Option<String>,
    /// A JSON object, as a string.
    metadata: Option<String>,
    sendingdomain: Option<String>,
    sendingnode: Option<String>,
    bridge: Option<String>,
    dedicatedip: Option<String>,
}

/// Up to 1,000 events.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishBatch {
    events: Vec<PublishEvent>,
}

/// An event that was accepted.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishReceipt {
    #[schema(example = "evt_0197e7a1b2c37d4e8f90a1b2c3d4e5f6")]
    id: String,
    /// It was accepted before under the same id or key.
    duplicate: Option<bool>,
    warnings: Vec<String>,
}

/// A result for each event, in their order.
#[derive(Serialize, Deserialize, ToSchema)]
struct PublishBatchResult {
    results: Vec<PublishBatchMember>,
}

/// A receipt, or the problem of that event alone.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum PublishBatchMember {
    Accepted(PublishReceipt),
    Refused { error: Problem },
}

/// Publish an event
///
/// 202 means that the broker has it safe. 503 means "unknown": repeat it under the same id or key. Takes a tenant's key with the
/// scope `publish`, or a key for several tenants or an operator key, which name the tenant by `?tenant=` or in the event. CloudEvents 1.0 may come
/// structured, as below, or binary: attributes in `ce-` headers and the data as the body.
#[utoipa::path(post, path = "/v1/publish", tag = "publishing", params(("Idempotency-Key" = Option<String>, Header), ("tenant" = Option<String>, Query)),
    request_body(content((PublishEvent = "application/json"), (CloudEvent = "application/cloudevents+json"))),
    responses((status = 202, body = PublishReceipt), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
#[expect(dead_code, reason = "described here, served by ingest")]
fn publish() {}

/// Publish up to 1,000 events
///
/// Each has a result of its own; one bad event spoils no other. With a key for several tenants each event may name another
/// tenant.
#[utoipa::path(post, path = "/v1/publish/batch", tag = "publishing", params(("tenant" = Option<String>, Query)), request_body = PublishBatch,
    responses((status = 202, body = PublishBatchResult), (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
#[expect(dead_code, reason = "described here, served by ingest")]
fn publish_batch() {}
