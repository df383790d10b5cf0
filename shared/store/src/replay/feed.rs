//! Feeds a replay, a page at a time.

use std::future::Future;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use postrider_model::delivery::{BodyKind, Lane, Trigger};
use postrider_model::ids::{Generation, ReplayId};
use postrider_model::replay::ReplayStatus;
use postrider_model::time::UnixMillis;
use postrider_profiles::{Profile, Profiles};
use postrider_wire::messages::{DeliveryRef, DeliveryTask};

use super::Replay;
use super::plan::{Again, Planned, Step, Targets, plan};
use super::rows::{COLUMNS, set_status};
use crate::error::StoreError;
use crate::history::{Cursor, EventRow};
use crate::outbox;
use crate::record::{self, Report, merged};
use crate::sql::{Coded, RowExt, Ts, signed};
use crate::store::Store;

/// Limits of a page.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Maximum events read.
    pub events: u32,
    /// Deliveries that complete a page. The deliveries of one event stay in one page.
    pub deliveries: u64,
}

/// A page of deliveries to render and publish to their lane.
pub struct ReplayPage {
    /// The tenant's current profile.
    pub profile: Arc<Profile>,
    /// The events, oldest first.
    pub events: Vec<ReplayedEvent>,
}

/// An event and its new deliveries.
pub struct ReplayedEvent {
    /// The event, with its payload.
    pub event: EventRow,
    /// The heads of the messages, each with the kind of its body.
    pub tasks: Vec<(DeliveryTask, BodyKind)>,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fed {
    /// The replay.
    pub replay: ReplayId,
    /// Deliveries created.
    pub deliveries: u64,
    /// Whether all deliveries of the replay are created.
    pub finished: bool,
}

/// Why a step failed. It is repeated with the same ids.
#[derive(Debug, thiserror::Error)]
pub enum FeedError<E> {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller could not publish the page.
    #[error("the page was not published")]
    Publish(E),
}

impl<E> From<tokio_postgres::Error> for FeedError<E> {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Feeds one page of a running replay that no other replayer is feeding. Passes the page to `publish`, which returns when
    /// all of it is confirmed, then commits the delivery rows and the cursor. `None`: there was nothing to do.
    ///
    /// # Errors
    /// Nothing was committed. Published deliveries are published again, with the same ids.
    pub async fn feed_replay<E, F>(
        &self,
        profiles: &Profiles,
        limits: PageLimits,
        publish: impl FnOnce(ReplayPage) -> F,
    ) -> Result<Option<Fed>, FeedError<E>>
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        // The tenant whose replays have waited longest, and of these the replay that has waited longest.
        let sql = format!(
            "SELECT {COLUMNS} FROM replays r
             JOIN (SELECT tenant AS owner, max(fed_at) AS last FROM replays WHERE status = $1 GROUP BY tenant) t ON t.owner = r.tenant
             WHERE r.status = $1 ORDER BY t.last, r.tenant, r.fed_at, r.id LIMIT 1 FOR UPDATE OF r SKIP LOCKED"
        );
        let Some(row) = tx.query_opt(&sql, &[&ReplayStatus::Running.code()]).await? else { return Ok(None) };
        let replay = Replay::read(&row)?;
        let reached_id: Option<String> = row.col("reached_id")?;
        let after = replay.progress.reached_at.zip(reached_id).map(|(at, id)| Cursor { at, id });
        match feed_page(&tx, &replay, after.as_ref(), profiles, limits, publish).await {
            Ok(fed) => {
                tx.commit().await?;
                Ok(Some(fed))
            }
            Err(error) => {
                tx.rollback().await?;
                // Moves this replay behind the others, so that a failing replay does not block them.
                let sql = "UPDATE replays SET fed_at = $2 WHERE id = $1";
                client.execute(sql, &[&replay.id.0, &Ts(UnixMillis::now())]).await?;
                Err(error)
            }
        }
    }
}

async fn feed_page<E, F>(
    tx: &Transaction<'_>,
    replay: &Replay,
    after: Option<&Cursor>,
    profiles: &Profiles,
    limits: PageLimits,
    publish: impl FnOnce(ReplayPage) -> F,
) -> Result<Fed, FeedError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let (id, now) = (replay.id, UnixMillis::now());
    let Some(targets) = Targets::read(tx, profiles, replay.tenant, &replay.selection).await? else {
        // The tenant was deleted.
        set_status(tx, id, ReplayStatus::Cancelled, now).await?;
        return Ok(Fed { replay: id, deliveries: 0, finished: false });
    };
    let targets = Arc::new(targets);
    let config_version: i64 = tx.query_one("SELECT version FROM config_version", &[]).await?.col("version")?;
    let step =
        Step { after, own: Some(id), events_max: limits.events, deliveries_max: limits.deliveries, payloads: true };
    let mut page = plan(tx, replay.tenant, &replay.selection, &targets, step).await?;

    let events: Vec<_> = std::mem::take(&mut page.events)
        .into_iter()
        .map(|(event, again)| {
            let task = |again: Again| (task(replay, &event, &again, config_version, now), again.body);
            ReplayedEvent { tasks: again.into_iter().map(task).collect(), event }
        })
        .collect();
    let tasks: Vec<_> = events.iter().flat_map(|event| &event.tasks).map(|(task, _)| task.clone()).collect();
    let count = events.len() as u64;
    if !tasks.is_empty() {
        publish(ReplayPage { profile: Arc::clone(&targets.profile), events }).await.map_err(FeedError::Publish)?;
    }
    // After publishing, so that these rows are not locked while the broker is slow.
    let reports = tasks.iter().map(|task| Report::requested(task, now));
    record::upsert_deliveries(tx, &merged(reports)).await?;
    advance(tx, id, &page, count, now).await?;
    if page.is_last {
        end_of_replay(tx, replay, now).await?;
    }
    Ok(Fed { replay: id, deliveries: page.deliveries, finished: page.is_last })
}

/// Finishes a replay whose deliveries are all created, and emits its operational event in the same transaction.
async fn end_of_replay(tx: &Transaction<'_>, replay: &Replay, now: UnixMillis) -> Result<(), StoreError> {
    set_status(tx, replay.id, ReplayStatus::Finished, now).await?;
    let row = tx.query_one("SELECT events, deliveries FROM replays WHERE id = $1", &[&replay.id.0]).await?;
    let (events, deliveries) = (row.col("events")?, row.col("deliveries")?);
    outbox::add_event(tx, &outbox::replay_finished(replay.tenant, replay.id, events, deliveries, now)).await
}

async fn advance(
    tx: &Transaction<'_>,
    id: ReplayId,
    page: &Planned,
    events: u64,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let (at, last) = page.reached.as_ref().map(|cursor| (Ts(cursor.at), cursor.id.as_str())).unzip();
    let sql = "UPDATE replays SET reached_at = coalesce($2, reached_at), reached_id = coalesce($3, reached_id),
                   walked = walked + $4, events = events + $5, deliveries = deliveries + $6, fed_at = $7, updated_at = $7
               WHERE id = $1";
    let (walked, events, deliveries) = (signed(page.walked), signed(events), signed(page.deliveries));
    tx.execute(sql, &[&id.0, &at, &last, &walked, &events, &deliveries, &Ts(now)]).await?;
    Ok(())
}

/// The new delivery. Its identity is derived from the replay, so that a repeated page creates no second one.
fn task(replay: &Replay, event: &EventRow, again: &Again, config_version: i64, now: UnixMillis) -> DeliveryTask {
    let summary = &event.summary;
    let delivery = DeliveryRef {
        // Not today: a page that is repeated after midnight must refer to the same rows.
        delivery_day: replay.created_at.day(),
        origin: again.origin,
        ..DeliveryRef::new(summary.event_ref(), again.endpoint, Generation::Replay(replay.id), now)
    };
    DeliveryTask {
        lane: Lane::Bulk,
        ..DeliveryTask::first_attempt(delivery, Trigger::Replay, summary.occurred_at, config_version)
    }
}
