//! `/v1/endpoints`

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use postrider_model::filters::parsed;
use postrider_model::ids::EndpointId;
use postrider_operations::endpoints::{
    CreateEndpoint, CreatedEndpoint, EditEndpoint, EditedEndpoint, Endpoint, EndpointOrder, EndpointPage,
    HeldKeyReleased, HeldKeys, RecoverEndpoint, RecoveryAccepted, RecoveryPreview, ReleaseHeldKey, RotateSecret,
    RotatedSecret, SkippedPaused,
};
use postrider_operations::test_calls::{TestEndpoint, TestOutcome, TestPending, TestResult};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Answer, Call};
use crate::extract::{IdempotencyKey, IfMatch, IfMatchHeader, Versioned};
use crate::query::{PageParams, Paged, Parameters, TenantParam};
use crate::request::{OptionalJson, StrictJson};
use crate::responses::{BadBody, KeyInUse, Refused, Stale};

/// The order of a list of endpoints.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(crate) struct EndpointSort {
    /// The order; `newest` by default.
    #[serde(deserialize_with = "parsed")]
    sort: Option<EndpointOrder>,
}

impl Parameters for EndpointSort {}

/// Create an endpoint
///
/// The secret is only shown in this answer. An `ed25519` endpoint has a public key instead, which is always shown. 409 if the
/// tenant has the maximum number of endpoints.
#[utoipa::path(post, path = "/v1/endpoints", operation_id = "create_endpoint", tag = "endpoints",
    params(TenantParam, IdempotencyKey),
    request_body = CreateEndpoint,
    responses((status = 201, body = CreatedEndpoint, headers(("ETag" = String))), Refused, BadBody, KeyInUse))]
pub(crate) async fn create(
    call: Call,
    StrictJson(request): StrictJson<CreateEndpoint>,
) -> Answer<(StatusCode, Versioned<CreatedEndpoint>)> {
    let created = call.operations.create_endpoint(call.caller, request).await?;
    Ok((StatusCode::CREATED, Versioned(created.endpoint.version, created)))
}

/// List endpoints
///
/// Newest first, or those in trouble first (`sort=trouble`); with the number of endpoints that the tenant has, and the number that
/// it may have.
#[utoipa::path(get, path = "/v1/endpoints", operation_id = "list_endpoints", tag = "endpoints",
    params(TenantParam, EndpointSort, PageParams),
    responses((status = 200, body = EndpointPage), Refused))]
pub(crate) async fn list(call: Call<Paged<EndpointSort>>) -> Answer<Json<EndpointPage>> {
    let order = call.query.params.sort.unwrap_or_default();
    Ok(Json(call.operations.list_endpoints(call.caller, order, &call.query.page).await?))
}

/// Read an endpoint
#[utoipa::path(get, path = "/v1/endpoints/{id}", operation_id = "read_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id.")),
    responses((status = 200, body = Endpoint, headers(("ETag" = String))), Refused))]
pub(crate) async fn read(call: Call, Path(id): Path<String>) -> Answer<Versioned<Endpoint>> {
    let endpoint = call.operations.read_endpoint(call.caller, &id).await?;
    Ok(Versioned(endpoint.version, endpoint))
}

/// Edit an endpoint
///
/// A field that is left out keeps its value; `null` removes the value. The edit is in effect when this is answered. An edit that
/// changes nothing makes no new version. Header values are only sent to the scheme, host and port that they were given for: an edit
/// that changes one of these in `url` must give the values again, or is answered with 422.
///
/// The status `paused` makes its deliveries wait; `active` then releases them, oldest event first. `recover` also delivers what the
/// endpoint did not receive while it was inactive, disabled or failing; 409 if another recovery of the endpoint has not finished:
/// then the edit is in effect without a recovery.
#[utoipa::path(patch, path = "/v1/endpoints/{id}", operation_id = "edit_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader),
    request_body = EditEndpoint,
    responses((status = 200, body = EditedEndpoint, headers(("ETag" = String))), Refused, BadBody, Stale))]
pub(crate) async fn edit(
    call: Call,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    StrictJson(request): StrictJson<EditEndpoint>,
) -> Answer<Versioned<EditedEndpoint>> {
    let edited = call.operations.edit_endpoint(call.caller, &id, expected, request).await?;
    Ok(Versioned(edited.endpoint.version, edited))
}

/// Delete an endpoint
///
/// Its pending deliveries are discarded when their next attempt is due.
#[utoipa::path(delete, path = "/v1/endpoints/{id}", operation_id = "delete_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader),
    responses((status = 204), Refused, Stale))]
pub(crate) async fn delete(call: Call, Path(id): Path<String>, IfMatch(expected): IfMatch) -> Answer<StatusCode> {
    call.operations.delete_endpoint(call.caller, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Test an endpoint
///
/// Sends a sample event, also to an inactive endpoint, and answers with the attempt. 202 if the attempt has not ended 2 s after the
/// endpoint's timeout. 429 while four other tests of the tenant are running.
#[utoipa::path(post, path = "/v1/endpoints/{id}/test", operation_id = "test_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IdempotencyKey),
    request_body = TestEndpoint,
    responses((status = 200, body = TestResult), (status = 202, body = TestPending), Refused, BadBody, KeyInUse))]
pub(crate) async fn test(
    call: Call,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<TestEndpoint>,
) -> Answer<Response> {
    Ok(match call.operations.test_endpoint(call.caller, &id, request).await? {
        TestOutcome::Attempt(result) => Json(result).into_response(),
        TestOutcome::Pending(pending) => (StatusCode::ACCEPTED, Json(pending)).into_response(),
    })
}

/// Replace an endpoint's secret
///
/// The new secret is only shown in this answer. Each previous secret signs `webhook-signature` until the end of its own overlap.
/// 409 while a planned secret has not come into force, and if the endpoint has 5 secrets.
#[utoipa::path(post, path = "/v1/endpoints/{id}/rotate-secret", operation_id = "rotate_secret", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IfMatchHeader, IdempotencyKey),
    request_body = RotateSecret,
    responses((status = 200, body = RotatedSecret, headers(("ETag" = String))), Refused, BadBody, KeyInUse, Stale))]
pub(crate) async fn rotate_secret(
    call: Call,
    Path(id): Path<String>,
    IfMatch(expected): IfMatch,
    OptionalJson(request): OptionalJson<RotateSecret>,
) -> Answer<Versioned<RotatedSecret>> {
    let rotated = call.operations.rotate_secret(call.caller, &id, expected, request).await?;
    Ok(Versioned(rotated.version, rotated))
}

/// Recover an endpoint
///
/// Delivers what it did not receive since `since`: events whose deliveries failed or were discarded, and events that match it and
/// were decided while it was inactive or disabled. Deliveries that wait for a retry are attempted now. What was delivered or
/// expunged is left alone. With `dry_run` it only counts. The work is a replay with the mode `recover`. The same request within a
/// minute answers with the same replay. 409 while another recovery of the endpoint has not finished, and if the endpoint is off.
#[utoipa::path(post, path = "/v1/endpoints/{id}/recover", operation_id = "recover_endpoint", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IdempotencyKey),
    request_body = RecoverEndpoint,
    responses((status = 200, body = RecoveryPreview, description = "The counts of a dry run."),
        (status = 202, body = RecoveryAccepted), Refused, BadBody, KeyInUse))]
pub(crate) async fn recover(
    call: Call,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<RecoverEndpoint>,
) -> Answer<Response> {
    if request.is_dry_run() {
        return Ok(Json(call.operations.preview_recovery(call.caller, &id, &request).await?).into_response());
    }
    let accepted = call.operations.recover_endpoint(call.caller, &id, &request).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// Skip what waits for a paused endpoint
///
/// Discards the deliveries that were set aside for the endpoint and whose events were accepted until now, with the reason
/// `skipped`. They are discarded within seconds, at about 10,000 per second. A repeated request also covers the events accepted
/// since the first one. If nothing waits, nothing is discarded now; deliveries of events accepted until
/// now that come due during the pause are skipped.
#[utoipa::path(post, path = "/v1/endpoints/{id}/skip-paused", operation_id = "skip_paused", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IdempotencyKey),
    responses((status = 202, body = SkippedPaused), Refused, KeyInUse))]
pub(crate) async fn skip_paused(call: Call, Path(id): Path<String>) -> Answer<(StatusCode, Json<SkippedPaused>)> {
    Ok((StatusCode::ACCEPTED, Json(call.operations.skip_paused(call.caller, &id).await?)))
}

/// List held keys
///
/// The keys of an ordered endpoint whose deliveries wait for a decision, because one of them failed and the endpoint's `on_exhausted`
/// is `hold`. Longest held first, at most 200.
#[utoipa::path(get, path = "/v1/endpoints/{id}/held-keys", operation_id = "list_held_keys", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id.")),
    responses((status = 200, body = HeldKeys), Refused))]
pub(crate) async fn held_keys(call: Call, Path(id): Path<String>) -> Answer<Json<HeldKeys>> {
    Ok(Json(call.operations.held_keys(call.caller, &id).await?))
}

/// Release a held key
///
/// Decides about the failed delivery of a held key: `retry` repeats it as a new delivery before the waiting ones; `skip` leaves it
/// failed and continues with the next one. 409 if the key is not held.
#[utoipa::path(post, path = "/v1/endpoints/{id}/held-keys/release", operation_id = "release_held_key", tag = "endpoints",
    params(("id" = EndpointId, Path, description = "The endpoint's id."), IdempotencyKey),
    request_body = ReleaseHeldKey,
    responses((status = 200, body = HeldKeyReleased), Refused, BadBody, KeyInUse))]
pub(crate) async fn release_held_key(
    call: Call,
    Path(id): Path<String>,
    StrictJson(request): StrictJson<ReleaseHeldKey>,
) -> Answer<Json<HeldKeyReleased>> {
    Ok(Json(call.operations.release_held_key(call.caller, &id, &request).await?))
}
