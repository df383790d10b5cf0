//! Names of what this crate counts. No label names an endpoint or a tenant.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Messages that the broker confirmed; label `publisher`.
pub const CONFIRMS: &str = "postrider_broker_confirms_total";
/// Members of each bundle sent; label `publisher`.
pub const BUNDLE_MEMBERS: &str = "postrider_broker_bundle_members";
/// Seconds from sending a message to its confirm; label `publisher`.
pub const CONFIRM_SECONDS: &str = "postrider_broker_confirm_seconds";
/// Messages sent again because their confirm did not come; label `publisher`.
pub const REPUBLISHES: &str = "postrider_broker_republishes_total";
/// Messages that the broker nacked or could not route; label `publisher`.
pub const REFUSED: &str = "postrider_broker_refused_total";
/// Connections made after one was lost; label `connection`.
pub const RECONNECTS: &str = "postrider_broker_reconnects_total";
/// Subscriptions made after one was lost; label `queue`.
pub const RESUBSCRIBES: &str = "postrider_broker_resubscribes_total";
/// Members or messages put aside as dead letters by this process; label `queue`.
pub const DEAD_LETTERS: &str = "postrider_broker_dead_letters_total";
/// Bundles seen more than once and therefore taken apart; label `queue`.
pub const EXPLODED: &str = "postrider_broker_exploded_bundles_total";
/// Messages given back to their queue because they could not be handled now; label `queue`.
pub const GIVEN_BACK: &str = "postrider_broker_given_back_total";
/// Members taken from a queue; label `queue`.
pub const CONSUMED_MEMBERS: &str = "postrider_broker_consumed_members_total";
/// Messages that wait in a queue this process consumes, those that consumers hold not counted; label `queue`.
pub const QUEUE_MESSAGES: &str = "postrider_broker_queue_messages";
/// Members in them, estimated by what messages held lately; label `queue`.
pub const QUEUE_MEMBERS: &str = "postrider_broker_queue_backlog_members";
/// 1 while the broker blocks publishing (its memory or disk alarm), else 0.
pub const BLOCKED: &str = "postrider_broker_publish_blocked";

/// Describes every metric to the installed recorder.
pub fn describe() {
    describe_counter!(CONFIRMS, "messages confirmed by the broker");
    describe_histogram!(BUNDLE_MEMBERS, "members of each bundle sent");
    describe_histogram!(CONFIRM_SECONDS, Unit::Seconds, "from sending a message to its confirm");
    describe_counter!(REPUBLISHES, "messages sent again because their confirm did not come");
    describe_counter!(REFUSED, "messages that the broker nacked or could not route");
    describe_counter!(RECONNECTS, "connections made after one was lost");
    describe_counter!(RESUBSCRIBES, "subscriptions made after one was lost");
    describe_counter!(DEAD_LETTERS, "members or messages put aside as dead letters by this process");
    describe_counter!(EXPLODED, "bundles seen more than once and taken apart");
    describe_counter!(GIVEN_BACK, "messages given back to their queue because they could not be handled now");
    describe_counter!(CONSUMED_MEMBERS, "members taken from a queue");
    describe_gauge!(QUEUE_MESSAGES, "messages that wait in a queue");
    describe_gauge!(QUEUE_MEMBERS, "members in them, estimated by what messages held lately");
    describe_gauge!(BLOCKED, "1 while the broker blocks publishing");
}

pub(crate) fn count(name: &'static str, label: &'static str, value: String, by: u64) {
    counter!(name, label => value).increment(by);
}

/// Counters of a queue that is consumed: there from the start, so that the first increase is seen as one.
pub(crate) fn consuming(queue: &'static str) {
    for name in [DEAD_LETTERS, EXPLODED, GIVEN_BACK, RESUBSCRIBES] {
        counter!(name, "queue" => queue).increment(0);
    }
}

/// The same for a connection.
pub(crate) fn connecting(connection: &'static str) {
    counter!(RECONNECTS, "connection" => connection).increment(0);
}

/// What a queue holds.
pub(crate) fn depth(queue: &'static str, messages: u32, members: f64) {
    gauge!(QUEUE_MESSAGES, "queue" => queue).set(f64::from(messages));
    gauge!(QUEUE_MEMBERS, "queue" => queue).set(members);
}

pub(crate) fn blocked(blocked: bool) {
    gauge!(BLOCKED).set(if blocked { 1.0 } else { 0.0 });
}

/// The handles of one publisher, looked up once instead of per message.
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
