//! Counts the values of event attributes in memory, and writes the counts at intervals. So writing a batch of rows does not
//! wait for the counts.

use std::sync::Arc;

use parking_lot::Mutex;
use postrider_store::Store;
use postrider_store::attributes::AttributeTally;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Counts that are not in the database yet.
#[derive(Debug, Default)]
pub(crate) struct Attributes(Mutex<AttributeTally>);

impl Attributes {
    /// Adds the counts of a batch that was written.
    pub(crate) fn add(&self, tally: AttributeTally) {
        self.0.lock().merge(tally);
    }

    /// Writes the counts every [`Config::attributes_every`] until `stop`.
    pub(crate) async fn write_periodically(self: Arc<Self>, store: Store, config: Config, stop: CancellationToken) {
        let mut tick = tokio::time::interval(config.attributes_every);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.write(&store).await,
            }
        }
    }

    /// Writes the counts. If the database fails, the counts remain in memory for the next write.
    pub(crate) async fn write(&self, store: &Store) {
        let tally = std::mem::take(&mut *self.0.lock());
        if let Err(error) = store.record().add_attribute_values(&tally).await {
            tracing::debug!(%error, "cannot write attribute values; retrying later");
            self.add(tally);
        }
    }
}
