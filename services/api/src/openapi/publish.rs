//! The part of the document about publishing. It is written here, because ingest serves these routes and services do not import
//! each other. A test of the whole deployment compares this part with the routes that ingest serves.

use postrider_wire::http::{CloudEvent, PublishBatch, PublishBatchResult, PublishEvent, PublishReceipt};
use utoipa::IntoParams;

use crate::responses::{BadBody, Conflict, Refused};

/// The parameter `tenant` of a publish.
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
/// 202 means that the broker has stored the event. 503 means that this is not known: repeat the request with the same id or key.
/// Requires a tenant's key with the scope `publish`, or a key for several tenants or an operator key, which name the tenant by
/// `?tenant=` or in the event. CloudEvents 1.0 may be structured, as below, or binary: attributes in `ce-` headers and the data as
/// the body.
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
