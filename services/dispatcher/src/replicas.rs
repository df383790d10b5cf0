//! How many dispatchers share the endpoints' rates: the consumers of the live lane, as the broker counts them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::delivery::Lane;

use crate::dispatcher::Dispatcher;

async fn consumers(broker: &Broker) -> Option<u32> {
    match broker.queue_depth(Queue::Lane(Lane::Live).name()).await {
        Ok(depth) => Some(depth.consumers),
        Err(error) => {
            tracing::debug!(%error, "cannot count the dispatchers");
            None
        }
    }
}

fn set(dispatcher: &Dispatcher, count: u32) {
    let count = count.max(1);
    if dispatcher.dispatchers.swap(count, Ordering::Relaxed) != count {
        tracing::info!(dispatchers = count, "dispatchers that share the rates");
    }
    dispatcher.metrics.dispatchers.set(f64::from(count));
}

/// Counts once before this dispatcher consumes: the others, and this one.
pub(crate) async fn count_others(broker: &Broker, dispatcher: &Dispatcher) {
    if let Some(others) = consumers(broker).await {
        set(dispatcher, others.saturating_add(1));
    }
}

/// Counts again and again; the last count stands while the broker does not answer.
pub(crate) async fn keep_counting(broker: Broker, dispatcher: Arc<Dispatcher>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Some(count) = consumers(&broker).await {
            set(&dispatcher, count);
        }
    }
}
