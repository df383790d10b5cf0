//! JSON log lines that contain the ids of the trace and the span in which they were written.

use std::fmt::{self, Write as _};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::trace_context::TraceContext;

/// A JSON format. A line that is written within a span ends with its `trace_id` and `span_id`, the names that OpenTelemetry
/// uses.
pub(super) struct WithTrace<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(context) = TraceContext::current() else { return self.0.format_event(ctx, writer, event) };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(&with_ids(&line, context))
    }
}

/// Adds the ids to `line`, which is one JSON object with at least a timestamp.
fn with_ids(line: &str, context: TraceContext) -> String {
    let Some(open) = line.trim_end().strip_suffix('}') else { return line.to_owned() };
    let mut text = String::with_capacity(line.len() + 80);
    // Writing to a string does not fail.
    let _ = writeln!(text, r#"{open},"trace_id":"{}","span_id":"{}"}}"#, context.trace_id(), context.span_id());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_come_last_in_the_same_object() {
        let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        assert_eq!(
            with_ids("{\"level\":\"INFO\",\"a\":{}}\n", context),
            "{\"level\":\"INFO\",\"a\":{},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\"}\n"
        );
        assert_eq!(with_ids("no object\n", context), "no object\n");
    }
}
