//! Tends one endpoint that is or was paused: counts what was set aside for it, and commits what became of a page of it.

use std::collections::HashMap;
use std::future::Future;

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::{DeliveryStatus, DiscardReason};
use postrider_model::ids::DeliveryId;
use postrider_model::limits::REPLAY_STEP_BYTES_MAX;
use postrider_model::time::UnixMillis;
use postrider_wire::messages::DeliveryTask;

use super::state::{Fate, PauseState, Release, ReleasePage, SetAsideDelivery, TendLimits, Tended};
use super::tending::{COUNT_EVERY, NEXT, Tending};
use crate::config::{EndpointDocument, EndpointVersion, bump, finish};
use crate::error::StoreError;
use crate::history::{EventRow, EventSummary};
use crate::intervention::{EVERY_EPOCH, Intervention, InterventionReason, InterventionTarget};
use crate::record::{self, Report, merged};
use crate::sql::{Coded, Date, Ts, read_all, signed};
use crate::store::Store;

/// The decisions about a page.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) releases: Vec<(DeliveryTask, SetAsideDelivery)>,
    pub(super) discards: Vec<(SetAsideDelivery, DiscardReason)>,
}

impl Sorted {
    /// Pairs deliveries with their fates, up to the first that stays and up to the limits of a page.
    fn of(page: Vec<SetAsideDelivery>, fates: Vec<Fate>, releases_max: u32) -> Self {
        let (mut sorted, mut bytes) = (Self::default(), 0);
        for (found, fate) in page.into_iter().zip(fates) {
            match fate {
                Fate::Keep => break,
                Fate::Later => {}
                Fate::Discard(reason) => sorted.discards.push((found, reason)),
                Fate::Release(task) => {
                    if sorted.releases.len() >= releases_max as usize || bytes >= REPLAY_STEP_BYTES_MAX {
                        break;
                    }
                    bytes += found.bytes();
                    sorted.releases.push((*task, found));
                }
            }
        }
        sorted
    }

    fn bytes(&self) -> u64 {
        let released = self.releases.iter().map(|(_, found)| found.bytes());
        released.chain(self.discards.iter().map(|(found, _)| found.bytes())).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.releases.len() + self.discards.len()
    }
}

impl Store {
    /// Tends one endpoint that is or was paused, the one that has waited longest: counts what is set aside, asks
    /// `decide` what becomes of the next page, calls `publish` with what is released, and commits. `publish` returns when the
    /// broker has confirmed all of it. Returns `None` if no endpoint needs tending.
    ///
    /// # Errors
    /// Nothing was committed. Deliveries that were published are published again, with the same ids and epochs.
    pub async fn tend_paused<E: From<StoreError>, F>(
        &self,
        limits: TendLimits,
        rate: impl FnOnce(&PauseState) -> Option<f64>,
        decide: impl FnOnce(&PauseState, &[SetAsideDelivery]) -> Vec<Fate>,
        publish: impl FnOnce(ReleasePage) -> F,
    ) -> Result<Option<Tended>, E>
    where
        F: Future<Output = Result<(), E>>,
    {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await.map_err(StoreError::from)?;
        let now = UnixMillis::now();
        let Some(row) = tx.query_opt(NEXT, &[&Ts(now)]).await.map_err(StoreError::from)? else { return Ok(None) };
        let mut tending = Tending::read(&row, limits, now)?;
        tending.rate = rate(&tending.state);
        let endpoint = tending.state.endpoint;
        match Box::pin(tend(self, tx, tending, limits, (decide, publish))).await {
            Ok(tended) => Ok(Some(tended)),
            Err(error) => {
                // Moves this endpoint behind the others, so that one that fails does not block them.
                let sql = "UPDATE endpoint_pauses SET look_at = $2 WHERE endpoint = $1";
                let later = Ts(UnixMillis::now().plus(COUNT_EVERY));
                client.execute(sql, &[&endpoint.0, &later]).await.map_err(StoreError::from)?;
                Err(error)
            }
        }
    }
}

async fn tend<E: From<StoreError>, F>(
    store: &Store,
    tx: Transaction<'_>,
    mut tending: Tending,
    limits: TendLimits,
    (decide, publish): (impl FnOnce(&PauseState, &[SetAsideDelivery]) -> Vec<Fate>, impl FnOnce(ReleasePage) -> F),
) -> Result<Tended, E>
where
    F: Future<Output = Result<(), E>>,
{
    tending.count(store).await?;
    tending.state.excess_bytes = tending.excess(&tx).await?;
    let page = tending.page(&tx, limits).await?;
    let fates = decide(&tending.state, &page);
    let sorted = Sorted::of(page, fates, tending.releases_max(limits));
    if !sorted.releases.is_empty()
        && let Some(document) = tending.document.clone()
    {
        publish(release_page(&tx, &tending.state, document, &sorted.releases).await?).await?;
    }
    Ok(commit(tx, &tending, &sorted, limits).await?)
}

/// Reads what rendering the releases needs. Their rows are not locked, so that recorders can write outcomes while the broker is
/// slow.
async fn release_page(
    tx: &Transaction<'_>,
    state: &PauseState,
    document: EndpointDocument,
    releases: &[(DeliveryTask, SetAsideDelivery)],
) -> Result<ReleasePage, StoreError> {
    let of = |(task, _): &(DeliveryTask, SetAsideDelivery)| {
        (task.delivery.event.as_str().to_owned(), Date(task.delivery.event_day))
    };
    let (ids, days): (Vec<String>, Vec<Date>) = releases.iter().map(of).unzip();
    let columns: Vec<String> = EventSummary::COLUMNS.split(", ").map(|name| format!("e.{name}")).collect();
    let sql = format!(
        "SELECT {}, e.metadata, e.data FROM unnest($2::text[], $3::date[]) WITH ORDINALITY AS wanted(id, day, place)
         JOIN events e ON e.tenant = $1 AND e.id = wanted.id AND e.event_day = wanted.day ORDER BY place",
        columns.join(", ")
    );
    let events: Vec<EventRow> = read_all(tx.query(&sql, &[&state.tenant.0, &ids, &days]).await?)?;
    let versions = "SELECT * FROM endpoint_versions WHERE endpoint = $1 ORDER BY version";
    let versions: Vec<EndpointVersion> = read_all(tx.query(versions, &[&state.endpoint.0]).await?)?;
    // An event that was dropped since the page was read is missing; its delivery's row was dropped too.
    let mut events = events.into_iter().peekable();
    let release = |(task, _): &(DeliveryTask, SetAsideDelivery)| {
        let of = &task.delivery;
        let event = events.next_if(|event| event.summary.id == of.event && event.summary.event_day == of.event_day)?;
        Some(Release { task: task.clone(), event })
    };
    let releases = releases.iter().filter_map(release).collect();
    Ok(ReleasePage { profile: state.profile.clone(), document, versions, releases })
}

/// Commits what became of a page, and when the endpoint is looked at again.
async fn commit(
    tx: Transaction<'_>,
    tending: &Tending,
    sorted: &Sorted,
    limits: TendLimits,
) -> Result<Tended, StoreError> {
    let (state, now) = (&tending.state, UnixMillis::now());
    if !sorted.releases.is_empty() {
        // Locked before the rows, in the order of edits. An edit that ended a published delivery has committed then.
        tx.query_one("SELECT version FROM config_version FOR UPDATE", &[]).await?;
    }
    let released = sorted.releases.iter().map(|(task, _)| Report::requested(task, now));
    let discarded = sorted
        .discards
        .iter()
        .map(|(found, reason)| Report::withdrawn(&found.delivery.row, DeliveryStatus::Discarded, Some(*reason), now));
    if sorted.len() > 0 {
        record::upsert_deliveries(&tx, &merged(released.chain(discarded))).await?;
        extend(&tx, &sorted.releases).await?;
    }
    let left = tending.totals.deliveries.saturating_sub(sorted.len() as u64);
    if tending.is_over(sorted) {
        tx.execute("DELETE FROM endpoint_pauses WHERE endpoint = $1", &[&state.endpoint.0]).await?;
    } else {
        let bytes = tending.totals.bytes.saturating_sub(sorted.bytes());
        let oldest = sorted.releases.last().map(|(task, _)| task.delivery.accepted_at);
        let oldest = oldest.max(tending.totals.oldest_at).filter(|_| left > 0);
        let sql =
            "UPDATE endpoint_pauses SET deliveries = $2, bytes = $3, oldest_at = $4, counted_at = $5, count_ms = $6,
                       look_at = $7 WHERE endpoint = $1";
        let (oldest, counted) = (oldest.map(Ts), tending.totals.counted_at.map(Ts));
        let look_at = Ts(now.plus(tending.pause(sorted, left, limits)));
        let (left, bytes, took) = (signed(left), signed(bytes), signed(tending.count_ms));
        tx.execute(sql, &[&state.endpoint.0, &left, &bytes, &oldest, &counted, &took, &look_at]).await?;
    }
    supersede_and_commit(tx, &sorted.releases, now).await?;
    Ok(Tended {
        endpoint: state.endpoint,
        released: sorted.releases.len() as u64,
        discarded: sorted.discards.len() as u64,
    })
}

/// Writes the later expiry of released deliveries. The merge of reports keeps the earlier one.
async fn extend(client: &impl GenericClient, releases: &[(DeliveryTask, SetAsideDelivery)]) -> Result<(), StoreError> {
    let of = |(task, _): &(DeliveryTask, SetAsideDelivery)| {
        (task.delivery.id.0, (Date(task.delivery.delivery_day), Ts(task.expires_at)))
    };
    let (ids, (days, ends)): (Vec<_>, (Vec<_>, Vec<_>)) = releases.iter().map(of).unzip();
    let sql = "UPDATE deliveries d SET expires_at = n.ends_at
               FROM unnest($1::uuid[], $2::date[], $3::timestamptz[]) AS n(id, day, ends_at)
               WHERE d.id = n.id AND d.delivery_day = n.day AND d.expires_at < n.ends_at";
    client.execute(sql, &[&ids, &days, &ends]).await?;
    Ok(())
}

/// Makes copies stale, and commits: older copies of released deliveries, where the broker may have one, and the published copies
/// of deliveries that a person ended in the meantime.
async fn supersede_and_commit(
    tx: Transaction<'_>,
    releases: &[(DeliveryTask, SetAsideDelivery)],
    now: UnixMillis,
) -> Result<(), StoreError> {
    let ended = ended_meanwhile(&tx, releases).await?;
    let mut stale = Vec::new();
    for (task, found) in releases {
        match ended.get(&task.delivery.id) {
            Some(DeliveryStatus::Cancelled) => stale.push((task, EVERY_EPOCH, InterventionReason::Cancelled)),
            Some(DeliveryStatus::Discarded) => stale.push((task, EVERY_EPOCH, InterventionReason::Expunged)),
            _ if found.may_have_copy => stale.push((task, task.epoch, InterventionReason::Superseded)),
            _ => {}
        }
    }
    if stale.is_empty() {
        tx.commit().await?;
        return Ok(());
    }
    stale.sort_unstable_by_key(|(task, ..)| task.delivery.id);
    let version = bump(&tx).await?;
    let intervention = |(task, least_epoch, reason): &(&DeliveryTask, u32, InterventionReason)| Intervention {
        target: InterventionTarget::Delivery(task.delivery.id),
        event_day: Some(task.delivery.event_day),
        least_epoch: *least_epoch,
        reason: *reason,
        created_at: now,
        version,
    };
    Intervention::save_all(&stale.iter().map(intervention).collect::<Vec<_>>(), &tx).await?;
    finish(tx, version).await
}

/// The released deliveries that were cancelled or expunged after the page was read.
async fn ended_meanwhile(
    client: &impl GenericClient,
    releases: &[(DeliveryTask, SetAsideDelivery)],
) -> Result<HashMap<DeliveryId, DeliveryStatus>, StoreError> {
    if releases.is_empty() {
        return Ok(HashMap::new());
    }
    let of = |(task, _): &(DeliveryTask, SetAsideDelivery)| (task.delivery.id.0, Date(task.delivery.delivery_day));
    let (ids, days): (Vec<_>, Vec<_>) = releases.iter().map(of).unzip();
    let sql = "SELECT id, status FROM deliveries WHERE id = ANY($1) AND delivery_day = ANY($2) AND status IN ($3, $4)";
    let (cancelled, discarded) = (DeliveryStatus::Cancelled.code(), DeliveryStatus::Discarded.code());
    let found: Vec<(DeliveryId, DeliveryStatus)> =
        read_all(client.query(sql, &[&ids, &days, &cancelled, &discarded]).await?)?;
    Ok(found.into_iter().collect())
}
