//! Rules over the store's rows: which rows are missing, and which messages are published again.
//!
//! - [`audit`] balances the history by tenant and day, and lists missing rows.
//! - [`erase`] finds the rows that hold the value of an erasure.
//! - [`manual_retry`] decides about retries that a person requests.
//! - [`notice`] decides what is told about the state of an endpoint, and words it.
//! - [`pause`] decides what is released and discarded of what was set aside for paused endpoints.
//! - [`reconcile`] decides which overdue deliveries are lost, and repairs them.
//! - [`replay`] selects the deliveries of a replay.
//! - [`body`] prepares a recorded event for rendering.
//!
//! # Not here `postrider-store` owns SQL and rows. This crate sends nothing: `postrider-broker` owns the queues, and
//! `postrider-relay` publishes the entries of the outbox. The services decide when to apply these rules.

mod attempt;
pub mod audit;
pub mod body;
pub mod erase;
pub mod manual_retry;
pub mod notice;
pub mod pause;
pub mod reconcile;
pub mod replay;
