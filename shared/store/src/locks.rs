//! Advisory locks, each with its own number, and settings for scans that run at the same time as deliveries.

use std::time::Duration;

use deadpool_postgres::Transaction;

use crate::error::StoreError;

/// The lock of the process that migrates.
pub(crate) const MIGRATION_LOCK: i64 = 0x706f_7374_7269_6401;
/// The lock of the process that drops partitions.
pub(crate) const RETENTION_LOCK: i64 = 0x706f_7374_7269_6402;
/// The lock of the process that creates partitions.
pub(crate) const CREATION_LOCK: i64 = 0x706f_7374_7269_6403;
/// The lock of the recorder that counts pending deliveries.
pub(crate) const COUNT_LOCK: i64 = 0x706f_7374_7269_6404;
/// The lock of the recorder that reconciles.
pub(crate) const RECONCILE_LOCK: i64 = 0x706f_7374_7269_6405;
/// The lock of the recorder that settles a notice.
pub(crate) const NOTICE_LOCK: i64 = 0x706f_7374_7269_6406;

/// Takes a lock until the end of the transaction. Returns `false` if another session has it.
pub(crate) async fn try_lock(tx: &Transaction<'_>, lock: i64) -> Result<bool, StoreError> {
    Ok(tx.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&lock]).await?.try_get(0)?)
}

/// Keeps the scans of a transaction from slowing down deliveries: no parallel workers, no JIT, and `within` as the timeout of
/// each statement (zero: no timeout).
pub(crate) async fn low_cost(tx: &Transaction<'_>, within: Duration) -> Result<(), StoreError> {
    let settings = format!(
        "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; SET LOCAL statement_timeout = {}",
        within.as_millis()
    );
    Ok(tx.batch_execute(&settings).await?)
}
