//! The version counter.

use crate::error::StoreError;

pub(crate) async fn bump(tx: &deadpool_postgres::Transaction<'_>) -> Result<i64, StoreError> {
    let row = tx.query_one("UPDATE config_version SET version = version + 1 RETURNING version", &[]).await?;
    Ok(row.get(0))
}

pub(crate) async fn finish(tx: deadpool_postgres::Transaction<'_>, version: i64) -> Result<(), StoreError> {
    tx.execute("SELECT pg_notify('postrider_config', $1)", &[&version.to_string()]).await?;
    tx.commit().await?;
    Ok(())
}
