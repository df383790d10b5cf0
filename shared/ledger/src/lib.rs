//! The rules over the store's rows: what is missing, and what is published again.
//!
//! - [`audit`] balances the history by tenant and day and names what is missing.
//! - [`retry`] decides about retries on request.
//! - [`reconcile`] decides which overdue deliveries are lost, and repairs them.
//! - [`replay`] selects the deliveries of a replay.
//! - [`body`] is the input for rendering a recorded event.
//!
//! # Not here
//! SQL and rows belong to `postrider-store`. Nothing is sent: queues belong to `postrider-broker`, and entries of the outbox are
//! published by `postrider-relay`. When these rules run is the services' choice.

mod attempt;
pub mod audit;
pub mod body;
pub mod reconcile;
pub mod replay;
pub mod retry;
