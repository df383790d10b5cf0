//! The version counter. Edits lock its row, so versions are in the order of commits.

use std::cell::Cell;

use deadpool_postgres::Transaction;

use crate::audit_log::Change;
use crate::error::StoreError;
use crate::sql::RowExt;
use crate::store::Core;

/// The channel of notifications to feeds.
pub(crate) const CHANNEL: &str = "postrider_config";

tokio::task_local! {
    /// The version of the last edit that the current [`observe_edits`] committed.
    static EDITED: Cell<Option<i64>>;
}

/// Runs `work`. Returns its output and the configuration version of the last edit that it committed; `None` if it committed no
/// edit. Edits in tasks that `work` spawns are not observed.
pub async fn observe_edits<T>(work: impl Future<Output = T>) -> (T, Option<i64>) {
    let observed = async {
        let output = work.await;
        (output, EDITED.with(Cell::get))
    };
    EDITED.scope(Cell::new(None), observed).await
}

/// Increments the version and returns it. Locks the counter's row, so that other edits wait until this transaction ends.
pub(crate) async fn bump(tx: &Transaction<'_>) -> Result<i64, StoreError> {
    tx.query_one("UPDATE config_version SET version = version + 1 RETURNING version", &[]).await?.col("version")
}

/// Commits an edit and notifies the feeds.
pub(crate) async fn finish(tx: Transaction<'_>, version: i64) -> Result<(), StoreError> {
    tx.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &version.to_string()]).await?;
    tx.commit().await?;
    // Outside of `observe_edits` there is no cell to set, and `try_with` fails.
    let _ = EDITED.try_with(|edited| edited.set(edited.get().max(Some(version))));
    Ok(())
}

impl Core {
    /// Writes the audit-log entry of a change, commits the edit and notifies the feeds.
    pub(crate) async fn finish_edit(
        &self,
        tx: Transaction<'_>,
        version: i64,
        change: Change,
    ) -> Result<(), StoreError> {
        self.log_change(&tx, change).await?;
        finish(tx, version).await
    }
}

/// Refuses an edit if the object's version differs from the version in `If-Match`.
pub(crate) fn check_match(if_match: Option<i64>, current: i64) -> Result<(), StoreError> {
    match if_match {
        Some(wanted) if wanted != current => Err(StoreError::VersionMismatch { current }),
        _ => Ok(()),
    }
}
