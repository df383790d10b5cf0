//! This process's report about itself, every few seconds: a row in the database that `GET /v1/system` reads.
//!
//! Nothing waits for it: while the database is away the row ages, and that is what an operator then sees.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_broker::{Broker, Queue};
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::services::ServiceReport;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How often the row is rewritten.
const EVERY: Duration = Duration::from_secs(10);
/// Longest time that a stopping process waits for its row to go.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Reports until `stop`, then takes the report away.
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
            tracing::debug!(%error, "cannot report this process; trying on");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            break;
        }
    }
    if !matches!(timeout(GOODBYE_MAX, store.services().stopped(&instance)).await, Ok(Ok(()))) {
        tracing::debug!("cannot take this process's report away; it ages");
    }
}
