//! Counting the values of events' attributes in memory, and adding them to the database now and then: batches pay nothing.

use std::sync::Arc;

use parking_lot::Mutex;
use postrider_store::Store;
use postrider_store::attributes::AttributeTally;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Values that were counted and are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Mutex<AttributeTally>);

impl Attributes {
    /// Adds what a batch that is written now had.
    pub(crate) fn add(&self, tally: AttributeTally) {
        self.0.lock().merge(tally);
    }

    /// Writes every [`Config::attributes_every`] until `stop`.
    pub(crate) async fn write_now_and_then(self: Arc<Self>, store: Store, config: Config, stop: CancellationToken) {
        let mut tick = tokio::time::interval(config.attributes_every);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.write(&store).await,
            }
        }
    }

    /// Writes what was counted; what the database does not take now is kept for the next time.
    pub(crate) async fn write(&self, store: &Store) {
        let tally = std::mem::take(&mut *self.0.lock());
        if let Err(error) = store.record().add_attribute_values(&tally).await {
            tracing::debug!(%error, "cannot write values of attributes; trying again later");
            self.add(tally);
        }
    }
}
