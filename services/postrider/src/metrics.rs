//! Metrics of every process. Names are documented in `docs/metrics.md`.

use std::time::Duration;

use ::metrics::{Unit, describe_gauge, gauge};
use postrider_store::Store;

/// Connections to the database; label `state`: `in_use` or `idle`.
const CONNECTIONS: &str = "postrider_store_connections";
/// The maximum number of connections to the database.
const CONNECTIONS_MAX: &str = "postrider_store_connections_max";
/// Tasks waiting for a connection.
const WAITING: &str = "postrider_store_waiting_tasks";
/// Version of the configuration in the database, for comparison with the versions that services use.
const CONFIG_VERSION: &str = "postrider_store_config_version";

/// How often the pool is sampled.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the configuration's version is queried.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Publishes the version of the configuration in the database until the process ends. It queries the database, so the figure
/// stays current when a feed has stopped.
#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 edits")]
pub(crate) async fn watch_config_version(store: Store) {
    describe_gauge!(CONFIG_VERSION, "version of the configuration in the database");
    loop {
        match store.feed().config_version().await {
            Ok(version) => gauge!(CONFIG_VERSION).set(version as f64),
            Err(error) => tracing::debug!(%error, "cannot read the version of the configuration"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Publishes the use of the connection pool until the process ends.
#[expect(clippy::cast_precision_loss, reason = "a pool has fewer than 2^53 connections")]
pub(crate) async fn watch_pool(store: Store) {
    describe_gauge!(CONNECTIONS, Unit::Count, "connections to the database");
    describe_gauge!(CONNECTIONS_MAX, Unit::Count, "maximum number of connections to the database");
    describe_gauge!(WAITING, Unit::Count, "tasks waiting for a connection to the database");
    loop {
        let pool = store.pool_usage();
        gauge!(CONNECTIONS, "state" => "in_use").set(pool.in_use as f64);
        gauge!(CONNECTIONS, "state" => "idle").set(pool.idle as f64);
        gauge!(CONNECTIONS_MAX).set(pool.max as f64);
        gauge!(WAITING).set(pool.waiting as f64);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
