//! The vocabulary of Postrider: types and decisions without IO.
//!
//! Decisions are pure: times and random draws are arguments. Two constructors read the outside world, so that every service does it
//! the same way: [`UnixMillis::now`](time::UnixMillis::now) reads the clock, and the `generate` functions of [`ids`] also draw random
//! bits.
//!
//! # Glossary
//!
//! A word means the same in code, tables, routing keys, routes, log fields and metrics. In the order of an event's way:
//!
//! | word | meaning |
//! |---|---|
//! | [Tenant](ids::TenantId) | a customer account, with a profile, limits and API keys |
//! | Producer | a program that publishes events with an API key or through the broker |
//! | [Event](ids::EventId) | something that happened, as its producer published it: `data`, `metadata` and attributes |
//! | [Event type](event::EventType) | the class of an event, such as `email.bounced` |
//! | [Attribute](event::Attributes) | a name and a text by which events can be filtered, next to their payload |
//! | [Origin](event::Origin) | whether an API call or the product's dashboard caused an event |
//! | Profile | what makes deliveries look like one product's: envelope, headers, signature, retries (crate `postrider-profiles`) |
//! | [Endpoint](ids::EndpointId) | where a tenant receives events: a URL or a Pushover user |
//! | [Channel](endpoint::Channel) | how deliveries reach an endpoint: HTTP or Pushover |
//! | [Subscription](subscription::Subscription) | the event types and filters of an endpoint |
//! | [Filter](subscription::FilterValues) | the values that a subscription accepts for an attribute |
//! | [Payload filter](payload_filter::PayloadFilter) | a condition on `data`, `metadata` and attributes |
//! | Decision | the endpoints to which fan-out delivers an event |
//! | [Delivery](ids::DeliveryId) | one event for one endpoint |
//! | [Generation](ids::Generation) | why a delivery exists: the event itself, a manual retry, a replay or a test |
//! | Epoch | the number of a delivery's copy; copies below an intervention's epoch are dropped |
//! | [Attempt](attempt) | one HTTP request of a delivery |
//! | [Outcome](attempt::Outcome) | how an attempt ended |
//! | [Trigger](delivery::Trigger) | what caused an attempt |
//! | [Retry schedule](retry::RetrySchedule) | the delays between a delivery's attempts |
//! | [Lane](delivery::Lane) | a queue of deliveries with its own consumers: live, slow or bulk |
//! | Pace | what limits the attempts to one endpoint: rate, concurrency, breaker and requested pauses |
//! | Slot | the time that an endpoint's rate or concurrency grants to a delivery |
//! | [Held](delivery::HeldReason) | waiting for a slot before the attempt |
//! | [Breaker](breaker) | limits a failing endpoint to one attempt at a time, in the slow lane |
//! | Scheduler lag | how late a process runs its tasks because its processors are busy |
//! | Fair share | the rate that a tenant may use while other tenants are active |
//! | Intervention | a person's decision about deliveries in flight: cancel, retry or expunge |
//! | [Replay](replay) | delivering past events again |
//! | Configuration version | a number that grows with every edit of tenants, keys, endpoints and event types |
//! | Outbox | deliveries and events stored in the database until the broker has confirmed them |
//! | History | the events, deliveries and attempts in the database, by day |
//! | Bundle | a broker message with several members |
//! | Member | one event, delivery or report in a bundle: a head and a payload |
//! | Publisher confirm | the broker's word that a message is stored |
//! | Delay ladder | queues with fixed delays, on which deliveries wait for their next attempt or their slot |
//! | Rung | one queue of the ladder |
//! | Parked | on the ladder |
//! | Hint | a message between processes that may be lost, such as a breaker's change |
//! | Dead letter | a message that cannot be processed, kept for the operator |
//!
//! # What is not promised
//!
//! Deliveries are **at least once**: a crash may repeat an attempt and never drops one. A repeated attempt has the same
//! `webhook-id` and `postrider-delivery`, so that a receiver can deduplicate. Order is not promised.

pub mod attempt;
pub mod breaker;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod explain;
pub mod filters;
pub mod ids;
pub mod json;
pub mod latency;
pub mod limits;
#[cfg(feature = "openapi")]
mod openapi;
pub mod payload_filter;
pub mod pushover;
pub mod replay;
pub mod retry;
pub mod scope;
pub mod stats;
pub mod subscription;
pub mod tenant_limits;
pub mod text;
pub mod time;
pub mod timestamp;
