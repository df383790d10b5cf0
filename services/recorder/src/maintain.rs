//! Maintains the daily partitions: creates them ahead, and drops them after the retention.
//!
//! The recorder consumes nothing before the partitions are created. Creating partitions does not wait for transactions that
//! read. Dropping a partition waits for every transaction that may still read it (`pg_dump`, a report), so a separate task
//! drops partitions. After a lock timeout, this task logs the oldest transaction and retries later. Until then, the history
//! contains more days than configured.

use std::time::Duration;

use postrider_backoff::Backoff;
use postrider_model::time::{Day, UnixMillis};
use postrider_store::partitions::Maintained;
use postrider_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::metrics;

/// Creates the partitions ahead, or waits while another process creates them. The recorder may consume only after the
/// partitions exist. Returns `false` if `stop` comes first.
pub(crate) async fn created_ahead(store: &Store, stop: &CancellationToken) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let pause = backoff.next_delay();
        match create(store).await {
            Ok(Maintained::Days(_)) => return true,
            Ok(Maintained::Busy) => {}
            Err(error) => {
                tracing::warn!(%error, retry_in_ms = pause.as_millis(), "cannot create partitions; consuming starts once they exist");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Creates partitions ahead at intervals until `stop`. They are created three days ahead, so a failure is not urgent.
pub(crate) async fn create_ahead(store: Store, config: Config, stop: CancellationToken) {
    let mut pause = config.maintain_every;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = match create(&store).await {
            Ok(_) => config.maintain_every,
            Err(error) => {
                let retry_in = config.maintain_again_after;
                tracing::warn!(%error, retry_in_ms = retry_in.as_millis(), "cannot create the partitions of the next days; retrying later");
                retry_in
            }
        };
    }
}

/// Drops partitions that are older than the retention: first immediately, then at intervals until `stop`.
pub(crate) async fn drop_expired(store: Store, config: Config, stop: CancellationToken) {
    let drop_and_pause = async || {
        let result = drop(&store, &config).await;
        if let Err(error) = show_oldest(&store, &config).await {
            tracing::debug!(%error, "cannot read the age of the oldest partition");
        }
        let Err(error) = result else { return config.maintain_every };
        let retry_in_ms = config.maintain_again_after.as_millis();
        if error.is_lock_timeout() {
            let in_the_way = reader(&store).await;
            tracing::warn!(retry_in_ms, in_the_way, "cannot drop old partitions: a transaction still uses one");
        } else {
            tracing::warn!(%error, retry_in_ms, "cannot drop old partitions");
        }
        config.maintain_again_after
    };
    while !stop.is_cancelled() {
        let Some(pause) = stop.run_until_cancelled(drop_and_pause()).await else { return };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

async fn create(store: &Store) -> Result<Maintained, StoreError> {
    let created = store.record().create_partitions(today()).await?;
    count("created", &created);
    Ok(created)
}

async fn drop(store: &Store, config: &Config) -> Result<Maintained, StoreError> {
    let dropped = store.record().drop_partitions(today(), config.retention_days, config.partition_lock_timeout).await?;
    count("dropped", &dropped);
    Ok(dropped)
}

fn count(what: &'static str, maintained: &Maintained) {
    if let Maintained::Days(days) = maintained
        && !days.is_empty()
    {
        let newest = days.iter().max().map(ToString::to_string);
        tracing::info!(what, days = days.len(), newest, "maintained partitions");
        metrics::partitions(what, days.len());
    }
}

async fn show_oldest(store: &Store, config: &Config) -> Result<(), StoreError> {
    if let Some(oldest) = store.record().oldest_partition().await? {
        metrics::oldest_partition(today().0.saturating_sub(oldest.0), config.retention_days);
    }
    Ok(())
}

/// Returns a description of the database's oldest open transaction.
async fn reader(store: &Store) -> String {
    match store.record().oldest_transaction().await {
        Ok(Some(oldest)) => format!(
            "oldest transaction: pid {}, application {:?}, user {:?}, open for {} s",
            oldest.pid,
            oldest.application,
            oldest.user,
            oldest.open_for.as_secs()
        ),
        Ok(None) => "no open transaction any more".to_owned(),
        Err(error) => format!("unknown: {error}"),
    }
}

fn today() -> Day {
    UnixMillis::now().day()
}
