//! Counts the dispatchers that share the endpoints' rates. The count is the number of consumers of the live lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::delivery::Lane;

use crate::metrics::Metrics;

/// The last count of dispatchers, at least 1.
#[derive(Debug)]
pub(crate) struct DispatcherCount {
    count: AtomicU32,
    metrics: Arc<Metrics>,
}

impl DispatcherCount {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { count: AtomicU32::new(1), metrics }
    }

    pub(crate) fn get(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    fn set(&self, count: u32) {
        let count = count.max(1);
        if self.count.swap(count, Ordering::Relaxed) != count {
            tracing::info!(
                dispatchers = count,
                "the number of dispatchers changed; each sends its share of the endpoints' rates"
            );
        }
        self.metrics.dispatchers.set(f64::from(count));
    }

    /// Counts the other dispatchers before this dispatcher consumes, and adds 1 for this dispatcher.
    pub(crate) async fn count_others(&self, broker: &Broker) {
        if let Some(others) = consumers(broker).await {
            self.set(others.saturating_add(1));
        }
    }

    /// Counts at intervals of `every`, forever. While the broker does not answer, the last count remains in use.
    pub(crate) async fn keep_counting(self: Arc<Self>, broker: Broker, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if let Some(count) = consumers(&broker).await {
                self.set(count);
            }
        }
    }
}

async fn consumers(broker: &Broker) -> Option<u32> {
    match broker.queue_depth(Queue::Lane(Lane::Live).name()).await {
        Ok(depth) => Some(depth.consumers),
        Err(error) => {
            tracing::debug!(%error, "cannot count the dispatchers; the last count remains in use");
            None
        }
    }
}
