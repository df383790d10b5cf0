//! Pressure only at the front: ingest refuses while an inner queue is too deep, because the inner queues have no limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::delivery::Lane;
use postrider_runtime::problem::Problem;

/// How often the depths are asked for.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// The queues behind ingest that have no length limit of their own.
const INNER: [Queue; 5] =
    [Queue::Lane(Lane::Live), Queue::Lane(Lane::Slow), Queue::Lane(Lane::Bulk), Queue::Decisions, Queue::Outcomes];

/// Whether the inner queues are too deep.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    too_deep: AtomicBool,
}

impl Pressure {
    /// Asks for the depths until it is dropped by its task. While the broker is away the last answer stays in force:
    /// publishing itself then answers 503.
    pub(crate) async fn watch(&self, broker: Broker, messages_max: u32) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut deepest = None;
            for queue in INNER {
                if let Ok(depth) = broker.queue_depth(queue.name()).await
                    && deepest.is_none_or(|(_, messages)| depth.messages > messages)
                {
                    deepest = Some((queue.name(), depth.messages));
                }
            }
            let Some((queue, messages)) = deepest else { continue };
            let too_deep = messages > messages_max;
            if self.too_deep.swap(too_deep, Ordering::Relaxed) != too_deep {
                tracing::warn!(queue, messages, messages_max, refusing = too_deep, "depth of the inner queues");
            }
        }
    }

    /// # Errors
    /// 503 while a queue is too deep.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.too_deep.load(Ordering::Relaxed) {
            let detail = "too many deliveries wait already; nothing was accepted";
            return Err(Problem::unavailable(detail, Duration::from_secs(5)));
        }
        Ok(())
    }
}
