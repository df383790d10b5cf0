//! The vocabulary of Postrider: pure types and pure decisions, no IO and no clock.
//!
//! # Glossary
//!
//! These words mean the same thing in code, tables, routing keys, routes, log fields and metrics.
//!
//! | word | meaning |
//! |---|---|
//! | [Tenant](ids::TenantId) | one customer account, with a profile, limits and keys |
//! | [Event](ids::EventId) | something that happened |
//! | [EventType](event::EventType) | its class, such as `email.bounced` |
//! | [Endpoint](ids::EndpointId) | where a tenant wants events: a URL or a Pushover user |
//! | [Subscription](subscription::Subscription) | the event types and filters of an endpoint |
//! | [Delivery](ids::DeliveryId) | one event for one endpoint |
//! | [Attempt](attempt) | one HTTP request of a delivery |
//! | [Outcome](attempt::Outcome) | how an attempt ended |
//! | [RetrySchedule](retry::RetrySchedule) | the delays between attempts |
//! | Profile | everything that makes deliveries look like one product's (crate `postrider-profiles`) |
//! | [Lane](delivery::Lane) | a separately budgeted queue of deliveries: live, slow or bulk |
//! | [Breaker](breaker) | what keeps all but one attempt at a time from an endpoint that fails |
//! | [Replay](replay) | delivering past events again |
//!
//! The broker's words:
//!
//! | word | meaning |
//! |---|---|
//! | Bundle | one broker message with up to 32 members, because a message costs and its bytes hardly do |
//! | Member | one piece of work in a bundle: an event, a delivery, a decision or an outcome |
//! | Confirm | the broker's answer that a message is on disk on a majority of its nodes |
//! | Settle | to finish a consumed message: ack it, or requeue it |
//! | In flight | consumed and not yet settled, or sent and not yet confirmed |
//! | Dead letter | a message or member that cannot be processed, kept with the reason |
//! | Ladder | the fixed list of delays that retries and held deliveries wait on |
//! | Rung | one delay of the ladder: a queue whose messages expire back into their lane |
//! | Epoch | counts the times that a delivery was given to the broker again; copies with a lower epoch are dropped |
//! | [Generation](ids::Generation) | which round of delivering an event to an endpoint: the first, a retry by hand, a replay, a test |
//!
//! # What is not promised
//!
//! Deliveries are **at least once**: a crash may repeat an attempt, never drop one. A repeated attempt carries
//! the same `webhook-id` and `postrider-delivery`, so that a receiver can dedupe. Order is not promised.

pub mod attempt;
pub mod breaker;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod explain;
pub mod ids;
pub mod latency;
pub mod limits;
#[cfg(feature = "openapi")]
mod openapi;
pub mod payload_filter;
pub mod pushover;
pub mod replay;
pub mod retry;
pub mod scope;
pub mod shares;
pub mod subscription;
pub mod time;
pub mod timestamp;
