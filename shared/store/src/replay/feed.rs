//! Feeds a replay page by page: chooses the replay, reads the rows of the next page, and commits the deliveries that the caller
//! published.

use std::collections::HashMap;
use std::future::Future;

use deadpool_postgres::Transaction;
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{DeliveryId, EventId, ReplayId, TenantId};
use postrider_model::replay::ReplayStatus;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;

use super::page::{ReplayStep, page, targets};
use super::rows::{COLUMNS, set_status};
use super::{Replay, ReplayPage, ReplayTargets};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::intervention::{Intervention, InterventionReason, InterventionTarget};
use crate::outbox::{self, OutboxId};
use crate::record::{self, Report, merged};
use crate::sql::{Coded, Date, FromRow, RowExt, Ts, read_all, signed};
use crate::store::Store;

/// The input for the next page of a replay.
#[derive(Debug)]
pub struct ReplayInput {
    /// The replay.
    pub replay: Replay,
    /// The endpoints to which the replay may deliver.
    pub targets: ReplayTargets,
    /// The events that the page may cover, with their payloads.
    pub page: ReplayPage,
    /// The current configuration version.
    pub config_version: i64,
    /// The time at which the page's deliveries are created.
    pub now: UnixMillis,
}

/// A page whose new deliveries the caller published.
#[derive(Debug)]
pub struct PublishedPage {
    /// Its new deliveries.
    pub tasks: Vec<DeliveryTask>,
    /// Attempts of pending deliveries to make now; they are not published yet. Each attempt makes the delivery's copy in a
    /// delay queue stale. The commit leaves out a delivery that has ended or been attempted in the meantime.
    pub hurried: Vec<DeliveryTask>,
    /// The number of events that have a delivery in `tasks` or `hurried`.
    pub events: u64,
    /// The number of events that the page covers, counted from the first event of the input.
    pub walked: usize,
}

/// The result of feeding one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fed {
    /// The replay.
    pub replay: ReplayId,
    /// Number of deliveries created, or attempted now.
    pub deliveries: u64,
    /// Outbox entries of pending deliveries that are attempted now. The caller publishes each, then calls
    /// [`Store::outbox_done`].
    pub hurried: Vec<(OutboxId, DeliveryId)>,
    /// Whether all deliveries of the replay have been created.
    pub finished: bool,
}

impl Store {
    /// Feeds one page of a running replay that no other replayer is feeding. Calls `publish` with at most `events_max` events;
    /// `publish` makes their new deliveries and returns when the broker has confirmed all of them. Then commits the delivery
    /// rows, the cursor, and the attempts of pending deliveries, which the caller publishes. Returns `None` if no replay needs
    /// feeding.
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
                // Moves this replay behind the others, so that a replay that fails does not block them.
                let sql = "UPDATE replays SET fed_at = $2 WHERE id = $1";
                client.execute(sql, &[&id.0, &Ts(UnixMillis::now())]).await.map_err(StoreError::from)?;
                Err(error)
            }
        }
    }
}

/// Chooses the tenant whose replays have waited longest, and of its replays the one that has waited longest. Locks the row of
/// that replay and returns the replay with the last event of its previous page.
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

/// Feeds a page. Also returns the configuration version of the page's interventions, if there are any.
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
        return Ok((Fed { replay: id, deliveries: 0, hurried: Vec::new(), finished: false }, None));
    };
    let version = tx.query_one("SELECT version FROM config_version", &[]).await.map_err(StoreError::from)?;
    let config_version = version.col("version")?;
    let page = page(tx, tenant, &replay.selection, &step, Some(id)).await?;
    let of = |event: &super::ReplayCandidate| (event.event.summary.accepted_at, event.event.summary.id.clone());
    let keys: Vec<(UnixMillis, EventId)> = page.candidates.iter().map(of).collect();
    let was_last = page.is_last;

    let published = publish(ReplayInput { replay, targets, page, config_version, now }).await?;
    // The rows are written after publishing, so that they are not locked while the broker is slow.
    let (hurried, version) = hurry(tx, tenant, &published.hurried, now).await?;
    let reports = published.tasks.iter().chain(hurried.tasks).map(|task| Report::requested(task, now));
    record::upsert_deliveries(tx, &merged(reports)).await?;
    let reached = published.walked.checked_sub(1).and_then(|last| keys.get(last));
    let deliveries = published.tasks.len() + hurried.entries.len();
    let counts = [published.walked as u64, published.events, deliveries as u64, hurried.entries.len() as u64];
    let (events, total) = advance(tx, id, counts, reached, now).await?;
    let finished = was_last && published.walked >= keys.len();
    if finished {
        set_status(tx, id, ReplayStatus::Finished, now).await?;
        outbox::add_event(tx, &outbox::replay_finished(tenant, id, events, total, now)).await?;
    }
    Ok((Fed { replay: id, deliveries: deliveries as u64, hurried: hurried.entries, finished }, version))
}

/// Pending deliveries that are attempted now, with their outbox entries.
#[derive(Default)]
struct Hurried<'a> {
    tasks: Vec<&'a DeliveryTask>,
    entries: Vec<(OutboxId, DeliveryId)>,
}

/// Commits the next attempts of deliveries to the outbox, and makes their copies in delay queues stale. Leaves out deliveries
/// that were cancelled, attempted or retried after the page was read. Also returns the configuration version of the
/// interventions, if there are any.
async fn hurry<'a>(
    tx: &Transaction<'_>,
    tenant: TenantId,
    tasks: &'a [DeliveryTask],
    now: UnixMillis,
) -> Result<(Hurried<'a>, Option<i64>), StoreError> {
    if tasks.is_empty() {
        return Ok((Hurried::default(), None));
    }
    // A transaction that locks a replay's row and the counter locks the counter last, like `Store::steer_replay`. The replay's
    // row is already locked. While the counter is locked, no other transaction cancels or retries a delivery.
    let version = bump(tx).await?;
    let (ids, days): (Vec<_>, Vec<_>) =
        tasks.iter().map(|task| (task.delivery.id.0, Date(task.delivery.delivery_day))).unzip();
    let sql = "SELECT id, epoch FROM deliveries WHERE id = ANY($1) AND delivery_day = ANY($2) AND status = $3";
    let found: Vec<(DeliveryId, u32)> =
        read_all(tx.query(sql, &[&ids, &days, &DeliveryStatus::Pending.code()]).await?)?;
    let epochs: HashMap<DeliveryId, u32> = found.into_iter().collect();
    let is_next = |task: &&DeliveryTask| epochs.get(&task.delivery.id).is_some_and(|epoch| epoch + 1 == task.epoch);
    let tasks: Vec<&DeliveryTask> = tasks.iter().filter(is_next).collect();
    let stale = |task: &&DeliveryTask| Intervention {
        target: InterventionTarget::Delivery(task.delivery.id),
        event_day: Some(task.delivery.event_day),
        least_epoch: task.epoch,
        reason: InterventionReason::Superseded,
        created_at: now,
        version,
    };
    Intervention::save_all(&tasks.iter().map(stale).collect::<Vec<_>>(), tx).await?;
    let entries = outbox::add_deliveries(tx, tenant, &tasks, now).await?;
    Ok((Hurried { tasks, entries }, Some(version)))
}

/// Adds to the replay's progress: the number of events read, of events with deliveries, of deliveries, and of the deliveries
/// that were already pending. Returns the replay's total numbers of events and deliveries.
async fn advance(
    tx: &Transaction<'_>,
    id: ReplayId,
    counts: [u64; 4],
    reached: Option<&(UnixMillis, EventId)>,
    now: UnixMillis,
) -> Result<(i64, i64), StoreError> {
    let (at, last) = reached.map(|(at, id)| (Ts(*at), id.as_str())).unzip();
    let [walked, events, deliveries, hurried] = counts.map(signed);
    let sql = "UPDATE replays SET reached_at = coalesce($2, reached_at), reached_id = coalesce($3, reached_id),
                   walked = walked + $4, events = events + $5, deliveries = deliveries + $6, hurried = hurried + $7,
                   fed_at = $8, updated_at = $8
               WHERE id = $1 RETURNING events, deliveries";
    let row = tx.query_one(sql, &[&id.0, &at, &last, &walked, &events, &deliveries, &hurried, &Ts(now)]).await?;
    FromRow::read(&row)
}
