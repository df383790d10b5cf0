//! Writes a report about this process to a row of the database every few seconds. `GET /v1/system` reads the row.
//!
//! No other part depends on the report. While the database is unavailable, the row is not updated, and its age shows operators
//! that it is out of date.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::services::ServiceReport;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Interval at which the row is updated.
const EVERY: Duration = Duration::from_secs(10);
/// Maximum time that a stopping process waits until its row is deleted.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Updates the report until `stop`, then deletes it.
pub(crate) async fn run(service: &'static str, broker: Broker, store: Store, stop: CancellationToken) {
    let (instance, started_at) = (broker.instance().to_owned(), UnixMillis::now());
    loop {
        let by_name = |averages: Vec<(Queue, f64)>| {
            averages.into_iter().map(|(queue, average)| (queue.name().to_owned(), average)).collect::<BTreeMap<_, _>>()
        };
        let report = ServiceReport {
            instance: instance.clone(),
            name: service.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            members_per_message: by_name(broker.members_per_message()),
            bytes_per_message: by_name(broker.bytes_per_message()),
        };
        let reported = stop.run_until_cancelled(store.services().report(&report)).await;
        if let Some(Err(error)) = reported {
            tracing::debug!(%error, "cannot report this process; trying again in 10 s");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            break;
        }
    }
    if !matches!(timeout(GOODBYE_MAX, store.services().stopped(&instance)).await, Ok(Ok(()))) {
        tracing::debug!("cannot delete this process's report; it expires");
    }
}
