//! One POST: signed for its moment, sent within its deadline, written down.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postrider_egress::{Egress, Request};
use postrider_model::delivery::{HeldReason, Trigger};
use postrider_model::ids::SendId;
use postrider_model::time::UnixMillis;
use postrider_runtime::telemetry::{self, SPANS};
use postrider_runtime::trace_context::TraceContext;
use postrider_wire::messages::{AttemptRecord, DeliveryTask};
use tracing::{Instrument, Span};

use crate::conclude;
use crate::headers;
use crate::metrics::Metrics;
use crate::prepared::Prepared;

/// A POST that ended.
#[derive(Debug)]
pub(crate) struct Attempted {
    /// What is kept of it.
    pub(crate) record: AttemptRecord,
    /// The beginning of the answer's body.
    pub(crate) excerpt: Bytes,
    /// How long the endpoint asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// When it ended, for counting delays from.
    pub(crate) ended: Instant,
    /// The same, for the record.
    pub(crate) ended_at: UnixMillis,
    /// How long it took.
    pub(crate) latency: Duration,
}

/// Makes the attempt that `task` asks for. `held`: since when it was held in memory or on the ladder, and why.
pub(crate) async fn make(
    egress: &Egress,
    metrics: &Metrics,
    endpoint: &Prepared,
    task: &DeliveryTask,
    body: Bytes,
    held: Option<(UnixMillis, HeldReason)>,
) -> Attempted {
    let _flight = metrics.flight();
    let span = span(task);
    let traceparent = match &task.traceparent {
        // Ours since ingest, so that it needs no second look.
        Some(event) if !telemetry::is_exporting() => Cow::Borrowed(event.as_str()),
        event => Cow::Owned(TraceContext::onward(&span, event.as_deref()).to_string()),
    };
    let started_at = UnixMillis::now();
    let headers = headers::request(endpoint, task, started_at, &body, Some(&traceparent));
    let request_headers = headers::recorded(endpoint, &headers);
    let request = Request { url: endpoint.url.clone(), headers, body, timeout: endpoint.timeout };
    // Boxed: the largest part of a delivery's task, which is copied when it is spawned.
    let response = Box::pin(egress.send(request).instrument(span)).await;
    let (ended, ended_at) = (Instant::now(), UnixMillis::now());

    let held_for = held.map(|(since, _)| since.until(started_at)).unwrap_or_default();
    let late = task.due_at.map(|due| due.until(started_at));
    let outcome = conclude::outcome(response.outcome, response.status_code, &endpoint.retry_policy());
    metrics.attempt(outcome);
    metrics.attempt_seconds.record(response.duration);
    if let Some(late) = late {
        metrics.late_seconds.record(late);
    }
    if !held_for.is_zero() {
        metrics.held_seconds.record(held_for);
    }
    if task.number == 1 && task.trigger == Trigger::First {
        endpoint.promise.record(task.delivery.accepted_at.until(ended_at));
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
        url: endpoint.url.as_str().to_owned(),
        status_code: response.status_code,
        outcome,
        error: response.error,
        request_headers,
        response_headers: response.headers.as_slice().into(),
    };
    let latency = response.duration;
    Attempted { record, excerpt: response.excerpt, retry_after: response.retry_after, ended, ended_at, latency }
}

/// The first attempt belongs to the event's trace; later ones are traces of their own that link to it.
fn span(task: &DeliveryTask) -> Span {
    if !telemetry::is_exporting() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: SPANS,
        "attempt",
        otel.kind = "client",
        http.request.method = "POST",
        delivery.id = %task.delivery.id,
        endpoint.id = %task.delivery.endpoint,
        attempt.number = task.number,
    );
    if let Some(event) = task.traceparent.as_deref().and_then(|text| text.parse::<TraceContext>().ok()) {
        if task.number == 1 { event.adopt(&span) } else { event.link(&span) }
    }
    span
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
