//! Makes one attempt: a POST that is signed when it starts, has a deadline, and is recorded.

pub(crate) mod body;
mod echoed_secrets;
pub(crate) mod headers;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_egress::{Egress, Request, Response};
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{HeldReason, Trigger};
use postrider_model::ids::SendId;
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::loop_guard::{REFUSED_DELIVERY, REFUSED_HEADER};
use postrider_wire::messages::{AttemptRecord, DeliveryTask};
use tracing::Instrument;

use crate::endpoint::PreparedEndpoint;
use crate::metrics::Metrics;
use crate::next_step;
use echoed_secrets::EchoedSecrets;

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Attempted {
    /// What the history records of the attempt.
    pub(crate) record: AttemptRecord,
    /// The beginning of the response's body.
    pub(crate) excerpt: Bytes,
    /// The delay that the endpoint requested with `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
    /// The time at which the attempt ended, by the monotonic clock.
    pub(crate) ended: Instant,
    /// The time at which the attempt ended, by the wall clock.
    pub(crate) ended_at: UnixMillis,
    /// The duration of the attempt.
    pub(crate) latency: Duration,
    /// The context of the attempt's span, if spans are exported.
    pub(crate) trace: Option<TraceContext>,
}

/// Makes the attempt of `task`. `held` contains the time at which the delivery was first held, and the reason.
pub(crate) async fn make(
    egress: &Egress,
    metrics: &Metrics,
    endpoint: &PreparedEndpoint,
    task: &DeliveryTask,
    body: Bytes,
    held: Option<(UnixMillis, HeldReason)>,
) -> Attempted {
    let _flight = metrics.flight();
    // The first attempt is a child of the event's fan-out. Each later attempt links to the first attempt.
    let first = task.traceparent.as_deref().filter(|_| task.number > 1);
    let span = spans::attempt(&task.delivery.id, &task.delivery.endpoint, task.number, first);
    let trace = TraceContext::of(&span);
    let traceparent = match (trace, &task.traceparent) {
        // Ingest checked or generated this `traceparent`.
        (None, Some(event)) => Cow::Borrowed(event.as_str()),
        (own, _) => Cow::Owned(own.unwrap_or_else(TraceContext::generate).to_string()),
    };
    let body = endpoint.payload(body, &task.delivery.event_type);
    let started_at = UnixMillis::now();
    let headers = headers::request(endpoint, task, started_at, &body, Some(&traceparent));
    let request_headers = headers::recorded(endpoint, &headers);
    let secrets = EchoedSecrets::of(endpoint, &headers);
    let request = Request { url: &endpoint.target.url, headers, body, timeout: endpoint.timeout };
    // This future is boxed because it is the largest part of a delivery's future, which is copied when the delivery's task is
    // spawned.
    let mut response = Box::pin(egress.send(request).instrument(span.clone())).await;
    if let Some(messenger) = &endpoint.messenger {
        messenger.judge(&mut response);
    }
    if is_loop(&response) {
        response.error = Some(LOOP.into());
    }
    secrets.mask_in(&mut response);
    let (ended, ended_at) = (Instant::now(), UnixMillis::now());

    let held_for = held.map(|(since, _)| since.until(started_at)).unwrap_or_default();
    let late = task.due_at.map(|due| due.until(started_at));
    let outcome = next_step::classify(response.outcome, response.status_code, &endpoint.retry_policy());
    spans::attempted(&span, response.status_code, (outcome != Outcome::Success).then_some(outcome.as_str()));
    tracing::debug!(
        delivery.id = %task.delivery.id, endpoint.id = %task.delivery.endpoint, attempt.number = task.number,
        %outcome, status_code = response.status_code, "made an attempt"
    );
    metrics.attempt(outcome);
    metrics.attempt_seconds.record(response.duration);
    if let Some(late) = late {
        metrics.late_seconds.record(late);
    }
    if !held_for.is_zero() {
        metrics.held_seconds.record(held_for);
    }
    if task.number == 1 && task.trigger == Trigger::First {
        // The latency of a scheduled delivery counts from the time at which it was due.
        endpoint.counts.promise.record(task.due_at.unwrap_or(task.delivery.accepted_at).until(ended_at));
    }
    let record = AttemptRecord {
        number: task.number,
        send_id: SendId::generate(),
        trigger: task.trigger,
        started_at,
        duration_us: micros(response.duration),
        first_byte_us: response.first_byte.map(micros),
        held_ms: millis(held_for),
        held_reason: held.filter(|_| !held_for.is_zero()).map(|(_, reason)| reason),
        late_ms: late.map(millis),
        url: endpoint.target.shown.clone(),
        status_code: response.status_code,
        outcome,
        error: response.error,
        request_headers,
        response_headers: response.headers.as_slice().into(),
    };
    let latency = response.duration;
    Attempted { record, excerpt: response.excerpt, retry_after: response.retry_after, ended, ended_at, latency, trace }
}

/// The error of an attempt whose endpoint is an address of Postrider itself.
const LOOP: &str = "loop refused: the endpoint is an address of Postrider itself, which accepts no deliveries";

/// Whether Postrider itself refused the delivery. Such an attempt is retried like any failed attempt.
fn is_loop(response: &Response) -> bool {
    response.status_code == Some(http::StatusCode::LOOP_DETECTED.as_u16())
        && response
            .headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case(REFUSED_HEADER) && value == REFUSED_DELIVERY)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
