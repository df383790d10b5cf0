//! The routes, and the OpenAPI document that is generated from them.

mod examples;
mod publish;

use std::sync::Arc;

use postrider_http::problem::Problem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::responses::Components;
use crate::{Api, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = "Webhook delivery: publish an event, and every subscribed endpoint gets it, signed.\n\n\
            Errors are `application/problem+json` and name each wrong field by a JSON pointer. Unknown fields are errors. \
            Lists are pages of 1 to 200 items, 50 by default. Edits take `If-Match` with the ETag of a read.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "publishing", description = "Publishing events"),
        (name = "tenants", description = "Tenants: the operator's customers"),
        (name = "keys", description = "API keys of a tenant, and keys that publish for several"),
        (name = "portal", description = "Portal links: they open a tenant's dashboard without an API key"),
        (name = "endpoints", description = "Endpoints: the URLs, Pushover users, chats and e-mail addresses that receive a tenant's events"),
        (name = "event types", description = "A tenant's catalog: its event types and the shape of their data"),
        (name = "events", description = "Events that were accepted, and their payloads"),
        (name = "deliveries", description = "Deliveries: one event for one endpoint each, with their attempts"),
        (name = "stats", description = "Numbers of attempts and their durations by minute, hour and day, and failures by cause"),
        (name = "replays", description = "Replays: orders to deliver past events again"),
        (name = "erasures", description = "Erasures: orders to erase a value from the history"),
        (name = "profiles", description = "Profiles: the formats of deliveries"),
        (name = "audit log", description = "Audit log: who changed what, and when"),
        (name = "operations", description = "Dead letters and the state of the deployment, for the operator"),
    ),
    paths(publish::publish, publish::publish_batch),
    components(schemas(Problem)),
    security(("key" = [])),
    modifiers(&Keys, &Components),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The key of a tenant or of an operator. A request with an operator key names the tenant by `?tenant=<id or external id>`.",
            ))
            .build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI 3.1 document of this crate's routes and of the publishing routes, which ingest serves.
pub fn openapi() -> serde_json::Value {
    examples::complete(serde_json::to_value(routes().into_openapi()).unwrap_or_default())
}

/// Every route of this crate, with its part of the document.
pub(crate) fn routes() -> OpenApiRouter<Arc<Api>> {
    routes::add_to(OpenApiRouter::with_openapi(Document::openapi()))
}
