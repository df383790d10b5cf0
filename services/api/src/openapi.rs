//! The routes, and the OpenAPI document that is made from them.

mod complete;
mod words;

use std::sync::Arc;

use postrider_http::problem::Problem;
use postrider_wire::http::{CloudEvent, PublishBatch, PublishBatchResult, PublishEvent, PublishReceipt};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
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
