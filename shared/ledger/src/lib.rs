//! The rules over the store's rows: what is missing, what is published again, and how a committed message is published.
//!
//! - [`audit`] balances the history by tenant and day and names what is missing.
//! - [`retry`] decides about retries on request.
//! - [`reconcile`] decides which overdue deliveries are lost, and repairs them.
//! - [`replay`] selects the deliveries of a replay.
//! - [`relay`] renders and publishes entries of the outbox, and removes them; [`body`] is the input for rendering.
//!
//! # Not here
//! SQL and rows belong to `postrider-store`, queues to `postrider-broker`. When these rules run is the services' choice.

mod attempt;
pub mod audit;
pub mod body;
pub mod reconcile;
pub mod relay;
pub mod replay;
pub mod retry;
