//! Test calls: an attempt that a dispatcher makes immediately, also for an inactive endpoint.

mod sample;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::Queue;
use postrider_broker::rpc::RpcError;
use postrider_model::delivery::{Lane, Trigger};
use postrider_model::ids::{DeliveryId, EventId, Generation, RetryId, TenantId};
use postrider_model::limits::{ATTEMPT_TIMEOUT_MAX, DELIVERY_LIFETIME};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profile;
use postrider_store::config::Endpoint;
use postrider_store::history::AttemptRow;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{DeliveryRef, DeliveryTask, OutcomeReport, TestCall};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::sample::{TestSample, TestTypes};

use self::sample::PreparedTest;
use crate::deliveries::Attempt;
use crate::test_event::TestBody;
use crate::{Caller, Error, Operations};

/// How long to wait for the broker connection that test calls use.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long a test call waits for a dispatcher, in addition to the endpoint's timeout.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The sample event that a test call sends.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestEndpoint {
    /// The event type of the sample, from the tenant's catalog. If absent, the profile's test event is sent or, if the profile
    /// has none, the sample of its first type.
    #[schema(example = "email.bounced")]
    pub event_type: Option<String>,
    /// Replaces the sample's `data`: an object, at most 16 KiB. It must pass the checks of publishing: the members that the
    /// profile requires, and the type's schema if the tenant has `enforce_schemas`.
    #[schema(value_type = serde_json::Value, required = false)]
    pub data: Option<Box<RawValue>>,
}

/// The attempt of a test call.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestResult {
    /// The id of the delivery that has this attempt.
    pub delivery_id: DeliveryId,
    /// The event's id, which is also sent in the header `webhook-id`.
    pub event_id: EventId,
    /// The attempt.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// A test call whose attempt did not end in time.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestPending {
    /// The id of the delivery that will have the attempt.
    pub id: DeliveryId,
}

/// How a test call ended.
#[derive(Debug)]
pub enum TestOutcome {
    /// The attempt ended.
    Attempt(Box<TestResult>),
    /// No answer came in time.
    Pending(TestPending),
}

impl Operations {
    /// Asks a dispatcher to send a sample to an endpoint, and waits for the answer.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Invalid`] for an unknown event type, and for `data` that fails its checks.
    /// [`Error::TooMany`] while four other test calls of the tenant run.
    pub async fn test_endpoint(
        self: &Arc<Self>,
        caller: Caller,
        id: &str,
        request: TestEndpoint,
    ) -> Result<TestOutcome, Error> {
        let (now, event) = (UnixMillis::now(), EventId::generate());
        let prepared = self.prepare_test(caller, id, request.event_type.as_deref(), &event, now).await?;
        let (prepared, edited) = self.with_data(prepared, request.data).await?;
        let PreparedTest { endpoint, tenant, profile, body, .. } = prepared;
        let task = task(tenant.id, &endpoint, &body, event, now);
        let timeout = timeout_of(&endpoint, profile) + ANSWER_PATIENCE;
        let payload = Bytes::from(body.render(profile, endpoint.document.body_kind()));
        let call = TestCall { task, answer_by: now.plus(timeout) };
        let (slot, operations) = (self.heavy.test_call(tenant.id).await?, Arc::clone(self));
        let id = call.task.delivery.id;
        if let Some(data) = edited {
            self.store.history().keep_test_data(tenant.id, id, now, data.get()).await?;
        }
        // The dispatcher continues if the client disconnects. So this runs in a task, which keeps the slot until the dispatcher
        // answers.
        let asking = tokio::spawn(async move {
            let _slot = slot;
            operations.call_dispatcher(&call, payload, timeout).await
        });
        match asking.await.map_err(|_| Error::Internal)?? {
            Some((report, excerpt)) => Ok(TestOutcome::Attempt(Box::new(result_of(report, excerpt)?))),
            None => Ok(TestOutcome::Pending(TestPending { id })),
        }
    }

    /// Returns the dispatcher's answer; `None` if the call was sent but no answer came in time.
    async fn call_dispatcher(
        &self,
        call: &TestCall,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Option<(OutcomeReport, Bytes)>, Error> {
        let unavailable = || Error::unavailable("the broker is not available");
        let request = Member::new(call, body).map_err(|_| Error::Internal)?;
        let connecting = tokio::time::timeout(CONNECT_MAX, self.broker.rpc_client(&self.stop));
        let client = connecting.await.map_err(|_| unavailable())?.map_err(|_| unavailable())?;
        match client.call(Queue::RpcTest, request, timeout).await {
            Ok(answer) => {
                let report = answer.head::<OutcomeReport>().map_err(|error| {
                    tracing::error!(%error, "cannot read a dispatcher's answer");
                    Error::Internal
                })?;
                Ok(Some((report, answer.payload)))
            }
            Err(RpcError::Overloaded) => Err(Error::unavailable("too many tests wait")),
            Err(RpcError::Unreadable) => Err(Error::Internal),
            Err(RpcError::Timeout(_) | RpcError::Lost) => Ok(None),
        }
    }
}

fn timeout_of(endpoint: &Endpoint, profile: &Profile) -> Duration {
    let own = endpoint.document.timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    own.unwrap_or(profile.timeout).min(ATTEMPT_TIMEOUT_MAX)
}

fn task(tenant: TenantId, endpoint: &Endpoint, body: &TestBody, event: EventId, now: UnixMillis) -> DeliveryTask {
    let generation = Generation::Test(RetryId::generate());
    let delivery = DeliveryRef {
        id: DeliveryId::derive(tenant, &event, endpoint.id, &generation),
        event,
        event_day: now.day(),
        event_type: body.event_type().clone(),
        tenant,
        endpoint: endpoint.id,
        delivery_day: now.day(),
        created_at: now,
        accepted_at: now,
        generation,
        repeats: None,
    };
    DeliveryTask {
        delivery,
        occurred_at: body.occurred_at,
        number: 1,
        extra: 0,
        trigger: Trigger::Test,
        epoch: 0,
        lane: Lane::Live,
        config_version: endpoint.version,
        expires_at: now.plus(DELIVERY_LIFETIME),
        due_at: None,
        slot_at: None,
        slot_terms: None,
        held_since: None,
        held_reason: None,
        moves: 0,
        traceparent: None,
        turn: None,
    }
}

fn result_of(report: OutcomeReport, excerpt: Bytes) -> Result<TestResult, Error> {
    let OutcomeReport { delivery, attempt, next_attempt_at, discard_reason, .. } = report;
    let Some(attempt) = attempt else {
        let reason = discard_reason.map_or("without a reason", |reason| reason.as_str());
        return Err(Error::Conflict(format!("no attempt was made: {reason}")));
    };
    let row = AttemptRow { attempt, response_excerpt: excerpt, next_attempt_at };
    Ok(TestResult { delivery_id: delivery.id, event_id: delivery.event, attempt: row.into() })
}
