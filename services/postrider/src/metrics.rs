//! Metrics of every process. `docs/metrics.md` documents the names.

use std::time::Duration;

use ::metrics::{Unit, describe_gauge, gauge};
use postrider_store::Store;

/// Connections to the database; label `state` (`in_use`, `idle`).
const CONNECTIONS: &str = "postrider_store_connections";
/// Maximum number of connections to the database.
const CONNECTIONS_MAX: &str = "postrider_store_connections_max";
/// Number of tasks that wait for a connection.
const WAITING: &str = "postrider_store_waiting_tasks";
/// Configuration version in the database, for comparison with the versions in force in the services.
const CONFIG_VERSION: &str = "postrider_store_config_version";

/// Interval at which the connection pool is sampled.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Interval at which the configuration version is queried.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Sets the metric of the configuration version until the process ends. The version is read from the database, so the metric is
/// up to date even if a configuration feed has stopped.
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

/// Sets the metrics of the connection pool until the process ends.
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
