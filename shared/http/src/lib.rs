//! Serving HTTP: the server with its limits, errors as `application/problem+json`, the strict reader of JSON bodies, and the
//! pages for probes.
//!
//! Owns everything between a socket and a handler that every service needs. Does not depend on RabbitMQ, PostgreSQL or events.

pub mod json;
pub mod pages;
pub mod problem;
pub mod server;
mod settings;

pub use settings::Settings;
