//! `POST /v1/endpoints/{id}/test`: an attempt now, made by a dispatcher, also while the endpoint is inactive.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_broker::Queue;
use postrider_broker::rpc::RpcError;
use postrider_http::problem::Problem;
use postrider_model::delivery::{BodyKind, Trigger};
use postrider_model::event::{Attributes, EventType};
use postrider_model::ids::{EventId, Generation, RetryId, TenantId};
use postrider_model::limits::ATTEMPT_TIMEOUT_MAX;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile, TestEvent};
use postrider_store::config::{Endpoint, Scope, TenantEventType};
use postrider_store::history::AttemptRow;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryRef, DeliveryTask, EventRef, OutcomeReport, TestCall};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::Api;
use crate::auth::Caller;
use crate::deliveries::Attempt;
use crate::endpoints::handlers::endpoint_id;
use crate::errors::store_problem;
use crate::event_types::model::names;
use crate::request::{OptionalJson, Params};

/// Longest wait for the connection that calls are made through.
const CONNECT_MAX: Duration = Duration::from_secs(3);
const COME_BACK: Duration = Duration::from_secs(2);

/// What to send.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestEndpoint {
    /// The type of the sample, of the tenant's catalog; absent: the profile's test event, or its first type.
    pub(crate) event_type: Option<String>,
}

/// The attempt that the test made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestResult {
    /// The delivery that it is on record under.
    pub(crate) delivery_id: String,
    /// The id that `webhook-id` carried.
    pub(crate) event_id: String,
    #[serde(flatten)]
    pub(crate) attempt: Attempt,
}

/// No answer in time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestPending {
    /// The delivery that the test will be on record under, once a dispatcher made it.
    #[schema(example = "dlv_0197e7a1b2c3548e8f90a1b2c3d4e5f6")]
    pub(crate) id: String,
}

/// The event of a test, and the id that its body shows.
pub(crate) struct TestBody {
    event: TestEvent,
    body_id: EventId,
    pub(crate) occurred_at: UnixMillis,
    accepted_at: UnixMillis,
}

impl TestBody {
    /// The test event of a type that the tenant may say something about, made at `made_at`; the same arguments give the same
    /// body. `None`: there is no such type.
    pub(crate) fn of(
        profile: &Profile,
        event_type: Option<&EventType>,
        said: Option<&TenantEventType>,
        id: &EventId,
        made_at: UnixMillis,
        accepted_at: UnixMillis,
    ) -> Option<Self> {
        let sample = said.map(|said| said.draft.sample.clone().and_then(|sample| RawValue::from_string(sample).ok()));
        let event = match (said, sample.flatten(), profile.test_event(event_type)) {
            (Some(said), Some(sample), _) => profile.test_event_of(&said.name, sample),
            (_, _, Some(event)) => event,
            (Some(said), None, None) => profile.test_event_of(&said.name, RawValue::from_string("{}".into()).ok()?),
            (None, ..) => return None,
        };
        let body_id = event.body_id.clone().unwrap_or_else(|| id.clone());
        let occurred_at = event.occurred_at.unwrap_or(made_at);
        Some(Self { event, body_id, occurred_at, accepted_at })
    }

    pub(crate) fn render(&self, profile: &Profile, kind: BodyKind) -> Vec<u8> {
        let view = EventView {
            id: &self.body_id,
            event_type: &self.event.event_type,
            occurred_at: self.occurred_at,
            accepted_at: self.accepted_at,
            attributes: &Attributes::default(),
            metadata: self.event.metadata.as_deref(),
            data: self.event.data.get().as_bytes(),
        };
        profile.render(&view, kind)
    }
}

/// Test an endpoint
///
/// Sends a sample and answers with the attempt, also while the endpoint is inactive. 202 when no answer came within the
/// endpoint's timeout and 2 s. A tenant has four tests at once (429).
#[utoipa::path(post, operation_id = "test_endpoint", path = "/v1/endpoints/{id}/test", tag = "endpoints", params(("id" = String, Path)), request_body = TestEndpoint,
    responses((status = 200, body = TestResult), (status = 202, body = TestPending), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn test(
    State(api): State<Arc<Api>>,
    caller: Caller,
    params: Params,
    Path(id): Path<String>,
    OptionalJson(request): OptionalJson<TestEndpoint>,
) -> Result<Response, Problem> {
    params.only(&[], None)?;
    Ok(match api.test_endpoint(caller, &id, request).await? {
        Tested::Attempt(result) => Json(result).into_response(),
        Tested::Pending(pending) => (StatusCode::ACCEPTED, Json(pending)).into_response(),
    })
}

/// What became of a test.
pub(crate) enum Tested {
    /// The attempt.
    Attempt(Box<TestResult>),
    /// Nobody answered in time.
    Pending(TestPending),
}

impl Api {
    /// Has a dispatcher send a sample to an endpoint.
    pub(crate) async fn test_endpoint(
        self: &Arc<Self>,
        caller: Caller,
        id: &str,
        request: TestEndpoint,
    ) -> Result<Tested, Problem> {
        let endpoint = self.endpoint(caller.visible(Scope::Manage)?, endpoint_id(id)?).await?;
        let tenant = self.tenant(endpoint.tenant).await?;
        let profile = self.profile(&tenant.draft.profile)?;
        let wanted = request.event_type.as_deref().map(str::parse::<EventType>).transpose();
        let wanted = wanted.map_err(|error| Problem::invalid_field("/event_type", error.to_string()))?;

        let (now, event) = (UnixMillis::now(), EventId::generate());
        let wanted = wanted.or_else(|| profile.test_event(None).map(|event| event.event_type));
        let said = match &wanted {
            Some(name) => self.store.config().get_event_type(tenant.id, name).await.map_err(store_problem)?,
            None => None,
        };
        let Some(body) = TestBody::of(profile, wanted.as_ref(), said.as_ref(), &event, now, now) else {
            let there_are = names(profile, &self.event_types_beside(profile, tenant.id).await?);
            return Err(Problem::invalid_field("/event_type", format!("no such event type; there are: {there_are}")));
        };
        let task = task(tenant.id, &endpoint, &body, event, now);
        let timeout = timeout_of(&endpoint, profile) + self.config.test_patience;
        let payload = Bytes::from(body.render(profile, endpoint.document.body_kind()));
        let call = TestCall { task, answer_by: now.plus(timeout) };
        let (slot, api) = (self.heavy.test_call(tenant.id).await?, Arc::clone(self));
        let id = call.task.delivery.id;
        // In a task: a dispatcher is busy with the call, and the slot is taken, also when the client hangs up.
        let asking = tokio::spawn(async move {
            let _slot = slot;
            ask(&api, &call, payload, timeout).await
        });
        match asking.await.map_err(|_| Problem::internal())?? {
            Some((report, excerpt)) => Ok(Tested::Attempt(Box::new(shown(report, excerpt)?))),
            None => Ok(Tested::Pending(TestPending { id: id.to_string() })),
        }
    }
}

fn timeout_of(endpoint: &Endpoint, profile: &Profile) -> Duration {
    let own = endpoint.document.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    own.unwrap_or(profile.timeout).min(ATTEMPT_TIMEOUT_MAX)
}

fn task(tenant: TenantId, endpoint: &Endpoint, body: &TestBody, event: EventId, now: UnixMillis) -> DeliveryTask {
    let event = EventRef::new(tenant, event, body.event.event_type.clone(), now);
    let delivery = DeliveryRef::new(event, endpoint.id, Generation::Test(RetryId::generate()), now);
    DeliveryTask::first_attempt(delivery, Trigger::Test, body.occurred_at, endpoint.version)
}

/// The dispatcher's answer; `None`: there was none in time, but the call was made.
async fn ask(
    api: &Api,
    call: &TestCall,
    body: Bytes,
    timeout: Duration,
) -> Result<Option<(OutcomeReport, Bytes)>, Problem> {
    let away = || Problem::unavailable("the broker is not available", COME_BACK);
    let request = Member::new(call, body).map_err(|_| Problem::internal())?;
    let connecting = tokio::time::timeout(CONNECT_MAX, api.broker.rpc_client(&api.stop));
    let client = connecting.await.map_err(|_| away())?.map_err(|_| away())?;
    match client.call(Queue::RpcTest, request, timeout).await {
        Ok(answer) => {
            let report = answer.head::<OutcomeReport>().map_err(|error| {
                tracing::error!(%error, "a dispatcher's answer cannot be read");
                Problem::internal()
            })?;
            Ok(Some((report, answer.payload)))
        }
        Err(RpcError::Overloaded) => Err(Problem::unavailable("too many tests wait", COME_BACK)),
        Err(RpcError::Unreadable) => Err(Problem::internal()),
        Err(RpcError::Timeout(_) | RpcError::Lost) => Ok(None),
    }
}

fn shown(report: OutcomeReport, excerpt: Bytes) -> Result<TestResult, Problem> {
    let OutcomeReport { delivery, attempt, next_attempt_at, discard_reason, .. } = report;
    let Some(attempt) = attempt else {
        let reason = discard_reason.map_or_else(|| "without a reason".to_owned(), |reason| reason.to_string());
        return Err(Problem::conflict(format!("no attempt was made: {reason}")));
    };
    let row = AttemptRow {
        number: attempt.number,
        send_id: attempt.send_id,
        trigger: attempt.trigger,
        started_at: attempt.started_at,
        duration_us: attempt.duration_us,
        first_byte_us: attempt.first_byte_us,
        held_ms: attempt.held_ms,
        held_reason: attempt.held_reason,
        late_ms: attempt.late_ms,
        url: attempt.url,
        status_code: attempt.status_code,
        outcome: attempt.outcome,
        error: attempt.error,
        request_headers: attempt.request_headers.pairs(),
        response_headers: attempt.response_headers.pairs(),
        response_excerpt: excerpt,
        next_attempt_at,
    };
    Ok(TestResult {
        delivery_id: delivery.id.to_string(),
        event_id: delivery.event.to_string(),
        attempt: Attempt::from(row),
    })
}
