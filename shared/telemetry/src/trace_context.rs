//! W3C trace context: one value that messages about an event contain, from the producer to the endpoint.
//!
//! Without an exporter the context is passed on as text, and no span is used. With an exporter, a span becomes the parent of
//! the spans that it causes, also across the broker.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use rand::RngExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::exporting::is_exporting;

/// The name of the header, in HTTP and in AMQP.
pub const TRACEPARENT: &str = "traceparent";

/// The flag of a trace that is being recorded.
const SAMPLED: u8 = 1;

/// A `traceparent`: the ids of a trace and of one of its spans, and whether the trace is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// An error: the text is not a `traceparent` of the W3C recommendation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a W3C traceparent such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct NotATraceparent;

impl TraceContext {
    /// A new trace that is not recorded.
    pub fn generate() -> Self {
        let mut random = rand::rng();
        // In the recommendation, zero means "none". Setting the lowest bit avoids zero.
        Self { trace_id: random.random::<u128>() | 1, span_id: random.random::<u64>() | 1, flags: 0 }
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: rand::rng().random::<u64>() | 1, ..self }
    }

    /// Returns the producer's trace, or a new trace if its header is missing or invalid. An invalid header does not make the
    /// event invalid.
    pub fn continue_or_generate(header: Option<&str>) -> Self {
        header.and_then(|text| text.parse().ok()).unwrap_or_else(Self::generate)
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(self) -> impl fmt::Display {
        TraceId::from_bytes(self.trace_id.to_be_bytes())
    }

    /// The span's id: 16 hexadecimal digits.
    pub fn span_id(self) -> impl fmt::Display {
        SpanId::from_bytes(self.span_id.to_be_bytes())
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The context of `span`; `None` while no spans are exported.
    pub fn of(span: &Span) -> Option<Self> {
        if !is_exporting() {
            return None;
        }
        Self::from_span_context(span.context().span().span_context())
    }

    /// The context of the span in which this code runs; `None` while no spans are exported.
    pub fn current() -> Option<Self> {
        if !is_exporting() {
            return None;
        }
        Context::map_current(|context| Self::from_span_context(context.span().span_context()))
    }

    fn from_span_context(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            flags: context.trace_flags().to_u8(),
        })
    }

    /// The `traceparent` to send from within `span`: that of the span if spans are exported, otherwise `incoming`, otherwise a
    /// new one.
    pub fn onward(span: &Span, incoming: Option<&str>) -> Self {
        Self::of(span).unwrap_or_else(|| Self::continue_or_generate(incoming))
    }

    /// Makes this context the parent of `span`. Does nothing without an exporter. Call it before the span is entered.
    pub fn adopt(self, span: &Span) {
        if is_exporting() {
            let context = Context::new().with_remote_span_context(self.span_context());
            // This call fails for a span that is disabled or already started. The parent of such a span does not change.
            let _ = span.set_parent(context);
        }
    }

    /// Links `span` to this context, for retries and for batches of events. Does nothing without an exporter.
    pub fn link(self, span: &Span) {
        if is_exporting() {
            span.add_link(self.span_context());
        }
    }

    fn span_context(self) -> SpanContext {
        SpanContext::new(
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.span_id.to_be_bytes()),
            TraceFlags::new(self.flags),
            true,
            TraceState::default(),
        )
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = NotATraceparent;

    /// Section 3.2 of the recommendation: version 00 has exactly these four fields; a later version may have more.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.trim().as_bytes();
        let (Some(head), rest) = (bytes.get(..55), bytes.get(55..).unwrap_or_default()) else {
            return Err(NotATraceparent);
        };
        let dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        let version = hex(&head[..2])?;
        let rest_allowed = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
        if !dashes || version == 0xff || !rest_allowed {
            return Err(NotATraceparent);
        }
        let trace_id = hex(&head[3..35])?;
        let span_id = u64::try_from(hex(&head[36..52])?).map_err(|_| NotATraceparent)?;
        let flags = u8::try_from(hex(&head[53..55])?).map_err(|_| NotATraceparent)?;
        if trace_id == 0 || span_id == 0 {
            return Err(NotATraceparent);
        }
        // For version 00 only these two flags are defined (level 2 of the recommendation adds "random").
        Ok(Self { trace_id, span_id, flags: flags & 0b11 })
    }
}

/// Parses lower-case hexadecimal only, as the recommendation requires.
fn hex(digits: &[u8]) -> Result<u128, NotATraceparent> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return Err(NotATraceparent),
        };
        Ok(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_traceparent_that_is_read_is_written_as_version_00(
            text in postrider_fuzz::text(["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]),
        ) {
            if let Ok(context) = text.parse::<TraceContext>() {
                let printed = context.to_string();
                proptest::prop_assert_eq!(printed.len(), 55);
                proptest::prop_assert_eq!(printed.parse::<TraceContext>(), Ok(context));
            }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<TraceContext>().ok().map(|context| context.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    }

    #[test]
    fn a_traceparent_of_the_recommendation_is_read_and_no_other_text() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        check(good, Some(good));
        check(&format!(" {good} "), Some(good));
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", Some(&good.replace("-01", "-03")));
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", Some(good));
        check(&format!("{good}-more"), None);
        check("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", None);
        check("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
        check("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None);
        check("00-00000000000000000000000000000000-b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", None);
        check("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", None);
        check("", None);
        check("é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None);
    }

    #[test]
    fn a_new_trace_is_valid_and_a_child_stays_in_it() {
        let trace = TraceContext::generate();
        assert_eq!(trace.to_string().parse::<TraceContext>(), Ok(trace));
        assert!(!trace.is_sampled());
        let child = trace.child();
        assert_eq!(child.trace_id, trace.trace_id);
        assert_ne!(child.span_id, trace.span_id);
        assert_ne!(TraceContext::generate(), trace);
    }

    #[test]
    fn without_an_exporter_the_incoming_context_travels_on() {
        let incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceContext::onward(&Span::none(), Some(incoming)).to_string(), incoming);
        assert!(TraceContext::of(&Span::current()).is_none());
        assert_ne!(TraceContext::onward(&Span::none(), Some("nonsense")).to_string(), "nonsense");
    }
}
