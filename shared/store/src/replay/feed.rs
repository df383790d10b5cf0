//! Feeds a replay page by page: chooses the replay, reads its rows, and commits what the caller published.

use std::future::Future;

use deadpool_postgres::Transaction;
use postrider_model::ids::{EventId, ReplayId};
use postrider_model::replay::ReplayStatus;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;

use super::page::{ReplayStep, page, targets};
use super::rows::{COLUMNS, set_status};
use super::{Replay, ReplayPage, ReplayTargets};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::intervention::{Intervention, InterventionReason, InterventionTarget};
use crate::outbox;
use crate::record::{self, Report, merged};
use crate::sql::{Coded, FromRow, RowExt, Ts, signed};
use crate::store::Store;

/// The input for the next page of a replay.
#[derive(Debug)]
pub struct ReplayInput {
    /// The replay.
    pub replay: Replay,
    /// The endpoints to which it may deliver.
    pub targets: ReplayTargets,
    /// The events that the page may cover, with their payloads.
    pub page: ReplayPage,
    /// The current configuration version.
    pub config_version: i64,
    /// The time at which its deliveries are created.
    pub now: UnixMillis,
}

/// A page that the caller published.
#[derive(Debug)]
pub struct PublishedPage {
    /// Its new deliveries.
    pub tasks: Vec<DeliveryTask>,
    /// The next attempts of pending deliveries that are made now. Each makes the copy that waits for its retry stale.
    pub hurried: Vec<DeliveryTask>,
    /// The number of events that have at least one of these deliveries.
    pub events: u64,
    /// The number of events that the page covers, from the first of the input on.
    pub walked: usize,
}

impl PublishedPage {
    /// The number of deliveries that were created or are attempted now.
    fn deliveries(&self) -> u64 {
        (self.tasks.len() + self.hurried.len()) as u64
    }
}

/// The result of feeding one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// The replay.
    pub replay: ReplayId,
    /// Deliveries created or attempted now.
    pub deliveries: u64,
    /// Whether all deliveries of the replay have been created.
    pub finished: bool,
}

impl Store {
    /// Feeds one page of a running replay that no other replayer is feeding. Calls `publish` with at most `events_max` events; it
    /// makes their deliveries and returns when the broker has confirmed all of them. Then commits the delivery rows and the
    /// cursor. `None`: no replay needs feeding.
    ///
    /// # Errors
    /// Nothing was committed. Deliveries that were published are published again, with the same ids.
    pub async fn feed_replay<E: From<StoreError>, F>(
        &self,
        events_max: u32,
        publish: impl FnOnce(ReplayInput) -> F,
    ) -> Result<Option<Fed>, E>
    where
        F: Future<Output = Result<PublishedPage, E>>,
    {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await.map_err(StoreError::from)?;
        let Some((replay, after)) = next(&tx).await? else { return Ok(None) };
        let id = replay.id;
        match feed_page(&tx, replay, ReplayStep { after, events_max, payloads: true }, publish).await {
            Ok((fed, Some(version))) => {
                finish(tx, version).await?;
                Ok(Some(fed))
            }
            Ok((fed, None)) => {
                tx.commit().await.map_err(StoreError::from)?;
                Ok(Some(fed))
            }
            Err(error) => {
                tx.rollback().await.map_err(StoreError::from)?;
                // Puts this replay behind the others, so that a replay that fails does not block them.
                let sql = "UPDATE replays SET fed_at = $2 WHERE id = $1";
                client.execute(sql, &[&id.0, &Ts(UnixMillis::now())]).await.map_err(StoreError::from)?;
                Err(error)
            }
        }
    }
}

/// Chooses the tenant whose replays have waited longest, and of these the replay that has waited longest, and locks that. Returns
/// it with the last event of its previous page.
async fn next(tx: &Transaction<'_>) -> Result<Option<(Replay, Option<(UnixMillis, EventId)>)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM replays r
         JOIN (SELECT tenant AS owner, max(fed_at) AS last FROM replays WHERE status = $1 GROUP BY tenant) t ON t.owner = r.tenant
         WHERE r.status = $1 ORDER BY t.last, r.tenant, r.fed_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
    );
    let Some(row) = tx.query_opt(&sql, &[&ReplayStatus::Running.code()]).await? else { return Ok(None) };
    let replay = Replay::read(&row)?;
    let after = replay.progress.reached_at.zip(row.col("reached_id")?);
    Ok(Some((replay, after)))
}

/// Feeds a page. Also returns the configuration version of its interventions, if it made any.
async fn feed_page<E: From<StoreError>, F>(
    tx: &Transaction<'_>,
    replay: Replay,
    step: ReplayStep,
    publish: impl FnOnce(ReplayInput) -> F,
) -> Result<(Fed, Option<i64>), E>
where
    F: Future<Output = Result<PublishedPage, E>>,
{
    let (id, tenant, now) = (replay.id, replay.tenant, UnixMillis::now());
    let Some(targets) = targets(tx, tenant, &replay.selection, false).await? else {
        // The tenant was deleted, so its replay ends.
        set_status(tx, id, ReplayStatus::Cancelled, now).await?;
        return Ok((Fed { replay: id, deliveries: 0, finished: false }, None));
    };
    let version = tx.query_one("SELECT version FROM config_version", &[]).await.map_err(StoreError::from)?;
    let config_version = version.col("version")?;
    let page = page(tx, tenant, &replay.selection, &step, Some(id)).await?;
    let of = |event: &super::ReplayCandidate| (event.event.summary.accepted_at, event.event.summary.id.clone());
    let keys: Vec<(UnixMillis, EventId)> = page.candidates.iter().map(of).collect();
    let was_last = page.is_last;

    let published = publish(ReplayInput { replay, targets, page, config_version, now }).await?;
    // The rows are written only after publishing, so that they are not locked while the broker is slow.
    let intervention = supersede(tx, &published.hurried, now).await?;
    let reports = published.tasks.iter().chain(&published.hurried).map(|task| Report::requested(task, now));
    record::upsert_deliveries(tx, &merged(reports)).await?;
    let reached = published.walked.checked_sub(1).and_then(|last| keys.get(last));
    let (events, deliveries) = advance(tx, id, &published, reached, now).await?;
    let finished = was_last && published.walked >= keys.len();
    if finished {
        set_status(tx, id, ReplayStatus::Finished, now).await?;
        outbox::add_event(tx, &outbox::replay_finished(tenant, id, events, deliveries, now)).await?;
    }
    Ok((Fed { replay: id, deliveries: published.deliveries(), finished }, intervention))
}

/// Makes the copies of pending deliveries stale that wait for a retry, because their next attempts were published. Returns the
/// configuration version of the interventions, if there are any.
async fn supersede(tx: &Transaction<'_>, hurried: &[DeliveryTask], now: UnixMillis) -> Result<Option<i64>, StoreError> {
    if hurried.is_empty() {
        return Ok(None);
    }
    // Every transaction that locks a replay's row and the counter locks the counter last, as `Store::steer_replay` does. The row is
    // locked already.
    let version = bump(tx).await?;
    for task in hurried {
        let stale = Intervention {
            target: InterventionTarget::Delivery(task.delivery.id),
            event_day: Some(task.delivery.event_day),
            least_epoch: task.epoch,
            reason: InterventionReason::Superseded,
            created_at: now,
            version,
        };
        stale.save(tx).await?;
    }
    Ok(Some(version))
}

/// Adds a page to the replay's progress. Returns the replay's total numbers of events and deliveries.
async fn advance(
    tx: &Transaction<'_>,
    id: ReplayId,
    page: &PublishedPage,
    reached: Option<&(UnixMillis, EventId)>,
    now: UnixMillis,
) -> Result<(i64, i64), StoreError> {
    let (at, last) = reached.map(|(at, id)| (Ts(*at), id.as_str())).unzip();
    let sql = "UPDATE replays SET reached_at = coalesce($2, reached_at), reached_id = coalesce($3, reached_id),
                   walked = walked + $4, events = events + $5, deliveries = deliveries + $6, fed_at = $7, updated_at = $7
               WHERE id = $1 RETURNING events, deliveries";
    let (walked, events, deliveries) = (signed(page.walked as u64), signed(page.events), signed(page.deliveries()));
    let row = tx.query_one(sql, &[&id.0, &at, &last, &walked, &events, &deliveries, &Ts(now)]).await?;
    FromRow::read(&row)
}
