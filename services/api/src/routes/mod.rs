//! The routes under `/v1`, with one file for each noun. A route reads a request, calls an operation, and answers with its result.

mod audit_log;
mod dead_letters;
mod deliveries;
mod endpoints;
mod erasures;
mod event_types;
mod events;
mod keys;
mod portal;
mod product_keys;
mod profiles;
mod replays;
mod stats;
mod system;
mod tenants;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Api;

/// Adds every route to a router that has an OpenAPI document.
pub(crate) fn add_to(router: OpenApiRouter<Arc<Api>>) -> OpenApiRouter<Arc<Api>> {
    router
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::read, tenants::edit, tenants::delete))
        .routes(routes!(tenants::read_usage))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::delete))
        .routes(routes!(portal::create_link))
        .routes(routes!(portal::end_sessions))
        .routes(routes!(product_keys::create, product_keys::list))
        .routes(routes!(product_keys::delete))
        .routes(routes!(endpoints::create, endpoints::list))
        .routes(routes!(endpoints::read, endpoints::edit, endpoints::delete))
        .routes(routes!(endpoints::test))
        .routes(routes!(endpoints::rotate_secret))
        .routes(routes!(endpoints::recover))
        .routes(routes!(endpoints::skip_paused))
        .routes(routes!(endpoints::held_keys))
        .routes(routes!(endpoints::release_held_key))
        .routes(routes!(stats::of_endpoint))
        .routes(routes!(stats::of_tenant))
        .routes(routes!(stats::failures_of_endpoint))
        .routes(routes!(stats::failures_of_tenant))
        .routes(routes!(events::attribute_values))
        .routes(routes!(events::list))
        .routes(routes!(events::read))
        .routes(routes!(events::explain))
        .routes(routes!(events::expunge))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::retry_matching))
        .routes(routes!(deliveries::cancel_matching))
        .routes(routes!(deliveries::read))
        .routes(routes!(deliveries::retry))
        .routes(routes!(deliveries::cancel))
        .routes(routes!(replays::create, replays::list))
        .routes(routes!(replays::read))
        .routes(routes!(replays::pause))
        .routes(routes!(replays::resume))
        .routes(routes!(replays::cancel))
        .routes(routes!(erasures::create, erasures::list))
        .routes(routes!(erasures::read))
        .routes(routes!(erasures::cancel))
        .routes(routes!(event_types::list))
        .routes(routes!(event_types::read, event_types::put, event_types::delete))
        .routes(routes!(event_types::export))
        .routes(routes!(profiles::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::requeue_several))
        .routes(routes!(dead_letters::discard_several))
        .routes(routes!(dead_letters::read))
        .routes(routes!(dead_letters::requeue))
        .routes(routes!(audit_log::list))
        .routes(routes!(system::read))
        .routes(routes!(system::read_trouble))
}
