//! `/v1/deliveries`: what became of events, endpoint by endpoint.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use postrider_http::problem::Problem;
use postrider_model::delivery::{BodyKind, DeliveryStatus};
use postrider_model::ids::{EndpointId, EventId, Generation, ReplayId};
use postrider_model::subscription::TypePattern;
use postrider_store::config::{EventTypeAt, Scope};
use postrider_store::history::{AttemptRow, DeliveryFilter, DeliveryRow};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::errors::{no_such, store_problem};
use crate::page::{List, page_request};
use crate::request::{Params, gather};
use crate::test_call::TestBody;
use crate::time::{millis, shown, shown_if};

/// A delivery: one event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delivery {
    #[schema(example = "dlv_0197e7a1b2c35d4e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
    pub(crate) tenant_id: String,
    pub(crate) event_id: String,
    pub(crate) endpoint_id: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub(crate) event_type: String,
    /// `pending`, `delivered`, `failed`, `cancelled` or `discarded`.
    pub(crate) status: String,
    /// Why it was discarded: `expired`, `endpoint_deleted`, `endpoint_inactive` or `expunged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) discard_reason: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    /// When the next attempt is due, while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_attempt_at: Option<String>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) finished_at: Option<String>,
    /// After this it is discarded.
    #[schema(format = DateTime)]
    pub(crate) expires_at: String,
    /// `first`, `retry:<id>`, `replay:<id>` or `test:<id>`.
    pub(crate) generation: String,
    /// The delivery that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin_id: Option<String>,
    /// Whether it is a test call's.
    pub(crate) test: bool,
    /// Attempts made so far.
    pub(crate) attempt_count: u16,
    /// Status code of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_code: Option<u16>,
}

/// A delivery with its attempts and the body that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    #[serde(flatten)]
    pub(crate) delivery: Delivery,
    pub(crate) attempts: Vec<Attempt>,
    /// The body, rendered again; `null` when the event's payload is gone.
    #[schema(required = true)]
    pub(crate) body: Option<String>,
}

/// One HTTP request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attempt {
    /// Its number in the delivery; the first is 1.
    pub(crate) number: u16,
    pub(crate) send_id: String,
    /// `first`, `retry`, `manual`, `replay` or `test`.
    pub(crate) trigger: String,
    #[schema(format = DateTime)]
    pub(crate) started_at: String,
    /// To the end of the answer's body.
    pub(crate) duration_ms: f64,
    pub(crate) timing: Timing,
    /// How long it was held before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_ms: Option<u64>,
    /// Why it was held: `rate`, `concurrency` or `breaker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) held_reason: Option<String>,
    pub(crate) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status_code: Option<u16>,
    /// `success`, `http_status`, `timeout`, `connect_failed`, `dns_failed`, `tls_failed`, `address_blocked` or `protocol_error`.
    pub(crate) outcome: String,
    /// Why it failed, for people. An answer that was cut after its status line keeps the outcome of its status, and this begins
    /// with `answer incomplete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// In the order and spelling in which they were sent; the endpoint's own and token values are masked.
    pub(crate) request_headers: Vec<Header>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) response_headers: Vec<Header>,
    /// The first 4 KiB of the answer's body, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_excerpt: Option<String>,
    /// When the next attempt was due after this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) next_attempt_at: Option<String>,
}

/// A header.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Where the time of an attempt went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timing {
    /// To the answer's headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_ms: Option<f64>,
    /// How much later than due it began (retries).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_ms: Option<u64>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            test: row.is_test(),
            id: row.id.to_string(),
            tenant_id: row.tenant.to_string(),
            event_id: row.event.to_string(),
            endpoint_id: row.endpoint.to_string(),
            event_type: row.event_type.to_string(),
            status: row.status.to_string(),
            discard_reason: row.discard_reason.map(|reason| reason.to_string()),
            created_at: shown(row.created_at),
            next_attempt_at: shown_if(row.next_attempt_at),
            finished_at: shown_if(row.finished_at),
            expires_at: shown(row.expires_at),
            generation: row.generation.to_string(),
            origin_id: row.origin.map(|id| id.to_string()),
            attempt_count: row.number,
            status_code: row.status_code,
        }
    }
}

fn headers(pairs: Vec<(String, String)>) -> Vec<Header> {
    pairs.into_iter().map(|(name, value)| Header { name, value }).collect()
}

/// The excerpt as text; absent when there was none.
pub(crate) fn excerpt(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: row.number,
            send_id: row.send_id.to_string(),
            trigger: row.trigger.to_string(),
            started_at: shown(row.started_at),
            duration_ms: millis(row.duration_us),
            timing: Timing { first_byte_ms: row.first_byte_us.map(millis), late_ms: row.late_ms },
            held_ms: row.held_reason.map(|_| row.held_ms),
            held_reason: row.held_reason.map(|reason| reason.to_string()),
            url: row.url,
            status_code: row.status_code,
            outcome: row.outcome.to_string(),
            error: row.error,
            request_headers: headers(row.request_headers),
            response_headers: headers(row.response_headers),
            response_excerpt: excerpt(&row.response_excerpt),
            next_attempt_at: shown_if(row.next_attempt_at),
        }
    }
}

fn filter_of(params: &Params) -> Result<DeliveryFilter, Problem> {
    let mut wrong = Vec::new();
    let (from, to) = gather(params.range(), &mut wrong).unwrap_or_default();
    let filter = DeliveryFilter {
        endpoint: gather(params.parse::<EndpointId>("endpoint_id"), &mut wrong).flatten(),
        event: gather(params.parse::<EventId>("event_id"), &mut wrong).flatten(),
        status: gather(params.parse::<DeliveryStatus>("status"), &mut wrong).flatten(),
        status_code: gather(params.number("status_code", "a status code", 100..=599), &mut wrong).flatten(),
        event_type: gather(params.parse::<TypePattern>("type"), &mut wrong).flatten(),
        replay: gather(params.parse::<ReplayId>("replay_id"), &mut wrong).flatten(),
        failed_attempts: gather(params.parse::<bool>("failed_attempts"), &mut wrong).flatten(),
        from,
        to,
        test: gather(params.parse::<bool>("test"), &mut wrong).flatten(),
    };
    if wrong.is_empty() { Ok(filter) } else { Err(Problem::unprocessable(wrong)) }
}

/// List deliveries
///
/// Newest first.
#[utoipa::path(get, operation_id = "list_deliveries", path = "/v1/deliveries", tag = "deliveries",
    params(("tenant" = Option<String>, Query, description = "with an operator key: whose; absent: everybody's"),
        ("endpoint_id" = Option<String>, Query), ("event_id" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "pending, delivered, failed, cancelled or discarded"),
        ("status_code" = Option<u16>, Query, description = "of the last attempt"),
        ("type" = Option<String>, Query, description = "a type, or a pattern such as `email.*`"),
        ("replay_id" = Option<String>, Query, description = "made by this replay"),
        ("failed_attempts" = Option<bool>, Query, description = "true: with at least one failed attempt; false: without"),
        ("from" = Option<String>, Query, description = "made at or after this"), ("to" = Option<String>, Query, description = "made before this"),
        ("test" = Option<bool>, Query), ("limit" = Option<u32>, Query, minimum = 1, maximum = 200), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<Delivery>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
) -> Result<Json<List<Delivery>>, Problem> {
    let names = [
        "endpoint_id",
        "event_id",
        "status",
        "status_code",
        "type",
        "replay_id",
        "failed_attempts",
        "from",
        "to",
        "test",
        "limit",
        "cursor",
    ];
    let params = params.only(&names, None)?;
    let visible = caller.visible(Scope::Read)?;
    let (filter, page) = (filter_of(&params)?, page_request("deliveries", &params)?);
    let page = api.store.history().list_deliveries(visible, &filter, &page).await.map_err(store_problem)?;
    Ok(Json(List::of("deliveries", page, Delivery::from)))
}

/// Read a delivery with its attempts
#[utoipa::path(get, operation_id = "read_delivery", path = "/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryDetail), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
) -> Result<Json<DeliveryDetail>, Problem> {
    params.only(&[], None)?;
    let visible = caller.visible(Scope::Read)?;
    let id = id.parse().map_err(|_| no_such("delivery"))?;
    let found = api.store.history().delivery_with_attempts(visible, id).await.map_err(store_problem)?;
    let (row, attempts) = found.ok_or_else(|| no_such("delivery"))?;
    let body = api.body_again(&row).await?;
    Ok(Json(DeliveryDetail {
        delivery: row.into(),
        attempts: attempts.into_iter().map(Attempt::from).collect(),
        body: body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }))
}

impl Api {
    /// The body that a delivery sent: rendered again from the event, as the endpoint was when it was decided. `None` when
    /// the payload is gone.
    async fn body_again(&self, row: &DeliveryRow) -> Result<Option<Vec<u8>>, Problem> {
        let Some(tenant) = self.store.config().get_tenant(row.tenant).await.map_err(store_problem)? else {
            return Ok(None);
        };
        let profile = self.profile(&tenant.draft.profile)?;
        if row.is_test() {
            let kind = self.body_kind(row, None).await?;
            let said = self
                .store
                .config()
                .event_type_at(row.tenant, &row.event_type, row.created_at)
                .await
                .map_err(store_problem)?;
            let said = match said {
                EventTypeAt::Known(said) => Some(said),
                EventTypeAt::Absent => None,
                EventTypeAt::EditedSince => return Ok(None),
            };
            let (event_type, at) = (Some(&row.event_type), row.created_at);
            let test = TestBody::of(profile, event_type, said.as_ref(), &row.event, at, row.accepted_at);
            return Ok(test.map(|test| test.render(profile, kind)));
        }
        let event = self.store.history().get_event(row.tenant, &row.event).await.map_err(store_problem)?;
        let Some(event) = event.filter(|event| event.summary.event_day == row.event_day) else { return Ok(None) };
        let Some(view) = event.view() else { return Ok(None) };
        let decision =
            self.store.history().get_decision(row.tenant, &row.event, row.event_day).await.map_err(store_problem)?;
        // A replay renders by the endpoint as it is, and may be for one that no decision knew.
        let replayed = matches!(row.generation, Generation::Replay(_));
        let version = decision.filter(|_| !replayed).map(|decision| decision.config_version);
        let kind = self.body_kind(row, version).await?;
        Ok(Some(profile.render(&view, kind)))
    }

    /// What the endpoint's bodies were written as when it was decided; as it is now when that is not known.
    async fn body_kind(&self, row: &DeliveryRow, version: Option<i64>) -> Result<BodyKind, Problem> {
        if let Some(version) = version {
            let then = self.store.config().endpoint_at(row.endpoint, version).await.map_err(store_problem)?;
            if let Some(then) = then {
                return Ok(then.document.body_kind());
            }
        }
        let now = self.store.config().get_endpoint(None, row.endpoint).await.map_err(store_problem)?;
        Ok(now.map(|endpoint| endpoint.document.body_kind()).unwrap_or_default())
    }
}
