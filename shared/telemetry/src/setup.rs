//! Logs and traces.
//!
//! Logs go to stderr: as JSON with one object per line, or in a form for people if stderr is a terminal. `RUST_LOG` filters
//! them (default [`DEFAULT_FILTER`]). Traces are exported only if `OTEL_EXPORTER_OTLP_ENDPOINT` (or its `_TRACES_` form) is
//! set; otherwise a span of [`crate::spans`] costs one relaxed load. A JSON line that is written within a span contains the ids
//! of its trace and span.

mod json;
mod otlp;

use std::io::IsTerminal;

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::exporting::{SPANS, set_exporting};

/// Logs or traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` cannot be parsed.
    #[error("RUST_LOG is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A subscriber is already installed.
    #[error("logging is set up already")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
    /// The exporter's settings are not valid.
    #[error("traces cannot be exported: {0}")]
    Exporter(String),
}

/// Flushes spans that are not exported yet when it is dropped. Keep it until the end of `main`.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct TelemetryGuard {
    exporter: Option<otlp::Exporter>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        set_exporting(false);
        if let Some(exporter) = self.exporter.take() {
            exporter.shut_down();
        }
    }
}

/// Sets up logs and traces for the whole process. Call it once, at the beginning of `main`.
///
/// `service.name` is `postrider-<service>`, unless `OTEL_SERVICE_NAME` sets another name.
///
/// # Errors
/// `RUST_LOG` or the `OTEL_*` variables cannot be parsed, or the function was already called.
pub fn init(service: &'static str, version: &'static str) -> Result<TelemetryGuard, TelemetryError> {
    let exporter = otlp::Exporter::from_env(service, version)?;
    let spans = exporter.as_ref().map(|exporter| {
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("postrider"));
        tracing_opentelemetry::layer()
            .with_tracer(exporter.tracer())
            .with_location(false)
            .with_threads(false)
            .with_filter(LevelFilter::INFO)
            .with_filter(ours)
    });
    let exporting = spans.is_some();
    registry().with(spans).with(logs()?).try_init()?;
    set_exporting(exporting);
    Ok(TelemetryGuard { exporter })
}

/// The filter without `RUST_LOG`. It hides the broker's client, which logs errors for connections that are lost or closed on
/// purpose. The supervisor of each connection logs the relevant part of these errors.
const DEFAULT_FILTER: &str = "info,lapin=off";

fn logs<S>() -> Result<Box<dyn Layer<S> + Send + Sync>, TelemetryError>
where
    S: tracing::Subscriber + for<'a> registry::LookupSpan<'a> + Send + Sync,
{
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let wanted = wanted.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(wanted)?;
    let no_spans = filter_fn(|metadata| metadata.target() != SPANS);
    let stderr = fmt::layer().with_writer(std::io::stderr);
    Ok(if std::io::stderr().is_terminal() {
        stderr.with_target(false).with_filter(filter).with_filter(no_spans).boxed()
    } else {
        let stderr = stderr.json().flatten_event(true).with_span_list(false).map_event_format(json::WithTrace);
        stderr.with_filter(filter).with_filter(no_spans).boxed()
    })
}
