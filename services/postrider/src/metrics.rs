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

/// How often the pool is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Publishes how much of the pool is used, for as long as the process lives.
#[expect(clippy::cast_precision_loss, reason = "a pool has fewer than 2^53 connections")]
pub(crate) async fn watch_pool(store: Store) {
    describe_gauge!(CONNECTIONS, Unit::Count, "connections to the database");
    describe_gauge!(CONNECTIONS_MAX, Unit::Count, "most connections to the database");
    describe_gauge!(WAITING, Unit::Count, "tasks that wait for a connection to the database");
    loop {
        let pool = store.pool_use();
        gauge!(CONNECTIONS, "state" => "in_use").set(pool.in_use as f64);
        gauge!(CONNECTIONS, "state" => "idle").set(pool.idle as f64);
        gauge!(CONNECTIONS_MAX).set(pool.max as f64);
        gauge!(WAITING).set(pool.waiting as f64);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
