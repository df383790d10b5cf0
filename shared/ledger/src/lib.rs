//! The rules over the store's rows: which events and deliveries are missing, and how a committed message is published.
//!
//! - [`audit`] balances the history by tenant and day and names what is missing.
//! - [`relay`] renders and publishes entries of the outbox, and removes them.
//!
//! # Not here
//! SQL and rows belong to `postrider-store`, queues to `postrider-broker`. When these rules run is the services' choice.

pub mod audit;
pub mod relay;
