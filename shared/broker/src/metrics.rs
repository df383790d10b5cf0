//! The metrics of this crate. No label names an endpoint or a tenant.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::topology::Queue;

/// Messages that the broker confirmed; label `publisher`.
pub const CONFIRMS: &str = "postrider_broker_confirmed_messages_total";
/// Number of members of each sent bundle; label `publisher`.
pub const BUNDLE_MEMBERS: &str = "postrider_broker_bundle_members";
/// Seconds from sending a message to its confirm; label `publisher`.
pub const CONFIRM_SECONDS: &str = "postrider_broker_confirm_seconds";
/// Messages sent again because they were not confirmed; label `publisher`.
pub const REPUBLISHES: &str = "postrider_broker_republished_messages_total";
/// Messages that the broker nacked or could not route; label `publisher`.
pub const REFUSED: &str = "postrider_broker_refused_messages_total";
/// Connections opened after a connection was lost; label `connection`.
pub const RECONNECTS: &str = "postrider_broker_reconnects_total";
/// Subscriptions made after a subscription was lost; label `queue`.
pub const RESUBSCRIBES: &str = "postrider_broker_resubscribes_total";
/// Members or messages that this process turned into dead letters; label `queue`.
pub const DEAD_LETTERS: &str = "postrider_broker_dead_letters_total";
/// Bundles that were split because they returned to their queue more than once; label `queue`.
pub const SPLIT_BUNDLES: &str = "postrider_broker_split_bundles_total";
/// Messages requeued because they could not be handled now; label `queue`.
pub const REQUEUED: &str = "postrider_broker_requeued_messages_total";
/// Members taken from a queue; label `queue`.
pub const CONSUMED_MEMBERS: &str = "postrider_broker_consumed_members_total";
/// Messages ready in a queue that this process consumes. Messages in flight are not counted; label `queue`.
pub const QUEUE_MESSAGES: &str = "postrider_broker_queue_messages";
/// Members in the ready messages of a queue, estimated from recent messages; label `queue`.
pub const QUEUE_MEMBERS: &str = "postrider_broker_queue_backlog_members";
/// 1 while the broker blocks publishing because of its memory or disk alarm, else 0.
pub const BLOCKED: &str = "postrider_broker_publish_blocked";

/// Describes every metric to the installed metrics recorder.
pub fn describe() {
    describe_counter!(CONFIRMS, "messages confirmed by the broker");
    describe_histogram!(BUNDLE_MEMBERS, "members of each bundle sent");
    describe_histogram!(CONFIRM_SECONDS, Unit::Seconds, "from sending a message to its confirm");
    describe_counter!(REPUBLISHES, "messages sent again because they were not confirmed");
    describe_counter!(REFUSED, "messages that the broker nacked or could not route");
    describe_counter!(RECONNECTS, "connections made after one was lost");
    describe_counter!(RESUBSCRIBES, "subscriptions made after one was lost");
    describe_counter!(DEAD_LETTERS, "members or messages that this process made dead letters");
    describe_counter!(SPLIT_BUNDLES, "bundles that were returned more than once and therefore split");
    describe_counter!(REQUEUED, "messages requeued because they could not be handled now");
    describe_counter!(CONSUMED_MEMBERS, "members taken from a queue");
    describe_gauge!(QUEUE_MESSAGES, "messages ready in a queue, without those in flight");
    describe_gauge!(QUEUE_MEMBERS, "members of those messages, estimated from recent messages");
    describe_gauge!(BLOCKED, "1 while the broker blocks publishing");
}

/// Counts and logs a dead letter.
pub(crate) fn dead_letter(queue: Queue, reason: &str) {
    count(DEAD_LETTERS, "queue", queue.name().to_owned(), 1);
    tracing::warn!(queue = queue.name(), reason, "a message cannot be processed; it becomes a dead letter");
}

/// Counts and logs a message that returns to its queue because it cannot be handled now.
pub(crate) fn requeued(queue: Queue, reason: &str) {
    count(REQUEUED, "queue", queue.name().to_owned(), 1);
    tracing::debug!(queue = queue.name(), reason, "a message cannot be handled now; requeuing it");
}

pub(crate) fn count(name: &'static str, label: &'static str, value: String, by: u64) {
    counter!(name, label => value).increment(by);
}

/// Registers the counters of a consumed queue at 0, so that monitoring sees the first increase.
pub(crate) fn consuming(queue: &'static str) {
    for name in [CONSUMED_MEMBERS, DEAD_LETTERS, SPLIT_BUNDLES, REQUEUED, RESUBSCRIBES] {
        counter!(name, "queue" => queue).increment(0);
    }
}

/// Registers the counters of a connection at 0.
pub(crate) fn connecting(connection: &'static str) {
    counter!(RECONNECTS, "connection" => connection).increment(0);
}

/// Sets the depth of a queue.
pub(crate) fn depth(queue: &'static str, messages: u32, members: f64) {
    gauge!(QUEUE_MESSAGES, "queue" => queue).set(f64::from(messages));
    gauge!(QUEUE_MEMBERS, "queue" => queue).set(members);
}

pub(crate) fn blocked(blocked: bool) {
    gauge!(BLOCKED).set(if blocked { 1.0 } else { 0.0 });
}

/// The metrics of one publisher. They are looked up once, not for each message.
pub(crate) struct PublisherMetrics {
    pub(crate) confirms: metrics::Counter,
    pub(crate) republishes: metrics::Counter,
    pub(crate) refused: metrics::Counter,
    pub(crate) members: metrics::Histogram,
    pub(crate) confirm_seconds: metrics::Histogram,
}

impl PublisherMetrics {
    pub(crate) fn new(publisher: &str) -> Self {
        let name = publisher.to_owned();
        Self {
            confirms: counter!(CONFIRMS, "publisher" => name.clone()),
            republishes: counter!(REPUBLISHES, "publisher" => name.clone()),
            refused: counter!(REFUSED, "publisher" => name.clone()),
            members: histogram!(BUNDLE_MEMBERS, "publisher" => name.clone()),
            confirm_seconds: histogram!(CONFIRM_SECONDS, "publisher" => name),
        }
    }
}
