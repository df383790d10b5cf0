//! Makes one attempt: a POST that is signed when it starts, has a deadline, and is recorded. A POST with a batch is one attempt of
//! each of its members.

pub(crate) mod body;
mod echoed_secrets;
pub(crate) mod headers;
pub(crate) mod outbound;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_egress::Response;
use postrider_model::attempt::Outcome;
use postrider_model::batch::BatchPlace;
use postrider_model::delivery::{HeldReason, Trigger};
use postrider_model::ids::{BatchId, SendId};
use postrider_model::time::UnixMillis;
use postrider_telemetry::spans;
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::headers::HeaderList;
use postrider_wire::loop_guard::{REFUSED_DELIVERY, REFUSED_HEADER};
use postrider_wire::messages::{AttemptRecord, DeliveryTask};
use tracing::Instrument;

use crate::endpoint::PreparedEndpoint;
use crate::metrics::Metrics;
use crate::next_step;
use echoed_secrets::EchoedSecrets;
use headers::Subject;
use outbound::Outbound;

/// A request that was made.
#[derive(Debug)]
pub(crate) struct Sent {
    response: Response,
    /// How the request ended, by the profile's meaning of status codes.
    pub(crate) outcome: Outcome,
    request_headers: HeaderList,
    started_at: UnixMillis,
    /// The time at which the request ended, by the monotonic clock.
    pub(crate) ended: Instant,
    /// The time at which the request ended, by the wall clock.
    pub(crate) ended_at: UnixMillis,
    /// The context of the request's span, if spans are exported.
    pub(crate) trace: Option<TraceContext>,
}

impl Sent {
    /// The duration of the request.
    pub(crate) fn latency(&self) -> Duration {
        self.response.duration
    }

    /// The response's status code.
    pub(crate) fn status_code(&self) -> Option<u16> {
        self.response.status_code
    }

    /// The delay that the endpoint requested with `Retry-After`.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.response.retry_after
    }

    /// The beginning of the response's body.
    pub(crate) fn excerpt(&self) -> Bytes {
        self.response.excerpt.clone()
    }
}

/// An attempt of one delivery that ended.
#[derive(Debug)]
pub(crate) struct Attempted {
    /// What the history records of the attempt.
    pub(crate) record: AttemptRecord,
    pub(crate) sent: Sent,
}

/// The time at which a delivery was first held, and the reason.
pub(crate) type Held = Option<(UnixMillis, HeldReason)>;

/// How a delivery came to its request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstances {
    /// The time at which the delivery was first held, and the reason.
    pub(crate) held: Held,
    /// Its place in the request, if its endpoint is batched.
    pub(crate) batch: Option<BatchPlace>,
    /// The time from which it waited for others to gather. This wait is the endpoint's wish, so the metrics do not
    /// count it as latency.
    pub(crate) gathers_since: Option<UnixMillis>,
}

/// Makes the attempt of `task` alone. A delivery of a batched endpoint is sent as a batch with one member.
pub(crate) async fn make(
    outbound: &Outbound,
    metrics: &Metrics,
    endpoint: &PreparedEndpoint,
    task: &DeliveryTask,
    body: Bytes,
    held: Held,
) -> Attempted {
    let place = endpoint.batch.map(|_| BatchPlace { id: BatchId::generate(), position: 1, size: 1 });
    let sent = match place {
        Some(BatchPlace { id, .. }) => post_batch(outbound, metrics, endpoint, id, (task, &body), &[]).await,
        None => post(outbound, metrics, endpoint, Subject::Delivery(task), (task, body)).await,
    };
    let circumstances = Circumstances { held, batch: place, gathers_since: None };
    let record = record(metrics, endpoint, task, &sent, circumstances);
    Attempted { record, sent }
}

/// A delivery with its body.
pub(crate) type WithBody<'a> = (&'a DeliveryTask, &'a Bytes);

/// Sends the deliveries of a batch in one request.
pub(crate) async fn post_batch(
    outbound: &Outbound,
    metrics: &Metrics,
    endpoint: &PreparedEndpoint,
    id: BatchId,
    first: WithBody<'_>,
    others: &[WithBody<'_>],
) -> Sent {
    let id = id.as_event_id();
    let subject = Subject::batch(&id, first.0, others.iter().map(|(task, _)| *task));
    let members = std::iter::once(&first).chain(others);
    let body = endpoint.profile.batch.render(members.map(|(task, body)| (&task.delivery.event, &body[..]))).into();
    metrics.batches.increment(1);
    metrics.batched.increment(1 + others.len() as u64);
    post(outbound, metrics, endpoint, subject, (first.0, body)).await
}

/// Makes a request. Its span belongs to the delivery `task`.
async fn post(
    outbound: &Outbound,
    metrics: &Metrics,
    endpoint: &PreparedEndpoint,
    subject: Subject<'_>,
    (task, body): (&DeliveryTask, Bytes),
) -> Sent {
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
    let headers = headers::request(endpoint, subject, started_at, &body, Some(&traceparent));
    let request_headers = headers::recorded(endpoint, &headers);
    let secrets = EchoedSecrets::of(endpoint, &headers);
    // This future is boxed because it is the largest part of a delivery's future, which is copied when the delivery's task is
    // spawned.
    let mut response = Box::pin(outbound.send(endpoint, task, headers, body).instrument(span.clone())).await;
    if let Some(messenger) = &endpoint.messenger {
        messenger.judge(&mut response);
    }
    if is_loop(&response) {
        response.error = Some(LOOP.into());
    }
    secrets.mask_in(&mut response);
    let (ended, ended_at) = (Instant::now(), UnixMillis::now());
    let outcome = next_step::classify(response.outcome, response.status_code, &endpoint.retry_policy());
    spans::attempted(&span, response.status_code, (outcome != Outcome::Success).then_some(outcome.as_str()));
    tracing::debug!(
        delivery.id = %task.delivery.id, endpoint.id = %task.delivery.endpoint, attempt.number = task.number,
        %outcome, status_code = response.status_code, "made an attempt"
    );
    metrics.attempt(outcome);
    metrics.attempt_seconds.record(response.duration);
    Sent { response, outcome, request_headers, started_at, ended, ended_at, trace }
}

/// What the history records of the attempt of `task` that a request made.
pub(crate) fn record(
    metrics: &Metrics,
    endpoint: &PreparedEndpoint,
    task: &DeliveryTask,
    sent: &Sent,
    circumstances: Circumstances,
) -> AttemptRecord {
    let Circumstances { held, batch, gathers_since } = circumstances;
    let Sent { response, outcome, request_headers, started_at, ended_at, .. } = sent;
    let held_for = held.map(|(since, _)| since.until(*started_at)).unwrap_or_default();
    let late = task.due_at.map(|due| due.until(gathers_since.unwrap_or(*started_at)));
    if let Some(late) = late {
        metrics.late_seconds.record(late);
    }
    if !held_for.is_zero() {
        metrics.held_seconds.record(held_for);
    }
    if task.number == 1 && task.trigger == Trigger::First {
        // The latency of a scheduled delivery counts from the time at which it was due.
        let since = task.due_at.unwrap_or(task.delivery.accepted_at);
        let gathered_for = gathers_since.map(|since| since.until(*started_at)).unwrap_or_default();
        endpoint.counts.promise.record(since.until(*ended_at).saturating_sub(gathered_for));
    }
    AttemptRecord {
        number: task.number,
        send_id: SendId::generate(),
        trigger: task.trigger,
        started_at: *started_at,
        duration_us: micros(response.duration),
        first_byte_us: response.first_byte.map(micros),
        held_ms: millis(held_for),
        held_reason: held.filter(|_| !held_for.is_zero()).map(|(_, reason)| reason),
        late_ms: late.map(millis),
        url: endpoint.target.shown.clone(),
        status_code: response.status_code,
        outcome: *outcome,
        error: response.error.clone(),
        request_headers: request_headers.clone(),
        response_headers: response.headers.as_slice().into(),
        batch,
    }
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
