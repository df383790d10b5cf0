//! Observing and stopping a process: logs, traces, metrics and health checks; supervised tasks, signals and drain.
//!
//! Promises: no secret reaches a log; a background task that fails ends its role; a stop is graceful within its time limit.
//! Does not serve HTTP (postrider-http serves the pages for probes), and does not depend on RabbitMQ, PostgreSQL or events.

pub mod drain;
mod exporting;
pub mod health;
pub mod metrics;
mod setup;
pub mod signals;
pub mod slots;
pub mod spans;
pub mod tasks;
pub mod trace_context;

pub use exporting::{SPANS, is_exporting};
pub use setup::{TelemetryError, TelemetryGuard, init};
