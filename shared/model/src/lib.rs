//! The vocabulary of Postrider: types and rules without IO.
//!
//! The rules are pure functions: times and random draws are arguments. Only two kinds of constructors use the outside world, so
//! that every service does it in the same way: [`UnixMillis::now`](time::UnixMillis::now) reads the clock, and the `generate`
//! functions of [`ids`] also draw random bits.
//!
//! # Glossary
//!
//! A word means the same in code, tables, routing keys, routes, log fields and metrics. The words follow the way of an event:
//!
//! | word | meaning |
//! |---|---|
//! | [Tenant](ids::TenantId) | a customer account, with a profile, limits and API keys |
//! | Producer | a program that publishes events with an API key or through the broker |
//! | [Event](ids::EventId) | something that happened, as its producer published it: `data`, `metadata` and attributes |
//! | [Event type](event::EventType) | the class of an event, such as `email.bounced` |
//! | [Attribute](event::Attributes) | a name and a text by which events can be filtered, next to their payload |
//! | [Origin](event::Origin) | what caused an event: an API call, the product's dashboard, or a change of an endpoint's state |
//! | Profile | what makes deliveries look like one product's: envelope, headers, signature, retries (`postrider-profiles`) |
//! | [Brand](brand::Brand) | what makes the dashboard look like one product's: name, accent colour, logo, links, terms, language |
//! | [Endpoint](ids::EndpointId) | where a tenant receives events: a URL, a Pushover user, a chat or e-mail addresses |
//! | [Channel](endpoint::Channel) | how deliveries reach an endpoint: HTTP, Pushover, a chat service or e-mail |
//! | [Notification](notification::Notification) | the readable text of an event, which chat services and e-mail show |
//! | [Subscription](subscription::Subscription) | the event types and filters of an endpoint |
//! | [Filter](subscription::FilterValues) | the values that a subscription accepts for an attribute |
//! | [Payload filter](payload_filter::PayloadFilter) | a condition on `data`, `metadata` and attributes |
//! | Decision | the endpoints to which fan-out delivers an event |
//! | [Delivery](ids::DeliveryId) | one event for one endpoint, with a retry schedule and a final status |
//! | [Phase](delivery_phase::DeliveryPhase) | what a pending delivery waits for: scheduled, queued, retrying, held, waiting or paused |
//! | [Delivery window](delivery_window::DeliveryWindow) | when the deliveries of an event may be attempted: from its `deliver_at` until it expires |
//! | [Generation](ids::Generation) | why a delivery exists: its event, a manual retry, a replay or a test; each has its own id |
//! | Repeated delivery | the delivery that a retry or replay repeats: `repeats` in code, `origin` in messages and tables |
//! | Copy | one broker message of an event or delivery; a repair, or a retry of a pending delivery, publishes a second one |
//! | Epoch | the number of a copy, from 0; a dispatcher drops copies whose epoch is below that of an intervention |
//! | [Attempt](attempt) | one HTTP request of a delivery |
//! | [Outcome](attempt::Outcome) | how an attempt ended |
//! | Cause | why an attempt failed: its outcome, and the status code if there was a response |
//! | [Trigger](delivery::Trigger) | what caused an attempt |
//! | [Retry schedule](retry_schedule::RetrySchedule) | the delays between attempts, from the profile or the endpoint |
//! | [Lane](delivery::Lane) | a queue of deliveries with its own consumers: live, slow or bulk |
//! | Admission | ingest's permission to publish events of a tenant, with the lane of their deliveries |
//! | Pace | what limits the attempts to one endpoint: rate, concurrency, breaker and requested pauses |
//! | Slot | the time that an endpoint's rate or concurrency grants to a delivery |
//! | [Held](delivery::HeldReason) | waiting for a slot before the attempt. A hold is one such wait, at most 10 minutes |
//! | [Ordered endpoint](ordering) | an endpoint whose deliveries are attempted in the order in which their events were accepted |
//! | Key | the value of an event's field by which an ordered endpoint's deliveries are divided into lines |
//! | Line | the deliveries of an ordered endpoint with one key, oldest first; each replay has lines of its own |
//! | Position | the number of a delivery in all lines; a line follows its positions |
//! | Run | the first deliveries of a line, published together and attempted one after the other by one dispatcher |
//! | Turn | the right of a delivery to be attempted: it belongs to the current run of its line |
//! | Held line | a line that waits for a person, because its first delivery failed for good |
//! | Sequencer | the recorder's task that stores lines and publishes their runs |
//! | [Batch](batch) | one request with several events of a batched endpoint; each event is a member with a delivery of its own |
//! | To gather | to let deliveries of a batched endpoint wait in a dispatcher until their batch is complete |
//! | Outage | a time in which an endpoint failed at least 5 times in a row and never succeeded |
//! | [Paused](delivery::EndpointStatus) | a status of an endpoint: its deliveries are set aside until it is resumed |
//! | Set aside | a pending delivery of a paused endpoint, in the database only: the broker has no copy. To release is to publish it |
//! | [Notice](notice) | an event about the state of an endpoint, which goes to its addressee only, another endpoint of the tenant |
//! | Addressee | the only endpoint that gets a notice |
//! | Skip | to discard what was set aside for a paused endpoint, on a person's order |
//! | [Breaker](breaker) | limits a failing endpoint to one attempt at a time, in the slow lane |
//! | Scheduler lag | how late a process runs its tasks because its processors are busy |
//! | Fair share | the rate that a tenant may use while other tenants are active |
//! | Intervention | a person's order (cancel, retry, expunge) or a repair that makes older copies stale |
//! | Expunge | to erase the payload of an event from the history and discard its pending deliveries |
//! | [Erasure](erasure) | an order to expunge every event of a tenant that holds a value, and to erase the value from answers and dead letters |
//! | [Replay](replay) | an order to deliver past events again |
//! | Recovery | the replay of what one endpoint did not receive: failed deliveries, and events of a time in which it was off |
//! | Configuration | the tenants, keys, endpoints and event types in the database; not the settings of a process |
//! | Configuration version | a number that grows with every edit of the configuration |
//! | Settings | what environment variables and flags say to a process |
//! | Instance | one start of a process; a restart is another instance |
//! | Sequence number | the number that an ingest instance gives an event, from 0 |
//! | Settled | a message whose effects are confirmed or committed, so it can be acked; a sequence number confirmed or given up |
//! | Outbox | deliveries, operational events and requeued dead letters, in the database until the broker confirms them |
//! | History | the events, decisions, deliveries, attempts and dead letters in the database, by day |
//! | Record | to write rows of the history; what has a row is on record |
//! | Reconcile | to find events and deliveries on record whose messages were lost, and to repair them: to publish or end them |
//! | Audit | a check of the history: the counts of its tables must agree with each other and with the sequence numbers |
//! | Audit log | who changed what and when, with the values before and after; not part of the history |
//! | [Saved view](saved_view) | a named filter of a list of the dashboard, shared by everybody who reads a tenant's pages |
//! | [Portal link](ids::PortalLinkId) | a one-time link that opens a portal session: a tenant's dashboard without an API key |
//! | Bundle | a broker message with several members |
//! | Member | one event, delivery or report in a bundle: a head and a payload; of a batch: one of its deliveries |
//! | JSON member | a name and a value in a JSON object (RFC 8259); not a member of a bundle |
//! | Head | the JSON part of a member, before its payload; of an HTTP response: the status line and the headers |
//! | Publisher confirm | the broker's statement that it has stored a message |
//! | Delay ladder | queues with fixed delays, on which deliveries wait for their next attempt or their slot |
//! | Rung | one queue of the ladder, for one delay |
//! | Parked | waiting in a queue of the ladder; to park is to publish a delivery to the ladder |
//! | Hint | a message between processes that may be lost, such as a breaker's change |
//! | Dead letter | a message that cannot be processed, kept for the operator |
//!
//! # What is not promised
//!
//! Deliveries are **at least once**: a crash may repeat an attempt and never loses one. A repeated attempt has the same
//! `webhook-id` and `postrider-delivery`, so that a receiver can deduplicate. Order is promised only for ordered endpoints.

pub mod attempt;
pub mod batch;
pub mod brand;
pub mod breaker;
pub mod dead_letter;
pub mod delivery;
pub mod delivery_phase;
pub mod delivery_window;
pub mod endpoint;
pub mod erasure;
pub mod event;
pub mod explain;
pub mod filters;
pub mod ids;
pub mod json;
pub mod latency;
pub mod limits;
pub mod name;
pub mod notice;
pub mod notification;
#[cfg(feature = "openapi")]
mod openapi;
pub mod ordering;
pub mod payload_filter;
pub mod pushover;
pub mod replay;
pub mod retry_schedule;
pub mod saved_view;
pub mod scope;
pub mod stats;
pub mod subscription;
pub mod tenant_limits;
pub mod text;
pub mod time;
pub mod timestamp;
