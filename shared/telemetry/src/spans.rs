//! The spans of an event, from its producer to its endpoint.
//!
//! Owns their names and attributes, which are OpenTelemetry's for messaging and HTTP. Promises: a span that would not be recorded is
//! [`Span::none`], so that nothing is created without an exporter or in a trace that is not sampled. A span never contains an event's
//! data, nor a URL, which may be a secret.

use std::collections::HashSet;
use std::fmt::Display;

use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::exporting::{SPANS, is_exporting};
use crate::trace_context::TraceContext;

/// How a span follows the one that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A part of the same trace.
    Parent(TraceContext),
    /// Later, or one of many: a trace of its own, linked to that one.
    Link(TraceContext),
    /// A request or message from outside: a trace of its own, linked to the sender's. Whether it is recorded is our
    /// sampler's choice alone, for a sender could otherwise have all of its events recorded.
    Outside(TraceContext),
    /// Nothing that is known: a trace of its own.
    None,
}

impl Cause {
    /// The parent that a message names, if it does.
    pub fn parent(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Parent)
    }

    /// The link that a message names, if it does.
    pub fn link(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Link)
    }

    /// The sender's trace, which a request or message from outside names, if it does.
    pub fn outside(traceparent: Option<&str>) -> Self {
        traceparent.and_then(|text| text.parse().ok()).map_or(Self::None, Self::Outside)
    }

    /// Whether what follows is recorded: it is as its cause was, and up to the sampler where there is none.
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

/// An HTTP request is answered. `route` is the path's pattern, `traceparent` the request's header, which the span is linked
/// to. Whether it is recorded is the sampler's choice, which everything behind it follows.
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

/// Records the status of a request's answer.
pub fn answered(request: &Span, status_code: u16) {
    if !request.is_none() {
        request.record("http.response.status_code", status_code);
        if status_code >= 500 {
            request.record("otel.status_code", "ERROR");
        }
    }
}

/// A message is published, up to the broker's confirm. A part of the current span, and only if that is recorded.
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

/// A message of `queue` is processed, up to the confirms of everything that it causes.
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

/// Many messages of `exchange` are processed together. `causes` are the `traceparent`s that they name: the span is
/// linked to each that is recorded (to 128 of them unless `OTEL_SPAN_LINK_COUNT_LIMIT` says otherwise), and none is
/// made when none is.
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

/// One POST to an endpoint: attempt `number` of `delivery`. A part of the current span, and only if that is recorded.
/// `earlier` is the first attempt's span, which every later one is linked to.
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

/// Records how an attempt ended: `error` is its kind, unless it succeeded.
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
