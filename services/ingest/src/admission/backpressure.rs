//! Backpressure: ingest refuses events while the inner queues contain too much. Inner queues are the queues behind ingest,
//! which have no length limit.
//!
//! The broker counts messages, not bytes. The average size of a message is known from the reports of the consumers.
//! [`super::waiting_deliveries`] counts the deliveries on the delay ladder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::delivery::Lane;
use postrider_store::Store;
use postrider_store::services::bytes_per_message;

use crate::refused::Refused;

/// Interval at which the lengths of the queues are queried.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Assumed number of bytes per message for a queue without a report.
const MESSAGE_BYTES_UNKNOWN: f64 = 8_192.0;

/// The inner queues, which have no length limit at the broker.
const INNER: [Queue; 6] = [
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
    Queue::Ordered,
    Queue::Decisions,
    Queue::Outcomes,
];

/// Limits of the inner queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    /// Maximum number of messages in one queue.
    pub(crate) messages_max: u32,
    /// Maximum number of bytes in all queues together.
    pub(crate) bytes_max: u64,
}

/// The contents of the inner queues: the number of messages in the longest queue, and the bytes in all queues.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Held {
    deepest: u32,
    bytes: f64,
}

/// Whether the inner queues contain too much.
#[derive(Debug, Default)]
pub(crate) struct Backpressure {
    too_deep: AtomicBool,
}

impl Backpressure {
    /// Queries the queue lengths until the future is dropped. While the broker is unavailable, the last result remains in use,
    /// and publish requests are answered with 503.
    pub(crate) async fn watch(self: Arc<Self>, broker: Broker, store: Store, limits: QueueLimits) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut bytes_each = BTreeMap::new();
        loop {
            ticks.tick().await;
            // While the database is unavailable, the last averages remain in use.
            if let Ok(services) = store.services().list().await {
                bytes_each = bytes_per_message(&services);
            }
            let mut depths = Vec::with_capacity(INNER.len());
            for queue in INNER {
                if let Ok(depth) = broker.queue_depth(queue.name()).await {
                    depths.push((queue.name(), depth.messages));
                }
            }
            if !depths.is_empty() {
                self.judge(held(&depths, &bytes_each), limits);
            }
        }
    }

    fn judge(&self, held: Held, limits: QueueLimits) {
        let Held { deepest, bytes } = held;
        // The loss of precision does not matter, because the value is an estimate.
        let too_deep = deepest > limits.messages_max || bytes > limits.bytes_max as f64;
        if self.too_deep.swap(too_deep, Ordering::Relaxed) != too_deep {
            tracing::warn!(
                messages_of_deepest = deepest,
                bytes,
                ?limits,
                refusing = too_deep,
                "the inner queues went above their limit or came back below it"
            );
        }
    }

    /// # Errors
    /// The inner queues contain too much.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        if self.too_deep.load(Ordering::Relaxed) {
            let detail = "too many deliveries wait already; nothing was accepted";
            return Err(Refused::later(detail, Duration::from_secs(5)));
        }
        Ok(())
    }
}

fn held(depths: &[(&str, u32)], bytes_each: &BTreeMap<String, f64>) -> Held {
    let bytes = |(queue, messages): &(&str, u32)| {
        f64::from(*messages) * bytes_each.get(*queue).copied().unwrap_or(MESSAGE_BYTES_UNKNOWN)
    };
    Held {
        deepest: depths.iter().map(|(_, messages)| *messages).max().unwrap_or_default(),
        bytes: depths.iter().map(bytes).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_large_messages_count_as_much_as_many_small_ones() {
        const LIMITS: QueueLimits = QueueLimits { messages_max: 2_000, bytes_max: 100_000_000 };
        let bytes_each = BTreeMap::from([("live".to_owned(), 1_000.0), ("bulk".to_owned(), 250_000.0)]);
        let refuses = |depths: &[(&str, u32)]| {
            let pressure = Backpressure::default();
            pressure.judge(held(depths, &bytes_each), LIMITS);
            pressure.check().is_err()
        };
        assert!(!refuses(&[("live", 2_000), ("bulk", 300), ("slow", 0)]));
        assert!(refuses(&[("live", 2_001)]));
        assert!(refuses(&[("live", 2_000), ("bulk", 400)]), "102 MB");
        assert_eq!(held(&[("slow", 10)], &bytes_each), Held { deepest: 10, bytes: 81_920.0 });
    }
}
