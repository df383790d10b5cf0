//! The recorder with a real RabbitMQ and a real PostgreSQL.

mod disable;
mod harness;
mod outages;
mod outbox_relay;
mod poison;
mod reconciling;
mod recording;
