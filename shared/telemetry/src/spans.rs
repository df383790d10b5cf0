//! The spans of an event, from its producer to its endpoint.
//!
//! Owns the names and attributes of these spans, which follow OpenTelemetry's conventions for messaging and HTTP. Promises: a
//! span that would not be recorded is [`Span::none`], so that nothing is created without an exporter or in a trace that is not
//! sampled. A span never contains an event's data or a URL, because a URL may be a secret.

use std::collections::HashSet;
use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::exporting::{SPANS, is_exporting};
use crate::trace_context::TraceContext;

/// The relation of a span to the span that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The span is a part of the same trace.
    Parent(TraceContext),
    /// The span starts a separate trace that is linked to the cause: for later work, or for one of many results.
    Link(TraceContext),
    /// The span starts a separate trace that is linked to the sender's trace: for requests and messages from outside. Only
    /// Postrider's sampler decides whether it is recorded; otherwise a sender could force the recording of all its events.
    Outside(TraceContext),
    /// The cause is unknown: the span starts a separate trace.
    None,
}

impl Cause {
    /// The trace in a message, as the parent.
    pub fn parent(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Parent)
    }

    /// The trace in a message, as a link.
    pub fn link(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Link)
    }

    /// The sender's trace, which a request or message from outside contains.
    pub fn outside(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Outside)
    }

    /// Whether a span may be recorded. With a parent or link, it is recorded if the parent or link is; in all other cases the
    /// sampler decides.
    fn is_recorded(self) -> bool {
        match self {
            Self::Parent(context) | Self::Link(context) => context.is_sampled(),
            Self::Outside(_) | Self::None => true,
        }
    }

    fn apply(self, span: &Span) {
        match self {
            Self::Parent(context) => context.adopt(span),
            Self::Link(context) | Self::Outside(context) => context.link(span),
            Self::None => {}
        }
    }
}

/// The span of an HTTP request. `route` is the pattern of the path. The span is linked to `traceparent`, the request's header.
/// The sampler decides whether this span and all spans that it causes are recorded.
pub fn request(method: &'static str, route: &'static str, traceparent: Option<&str>) -> Span {
    if !is_exporting() {
        return Span::none();
    }
    let span = info_span!(
        target: SPANS, parent: None, "request",
        otel.kind = "server", otel.name = format!("{method} {route}"), otel.status_code = Empty,
        http.request.method = method, http.route = route, http.response.status_code = Empty,
    );
    Cause::outside(traceparent).apply(&span);
    span
}

/// Records the status of the response to a request.
pub fn answered(request: &Span, status_code: u16) {
    if !request.is_none() {
        request.record("http.response.status_code", status_code);
        if status_code >= 500 {
            request.record("otel.status_code", "ERROR");
        }
    }
}

/// The span of publishing a message, up to the broker's confirm. It is a child of the current span and is recorded only if that
/// span is.
pub fn publish(destination: &'static str, message: &dyn Display) -> Span {
    if !is_current_recorded() {
        return Span::none();
    }
    info_span!(
        target: SPANS, "publish",
        otel.kind = "producer", otel.name = format!("publish {destination}"),
        messaging.system = "rabbitmq", messaging.operation.name = "publish", messaging.operation.type = "send",
        messaging.destination.name = destination, messaging.message.id = %message,
    )
}

/// The span of processing a message of `queue`, up to the confirms of all messages that it causes.
pub fn process(queue: &'static str, message: &dyn Display, cause: Cause) -> Span {
    if !is_exporting() || !cause.is_recorded() {
        return Span::none();
    }
    let span = info_span!(
        target: SPANS, parent: None, "process",
        otel.kind = "consumer", otel.name = format!("process {queue}"),
        messaging.system = "rabbitmq", messaging.operation.name = "process", messaging.operation.type = "process",
        messaging.destination.name = queue, messaging.message.id = %message,
    );
    cause.apply(&span);
    span
}

/// The span of processing several messages of `exchange` together. `causes` are their `traceparent`s. The span is linked to
/// each recorded cause (at most 128, or `OTEL_SPAN_LINK_COUNT_LIMIT`). If no cause is recorded, there is no span.
pub fn process_batch<'a>(
    exchange: &'static str,
    messages: usize,
    causes: impl IntoIterator<Item = Option<&'a str>>,
) -> Span {
    if !is_exporting() {
        return Span::none();
    }
    let parsed = causes.into_iter().flatten().filter_map(|text| text.parse::<TraceContext>().ok());
    let recorded: HashSet<TraceContext> = parsed.filter(|context| context.is_sampled()).collect();
    if recorded.is_empty() {
        return Span::none();
    }
    let span = info_span!(
        target: SPANS, parent: None, "process",
        otel.kind = "consumer", otel.name = format!("process {exchange}"),
        messaging.system = "rabbitmq", messaging.operation.name = "process", messaging.operation.type = "process",
        messaging.destination.name = exchange, messaging.batch.message_count = messages,
    );
    recorded.into_iter().for_each(|context| context.link(&span));
    span
}

/// The span of a POST to an endpoint: attempt `number` of `delivery`. It is a child of the current span and is recorded only if
/// that span is. `earlier` is the span of the first attempt, to which later attempts are linked.
pub fn attempt(delivery: &dyn Display, endpoint: &dyn Display, number: u16, earlier: Option<&str>) -> Span {
    if !is_current_recorded() {
        return Span::none();
    }
    let span = info_span!(
        target: SPANS, "attempt",
        otel.kind = "client", otel.status_code = Empty, error.type = Empty,
        http.request.method = "POST", http.response.status_code = Empty, http.request.resend_count = number.saturating_sub(1),
        delivery.id = %delivery, endpoint.id = %endpoint, attempt.number = number,
    );
    Cause::link(earlier).apply(&span);
    span
}

/// Records how an attempt ended. `error` is the kind of error; `None` if the attempt succeeded.
pub fn attempted(attempt: &Span, status_code: Option<u16>, error: Option<&str>) {
    if attempt.is_none() {
        return;
    }
    if let Some(status_code) = status_code {
        attempt.record("http.response.status_code", status_code);
    }
    if let Some(error) = error {
        attempt.record("error.type", error);
        attempt.record("otel.status_code", "ERROR");
    }
}

fn is_current_recorded() -> bool {
    TraceContext::current().is_some_and(TraceContext::is_sampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn without_an_exporter_no_span_is_created() {
        assert!(request("POST", "/v1/publish", Some(SAMPLED)).is_none());
        assert!(publish("postrider.accepted", &"evt_1").is_none());
        assert!(process("postrider.fanout", &"evt_1", Cause::parent(Some(SAMPLED))).is_none());
        assert!(process_batch("postrider.record", 2, [Some(SAMPLED)]).is_none());
        assert!(attempt(&"dlv_1", &"ep_1", 2, Some(SAMPLED)).is_none());
    }

    #[test]
    fn a_span_is_recorded_if_its_cause_was() {
        assert!(Cause::parent(Some(SAMPLED)).is_recorded());
        assert!(!Cause::parent(Some(&SAMPLED.replace("-01", "-00"))).is_recorded());
        assert!(!Cause::link(Some(&SAMPLED.replace("-01", "-00"))).is_recorded());
        assert_eq!(Cause::link(Some("nonsense")), Cause::None);
        assert!(Cause::outside(Some(&SAMPLED.replace("-01", "-00"))).is_recorded(), "up to the sampler");
    }
}
