//! Creates, reads, pauses, resumes and cancels replays.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::DeliveryStatus;
use postrider_model::ids::{Generation, ReplayId, TenantId};
use postrider_model::limits::REPLAYS_RUNNING_MAX;
use postrider_model::replay::{ReplayMode, ReplaySelection, ReplayStatus};
use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{Progress, Replay, ReplayAction};
use crate::audit_log::{AuditAction, Change, json};
use crate::config::{bump, finish};
use crate::error::StoreError;
use crate::history::{Cursor, DELIVERY_COLUMNS, DeliveryRow, Page, PageRequest};
use crate::intervention::{EVERY_EPOCH, Intervention, InterventionReason, InterventionTarget};
use crate::lines;
use crate::sql::{Coded, FromRow, RowExt, Ts, from_row, read_all, read_optional};
use crate::store::Store;
use crate::withdraw::end;

/// Maximum number of pending deliveries that one transaction cancels when their replay is cancelled.
const ENDED_AT_ONCE: i64 = 1_000;

/// A recovery that is requested again within this time is a repeat: a duplicate request, or a second click.
const REPEATED_WITHIN: Duration = Duration::from_secs(60);

/// A replay to create.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The events to deliver again, and the endpoints.
    pub selection: ReplaySelection,
    /// The request as text. It distinguishes a repeat of the request from another request with the same key.
    pub text: String,
    /// The caller's idempotency key, if any.
    pub idempotency_key: Option<String>,
}

from_row!(Progress { walked, events, deliveries, hurried, reached_at });

/// The columns of [`Replay`], and `reached_id`, the last event read.
pub(super) const COLUMNS: &str = "id, tenant, selection, status, reached_at, reached_id, walked, events, deliveries, hurried, \
    created_at, updated_at, finished_at";

impl FromRow for Replay {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.col("id")?,
            tenant: row.col("tenant")?,
            selection: row.col("selection")?,
            status: row.col("status")?,
            progress: Progress::read(row)?,
            created_at: row.col("created_at")?,
            updated_at: row.col("updated_at")?,
            finished_at: row.col("finished_at")?,
        })
    }
}

/// Writes a new status. If the status is final, also writes the time of the end.
pub(super) async fn set_status(
    tx: &Transaction<'_>,
    id: ReplayId,
    status: ReplayStatus,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let ended = matches!(status, ReplayStatus::Finished | ReplayStatus::Cancelled).then_some(Ts(now));
    let sql = "UPDATE replays SET status = $2, updated_at = $3, finished_at = coalesce(finished_at, $4) WHERE id = $1";
    tx.execute(sql, &[&id.0, &status.code(), &Ts(now), &ended]).await?;
    Ok(())
}

/// Reads pending deliveries of a replay, at most [`ENDED_AT_ONCE`].
async fn pending(client: &impl GenericClient, id: ReplayId) -> Result<Vec<DeliveryRow>, StoreError> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS} FROM deliveries
         WHERE generation = $1 AND generation LIKE 'replay:%' AND status = $2 LIMIT {ENDED_AT_ONCE}"
    );
    let generation = Generation::Replay(id).to_string();
    read_all(client.query(&sql, &[&generation, &DeliveryStatus::Pending.code()]).await?)
}

async fn known(
    client: &impl GenericClient,
    tenant: TenantId,
    asked: &ReplayRequest,
) -> Result<Option<ReplayId>, StoreError> {
    let Some(key) = asked.idempotency_key.as_deref() else { return Ok(None) };
    let sql = "SELECT id, asked FROM replays WHERE tenant = $1 AND idempotency_key = $2";
    let Some(row) = client.query_opt(sql, &[&tenant.0, &key]).await? else { return Ok(None) };
    if row.col::<String>("asked")? != asked.text {
        let detail = "the Idempotency-Key belongs to another replay; a key names one request for ever";
        return Err(StoreError::Conflict(detail.into()));
    }
    Ok(Some(row.col("id")?))
}

/// For a recovery, returns the running recovery that covers it. Two concurrent recoveries of an endpoint could make two
/// deliveries of one event, so any other unfinished recovery of the endpoint is an error.
async fn running_recovery(
    client: &impl GenericClient,
    tenant: TenantId,
    asked: &ReplayRequest,
) -> Result<Option<ReplayId>, StoreError> {
    let (ReplayMode::Recover, Some(endpoint)) = (asked.selection.mode, asked.selection.endpoint) else {
        return Ok(None);
    };
    let sql = "SELECT id, selection, status FROM replays WHERE tenant = $1 AND status IN (0, 1)";
    let unfinished: Vec<(ReplayId, ReplaySelection, ReplayStatus)> = read_all(client.query(sql, &[&tenant.0]).await?)?;
    let of_endpoint =
        |(_, found, _): &(_, ReplaySelection, _)| found.mode == ReplayMode::Recover && found.endpoint == Some(endpoint);
    let Some((id, running, status)) = unfinished.into_iter().find(of_endpoint) else { return Ok(None) };
    // An idempotency key names one request, so it cannot name a replay that another request made.
    let repeats = asked.idempotency_key.is_none() && status == ReplayStatus::Running;
    if repeats && covers(&running, &asked.selection) {
        return Ok(Some(id));
    }
    let from = running.from.map_or("the start of the history".to_owned(), UnixMillis::to_rfc3339_seconds);
    Err(StoreError::Conflict(format!(
        "a recovery of this endpoint since {from} has not finished ({id}, {status}): wait for it, or cancel it"
    )))
}

/// Whether `running` delivers everything that `asked` selects. Both are recoveries of the same endpoint; `running` may have
/// been requested up to [`REPEATED_WITHIN`] earlier.
fn covers(running: &ReplaySelection, asked: &ReplaySelection) -> bool {
    let of_same_events = ReplaySelection { from: asked.from, to: asked.to, ..running.clone() } == *asked;
    // `None`, the start of the history, is less than every time.
    of_same_events && running.from <= asked.from && running.to.plus(REPEATED_WITHIN) >= asked.to
}

impl Store {
    /// Creates a replay. Returns an existing replay instead if an earlier request with the same idempotency key created it and
    /// was equal. For a recovery without a key, returns a running recovery of the same endpoint and events if that was
    /// requested less than a minute ago and covers the requested range.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key was used for another request, if the endpoint has another unfinished recovery, or if
    /// the tenant has [`REPLAYS_RUNNING_MAX`] replays that have not ended; [`StoreError::NotFound`] if the tenant does not
    /// exist.
    pub async fn create_replay(&self, tenant: TenantId, asked: &ReplayRequest) -> Result<ReplayId, StoreError> {
        let (id, now) = (ReplayId::generate(), Ts(UnixMillis::now()));
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        // Serialises the requests of a tenant, so that `usage` remains correct until the commit.
        let living = "SELECT id FROM tenants WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE";
        tx.query_opt(living, &[&tenant.0]).await?.ok_or(StoreError::NotFound { what: "tenant" })?;
        if let Some(known) = known(&tx, tenant, asked).await? {
            return Ok(known);
        }
        if let Some(running) = running_recovery(&tx, tenant, asked).await? {
            return Ok(running);
        }
        // Running or paused replays. The condition must match that of the index `replays_not_ended`.
        let sql = "SELECT count(*) AS usage FROM replays WHERE tenant = $1 AND status IN (0, 1)";
        let usage: u32 = tx.query_one(sql, &[&tenant.0]).await?.col("usage")?;
        if usage >= REPLAYS_RUNNING_MAX {
            let detail = format!(
                "the tenant has {usage} replays that are running or paused, at most {REPLAYS_RUNNING_MAX}: wait for one to \
                 finish, or cancel one"
            );
            return Err(StoreError::Conflict(detail));
        }
        let insert = "INSERT INTO replays (id, tenant, selection, asked, idempotency_key, status, walked, events,
                          deliveries, fed_at, created_at, updated_at)
                      VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, $7, $7, $7)";
        let (selection, key) = (Json(&asked.selection), asked.idempotency_key.as_deref());
        tx.execute(insert, &[&id.0, &tenant.0, &selection, &asked.text, &key, &ReplayStatus::Running.code(), &now])
            .await?;
        self.core()
            .log_change(&tx, Change::of(tenant, AuditAction::ReplayCreated, id).to(json(&asked.selection)))
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Returns the replay that an earlier request with the same idempotency key created.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the key was used for another request; or an error of the database.
    pub async fn replay_by_key(&self, tenant: TenantId, asked: &ReplayRequest) -> Result<Option<ReplayId>, StoreError> {
        known(&self.core().client().await?, tenant, asked).await
    }

    /// Returns one replay; `None` if it does not exist or belongs to another tenant. `tenant` `None` accepts every tenant.
    pub async fn get_replay(&self, tenant: Option<TenantId>, id: ReplayId) -> Result<Option<Replay>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM replays WHERE id = $1 AND ($2::uuid IS NULL OR tenant = $2)");
        self.core().fetch_optional(&sql, &[&id.0, &tenant.map(|tenant| tenant.0)]).await
    }

    /// Returns replays, newest first. `tenant` `None` lists the replays of every tenant.
    ///
    /// # Errors
    /// [`StoreError::InvalidCursor`], or an error of the database.
    pub async fn list_replays(&self, tenant: Option<TenantId>, page: &PageRequest) -> Result<Page<Replay>, StoreError> {
        let (at, after) = page.after::<Uuid>()?;
        let sql = format!(
            "SELECT {COLUMNS} FROM replays
             WHERE ($1::uuid IS NULL OR tenant = $1) AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
             ORDER BY created_at DESC, id DESC LIMIT $4"
        );
        let tenant = tenant.map(|tenant| tenant.0);
        let replays = self.core().fetch_all(&sql, &[&tenant, &at, &after, &page.fetch()]).await?;
        Ok(Page::of(replays, page, |replay: &Replay| Cursor::of(replay.created_at, replay.id.0)))
    }

    /// Pauses, resumes or cancels a replay. Waits while a page of it is being fed. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the replay belongs to another tenant; [`StoreError::Conflict`] if the replay has
    /// ended.
    pub async fn steer_replay(
        &self,
        tenant: Option<TenantId>,
        id: ReplayId,
        to: ReplayAction,
    ) -> Result<(), StoreError> {
        let mut client = self.core().client().await?;
        let tx = client.transaction().await?;
        // Unlike other edits, this edit locks its own row before the version counter, because feeding a page may keep the row
        // locked for as long as it takes. The process that feeds the page locks the row and the counter in the same order.
        let sql =
            format!("SELECT {COLUMNS} FROM replays WHERE id = $1 AND ($2::uuid IS NULL OR tenant = $2) FOR UPDATE");
        let row = tx.query_opt(&sql, &[&id.0, &tenant.map(|tenant| tenant.0)]).await?;
        let replay: Replay = read_optional(row)?.ok_or(StoreError::NotFound { what: "replay" })?;
        let now = UnixMillis::now();
        let to = match (to, replay.status) {
            (ReplayAction::Cancel, _) => ReplayStatus::Cancelled,
            (ReplayAction::Pause, ReplayStatus::Running | ReplayStatus::Paused) => ReplayStatus::Paused,
            (ReplayAction::Resume, ReplayStatus::Running | ReplayStatus::Paused) => ReplayStatus::Running,
            (ReplayAction::Pause | ReplayAction::Resume, ended) => {
                return Err(StoreError::Conflict(format!(
                    "the replay is {ended}; only a running or paused replay can be paused or resumed"
                )));
            }
        };
        if to != replay.status {
            set_status(&tx, id, to, now).await?;
        }
        let action = match to {
            ReplayStatus::Paused => AuditAction::ReplayPaused,
            ReplayStatus::Cancelled => AuditAction::ReplayCancelled,
            _ => AuditAction::ReplayResumed,
        };
        let status = |status: ReplayStatus| serde_json::json!({"status": status.to_string()});
        let change = Change::of(replay.tenant, action, id).from(status(replay.status)).to(status(to));
        self.core().log_change(&tx, change).await?;
        if to != ReplayStatus::Cancelled {
            tx.commit().await?;
            return Ok(());
        }
        let version = bump(&tx).await?;
        let stale = Intervention {
            target: InterventionTarget::Replay(id),
            event_day: None,
            least_epoch: EVERY_EPOCH,
            reason: InterventionReason::Cancelled,
            created_at: now,
            version,
        };
        stale.save(&tx).await?;
        lines::free_replay(&tx, replay.tenant, id).await?;
        finish(tx, version).await?;
        // A dispatcher ends deliveries that this loop misses (after a crash, or because their rows are not written yet).
        loop {
            let tx = client.transaction().await?;
            let rows = pending(&tx, id).await?;
            end(&tx, &rows, InterventionReason::Cancelled, now).await?;
            tx.commit().await?;
            if rows.len() < usize::try_from(ENDED_AT_ONCE).unwrap_or(usize::MAX) {
                return Ok(());
            }
        }
    }
}
