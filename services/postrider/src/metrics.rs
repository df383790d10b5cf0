//! What every process counts about itself. Names are documented in `docs/metrics.md`.

use std::time::Duration;

use ::metrics::{Unit, describe_gauge, gauge};
use postrider_store::Store;

/// Connections to the database; label `state`: `in_use` or `idle`.
const CONNECTIONS: &str = "postrider_store_connections";
/// Most of them.
const CONNECTIONS_MAX: &str = "postrider_store_connections_max";
/// Tasks that wait for one.
const WAITING: &str = "postrider_store_waiting";
/// Version of the configuration in the database, to compare what services have in force with.
const CONFIG_VERSION: &str = "postrider_store_config_version";

/// How often the pool is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the database is asked for the configuration's version.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Publishes which version the configuration has in the database, for as long as the process lives. It asks by itself, so that
/// a feed that has stopped does not stop this figure.
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

/// Publishes how much of the pool is used, for as long as the process lives.
#[expect(clippy::cast_precision_loss, reason = "a pool has fewer than 2^53 connections")]
pub(crate) async fn watch_pool(store: Store) {
    describe_gauge!(CONNECTIONS, Unit::Count, "connections to the database");
    describe_gauge!(CONNECTIONS_MAX, Unit::Count, "most connections to the database");
    describe_gauge!(WAITING, Unit::Count, "tasks that wait for a connection to the database");
    loop {
        let pool = store.pool_usage();
        gauge!(CONNECTIONS, "state" => "in_use").set(pool.in_use as f64);
        gauge!(CONNECTIONS, "state" => "idle").set(pool.idle as f64);
        gauge!(CONNECTIONS_MAX).set(pool.max as f64);
        gauge!(WAITING).set(pool.waiting as f64);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
