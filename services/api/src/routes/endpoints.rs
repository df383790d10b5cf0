//! `/v1/endpoints`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postrider_model::ids::EndpointId;
use postrider_operations::endpoints::{
    CreateEndpoint, CreatedEndpoint, EditEndpoint, Endpoint, EndpointPage, RotateSecret, RotatedSecret,
};
use postrider_operations::test_calls::{TestEndpoint, TestOutcome, TestPending, TestResult};

use super::{Answer, Ops};
use crate::auth::Auth;
use crate::extract::{IdempotencyKey, IfMatch, IfMatchHeader, Versioned};
use crate::query::{NoQuery, Page, PageParams, TenantParam};
use crate::request::{OptionalJson, StrictJson};
use crate::responses::{BadBody, KeyInUse, Refused, Stale};

/// Create an endpoint
///
/// The secret is shown this once; an `ed25519` endpoint has a public key, which is always shown. 409 at the tenant's limit.
#[utoipa::path(post, path = "/v1/endpoints", operation_id = "create_endpoint", tag = "endpoints",
    params(TenantParam, IdempotencyKey),
    request_body = CreateEndpoint,
    responses((status = 201, body = CreatedEndpoint, headers(("ETag" = String))), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    StrictJson(request): StrictJson<CreateEndpoint>,
) -> Answer<(StatusCode, Versioned<CreatedEndpoint>)> {
    let created = api.operations.create_endpoint(caller, request).await?;
    Ok((StatusCode::CREATED, Versioned(created.endpoint.version, created)))
}

/// List endpoints
///
/// Newest first, with the number that the tenant has and may have.
#[utoipa::path(get, path = "/v1/endpoints", operation_id = "list_endpoints", tag = "endpoints",
    params(TenantParam, PageParams),
    responses((status = 200, body = EndpointPage), Refused))]
pub(crate) async fn list(State(api): Ops, Auth(caller): Auth, Page(page): Page) -> Answer<Json<EndpointPage>> {
    Ok(Json(api.operations.list_endpoints(caller, &page).await?))
}

/// Read an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", operation_id = "read_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id.")),
    responses((status = 200, body = Endpoint, headers(("ETag" = String))), Refused))]
pub(crate) async fn read(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
) -> Answer<Versioned<Endpoint>> {
    let endpoint = api.operations.read_endpoint(caller, &id).await?;
    Ok(Versioned(endpoint.version, endpoint))
}

/// Edit an endpoint
///
/// An absent member stays, `null` clears one. In effect when this is answered. An edit that changes nothing makes no new version.
/// Header values are never sent to another origin (scheme, host, port) than the one they were given for: 422 unless an edit with such
/// a `url` gives them again.
#[utoipa::path(patch, path = "/v1/endpoints/{id}", operation_id = "edit_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader),
    request_body = EditEndpoint,
    responses((status = 200, body = Endpoint, headers(("ETag" = String))), Refused, BadBody, Stale))]
pub(crate) async fn edit(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    StrictJson(request): StrictJson<EditEndpoint>,
) -> Answer<Versioned<Endpoint>> {
    let endpoint = api.operations.edit_endpoint(caller, &id, expected, request).await?;
    Ok(Versioned(endpoint.version, endpoint))
}

/// Delete an endpoint
///
/// Its pending deliveries are discarded when their next attempt is due.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", operation_id = "delete_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader),
    responses((status = 204), Refused, Stale))]
pub(crate) async fn delete(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
) -> Answer<StatusCode> {
    api.operations.delete_endpoint(caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test an endpoint
///
/// Sends a sample and answers with the attempt, also while the endpoint is inactive. 202 if no answer came within the endpoint's
/// timeout and 2 s. 429 above four tests at once.
#[utoipa::path(post, path = "/v1/endpoints/{id}/test", operation_id = "test_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IdempotencyKey),
    request_body = TestEndpoint,
    responses((status = 200, body = TestResult), (status = 202, body = TestPending), Refused, BadBody, KeyInUse))]
pub(crate) async fn test(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<TestEndpoint>,
) -> Answer<Response> {
    Ok(match api.operations.test_endpoint(caller, &id, request).await? {
        TestOutcome::Attempt(result) => Json(result).into_response(),
        TestOutcome::Pending(pending) => (StatusCode::ACCEPTED, Json(pending)).into_response(),
    })
}

/// Replace an endpoint's secret
///
/// The new secret is shown this once. Each previous secret signs `webhook-signature` until the end of its own overlap. 409 while
/// another secret is planned, and above 5 secrets.
#[utoipa::path(post, path = "/v1/endpoints/{id}/rotate-secret", operation_id = "rotate_secret", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader, IdempotencyKey),
    request_body = RotateSecret,
    responses((status = 200, body = RotatedSecret, headers(("ETag" = String))), Refused, BadBody, KeyInUse, Stale))]
pub(crate) async fn rotate_secret(
    State(api): Ops,
    Auth(caller): Auth,
    _: NoQuery,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    OptionalJson(request): OptionalJson<RotateSecret>,
) -> Answer<Versioned<RotatedSecret>> {
    let rotated = api.operations.rotate_secret(caller, &id, expected, request).await?;
    Ok(Versioned(rotated.version, rotated))
}
