//! The exchanges and queues of Postrider in the broker, and the routes between them.
//!
//! Only queues to which ingest or producers publish have a limit above which they refuse messages. Such a limit on an inner
//! queue would deadlock rungs, dispatchers and acks against each other.

mod declare;

use postrider_model::delivery::Lane;

use crate::ladder::Rung;

pub(crate) use declare::{declare, declare_hints, declare_rung};

/// The exchange for producers: routing key `<tenant>.<event type>`, `<tenant>.batch` or `<tenant>.kumomta`. Producers use no
/// other name of this module.
pub const EVENTS_EXCHANGE: &str = "postrider.events";
/// The exchange for accepted events, in bundles. It routes them to the queues of the fan-out and of the event log.
pub const ACCEPTED_EXCHANGE: &str = "postrider.accepted";
/// The exchange for accepted events of tenants with an ordered endpoint. It routes them to the ordered queue of the fan-out, and
/// to the queue of the event log.
pub const ACCEPTED_IN_ORDER_EXCHANGE: &str = "postrider.accepted.ordered";
/// The exchange for deliveries to a lane: routing key `<lane>`, or `<ms>.<lane>` if the delivery comes from a rung.
pub const LANES_EXCHANGE: &str = "postrider.lanes";
/// The exchange for deliveries to a rung: routing key `<ms>.<lane>`.
pub const DELAY_EXCHANGE: &str = "postrider.delay";
/// The exchange for decisions and outcomes to the recorder: routing keys `decisions` and `outcomes`.
pub const RECORD_EXCHANGE: &str = "postrider.record";
/// The exchange for hints to running services, see [`crate::hints`].
pub const HINTS_EXCHANGE: &str = "postrider.hints";
/// The exchange for dead letters.
pub const DEAD_EXCHANGE: &str = "postrider.dead";

/// Maximum number of bundles in the queue of the fan-out and in the queue of the event log. Above it, the broker refuses
/// messages of ingest.
pub const ACCEPTED_MESSAGES_MAX: i64 = 200_000;
/// Maximum number of producers' messages in the intake queue. Above it, the broker refuses further messages.
pub const INTAKE_MESSAGES_MAX: i64 = 200_000;
/// Maximum number of bytes of producers' messages in the intake queue. Above it, the broker refuses further messages.
pub const INTAKE_BYTES_MAX: i64 = 1_073_741_824;

/// A queue that services consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Messages of producers, for ingest.
    Intake,
    /// Accepted events for the fan-out.
    Fanout,
    /// Accepted events for the fan-out that are decided in order, by one process at a time.
    FanoutOrdered,
    /// Deliveries of ordered endpoints, and reports of their ends, for the sequencer. One process at a time consumes it.
    Ordered,
    /// Accepted events for the recorder.
    EventLog,
    /// Deliveries.
    Lane(Lane),
    /// Decisions of the fan-out, for the recorder.
    Decisions,
    /// Outcomes of attempts, for the recorder.
    Outcomes,
    /// Dead letters, for the recorder.
    DeadLetters,
    /// Test calls to a dispatcher, see [`crate::rpc`].
    RpcTest,
}

impl Queue {
    /// The queue's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "postrider.intake",
            Self::Fanout => "postrider.fanout",
            Self::FanoutOrdered => "postrider.fanout.ordered",
            Self::Ordered => "postrider.ordered",
            Self::EventLog => "postrider.event-log",
            Self::Lane(Lane::Live) => "postrider.lane.live",
            Self::Lane(Lane::Slow) => "postrider.lane.slow",
            Self::Lane(Lane::Bulk) => "postrider.lane.bulk",
            Self::Decisions => "postrider.decisions",
            Self::Outcomes => "postrider.outcomes",
            Self::DeadLetters => "postrider.dead-letters",
            Self::RpcTest => "postrider.rpc.test",
        }
    }

    /// The queue with this name, if its messages are lasting. `None` for the queue of calls and the queue of dead letters.
    pub fn named(name: &str) -> Option<Self> {
        let lanes = Lane::ALL.into_iter().map(Self::Lane);
        let others = [
            Self::Intake,
            Self::Fanout,
            Self::FanoutOrdered,
            Self::Ordered,
            Self::EventLog,
            Self::Decisions,
            Self::Outcomes,
        ];
        others.into_iter().chain(lanes).find(|queue| queue.name() == name)
    }

    /// The queue to which a dead letter may be requeued. A message whose routing key starts with a tenant comes from a
    /// producer: it may go to [`Queue::Intake`] only, and the source in its headers is ignored.
    pub fn requeue_target(source: &str, routing_key: &str) -> Option<Self> {
        if is_producers_key(routing_key) { Some(Self::Intake) } else { Self::named(source) }
    }
}

/// The route of a [`BatchPublisher`](crate::BatchPublisher).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Accepted events, to fan-out and event log.
    Accepted,
    /// Accepted events of tenants with an ordered endpoint, to the ordered queue of the fan-out and event log.
    AcceptedInOrder,
    /// Events that the fan-out forwards to its ordered queue.
    FanoutOrdered,
    /// Deliveries of ordered endpoints and reports of their ends, to the sequencer.
    Ordered,
    /// Deliveries to attempt now.
    Lane(Lane),
    /// Decisions, to the recorder.
    Decisions,
    /// Outcomes, to the recorder.
    Outcomes,
}

impl Route {
    pub(crate) fn address(self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => (ACCEPTED_EXCHANGE, ""),
            Self::AcceptedInOrder => (ACCEPTED_IN_ORDER_EXCHANGE, ""),
            Self::FanoutOrdered => ("", Queue::FanoutOrdered.name()),
            Self::Ordered => ("", Queue::Ordered.name()),
            Self::Lane(lane) => (LANES_EXCHANGE, lane_key(lane)),
            Self::Decisions => (RECORD_EXCHANGE, "decisions"),
            Self::Outcomes => (RECORD_EXCHANGE, "outcomes"),
        }
    }

    pub(crate) fn publisher(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AcceptedInOrder => "accepted_in_order",
            Self::FanoutOrdered => "fanout_ordered",
            Self::Ordered => "ordered",
            Self::Lane(lane) => lane_key(lane),
            Self::Decisions => "decisions",
            Self::Outcomes => "outcomes",
        }
    }
}

/// Header of a dead letter whose body was truncated: the size of the original message in bytes.
pub const CUT_HEADER: &str = "x-body-cut";

/// Whether only producers use this routing key: it starts with a tenant's id or external id and a dot. Services use words
/// without a dot, queue names (`postrider.…`) and rungs (`1000.live`). A key whose external id has only digits looks like a
/// rung and is not recognized.
pub fn is_producers_key(routing_key: &str) -> bool {
    let tenant = routing_key.split_once('.').map(|(tenant, _)| tenant);
    tenant.is_some_and(|tenant| tenant != "postrider" && !tenant.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(crate) fn lane_key(lane: Lane) -> &'static str {
    match lane {
        Lane::Live => "live",
        Lane::Slow => "slow",
        Lane::Bulk => "bulk",
    }
}

/// The name of a rung's queue.
pub fn rung_queue(rung: Rung) -> String {
    format!("postrider.delay.{rung}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_tenants_key_is_requeued_to_the_intake_only() {
        for source in ["postrider.intake", "postrider.fanout", "unknown", ""] {
            assert_eq!(Queue::requeue_target(source, "ten_operator.a.b"), Some(Queue::Intake), "{source}");
        }
        assert_eq!(Queue::requeue_target("postrider.fanout", ""), Some(Queue::Fanout));
        assert_eq!(Queue::requeue_target("postrider.lane.live", "live"), Some(Queue::Lane(Lane::Live)));
        assert_eq!(Queue::requeue_target("unknown", "live"), None);
        assert_eq!(Queue::requeue_target("postrider.fanout", "acme.order.paid"), Some(Queue::Intake), "an external id");
        assert_eq!(Queue::requeue_target("postrider.lane.slow", "1000.slow"), Some(Queue::Lane(Lane::Slow)), "a rung");
        assert_eq!(Queue::requeue_target("postrider.outcomes", "postrider.outcomes"), Some(Queue::Outcomes));
    }
}
