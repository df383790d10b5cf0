//! What every service needs around its work and none should write twice: settings, logs and traces, metrics, health,
//! an HTTP server, signals, drain, how busy the machine is, and the error body of the HTTP API.
//!
//! Owns the process's edges. Promises: settings are read once and checked before anything starts; secrets never reach
//! a log; a stop is graceful for as long as its bound and no longer. Does not know RabbitMQ, PostgreSQL or what an event is.

pub mod config;
pub mod cpu_pressure;
pub mod drain;
pub mod health;
pub mod http;
pub mod metrics;
pub mod problem;
pub mod signals;
pub mod slots;
pub mod spans;
pub mod tasks;
pub mod telemetry;
pub mod trace_context;
