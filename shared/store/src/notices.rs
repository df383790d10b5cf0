//! Notices about the state of endpoints: which are due, and to whom they go.
//!
//! A change of an endpoint's state that its `notify` may tell makes a row due, in the transaction of the change (`due`, and the
//! statement that inserts attempts). A row is due at once, or [`NOTICE_PAUSE`] after the last notice about the same state. A
//! recorder settles one due row at a time ([`Store::settle_notice`]): it sends the notice if the state still holds then. So a
//! notice that came too early is sent later, unless the endpoint has left the state.
//!
//! The caller decides which notices are sent. The notice goes to the outbox in the same transaction, so that it is sent once.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};
use postrider_model::limits::{NOTICE_CHAIN_MAX, NOTICE_PAUSE, NOTICE_WAITING_MAX};
use postrider_model::notice::{NoticeState, Notify};
use postrider_model::time::UnixMillis;

use crate::config::{Endpoint, EndpointDocument, LastFailure, last_failure};
use crate::error::StoreError;
use crate::locks::{NOTICE_LOCK, low_cost, try_lock};
use crate::sql::{Coded, RowExt};
use crate::store::{ConfigStore, Store};

/// Timeout of a count of waiting deliveries.
const COUNT_WITHIN: Duration = Duration::from_secs(5);

/// A notice about the state of an endpoint that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct DueNotice {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The addressee and the states in the endpoint's `notify` now; `None` if it was removed.
    pub notify: Option<Notify>,
    /// The state to tell.
    pub state: NoticeState,
    /// The state in the last notice about the endpoint.
    pub last_notice: Option<NoticeState>,
    /// The endpoint's status.
    pub status: EndpointStatus,
    /// Why it was disabled or paused; `None` if a person did it.
    pub reason: Option<String>,
    /// When it was disabled or paused.
    pub stopped_at: Option<UnixMillis>,
    /// Whether it counts as failing.
    pub failing: bool,
    /// Number of failed attempts since the last success.
    pub failures: u32,
    /// The start of the first attempt of the current series of failures or, if the endpoint has recovered, of the last one.
    pub failing_since: Option<UnixMillis>,
    /// When the last success ended a series of failures.
    pub recovered_at: Option<UnixMillis>,
    /// The last failed attempt.
    pub last_failure: Option<LastFailure>,
    /// The status of the addressee; `None` if it was deleted.
    pub addressee: Option<EndpointStatus>,
    /// Whether the addressee notifies this endpoint, directly or through other endpoints.
    pub is_loop: bool,
    /// Number of deliveries of the endpoint that wait, at most [`NOTICE_WAITING_MAX`]. `None` if counting them took too long.
    pub waiting: Option<u32>,
}

/// What became of a due notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is in the outbox.
    Sent,
    /// There was nothing to tell.
    Dropped,
}

/// Makes a notice about the endpoint due, unless its `notify` leaves out this state.
pub(crate) async fn due(tx: &Transaction<'_>, endpoint: &Endpoint, state: NoticeState) -> Result<(), StoreError> {
    if endpoint.document.notify.as_ref().is_some_and(|notify| notify.on.contains(&state)) {
        let sql = format!(
            "INSERT INTO endpoint_notices AS n (endpoint, state, due_at) VALUES ($1, $2, now()) {}",
            on_conflict()
        );
        tx.execute(&sql, &[&endpoint.id.0, &state.code()]).await?;
    }
    Ok(())
}

/// SQL that makes an existing row `n` of `endpoint_notices` due.
pub(crate) fn on_conflict() -> String {
    let pause = NOTICE_PAUSE.as_secs();
    format!(
        "ON CONFLICT (endpoint, state) DO UPDATE SET due_at = greatest(now(), n.sent_at + interval '{pause} seconds')"
    )
}

/// Removes the notices about a deleted endpoint that are due.
pub(crate) async fn forget(tx: &Transaction<'_>, endpoint: EndpointId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM endpoint_notices WHERE endpoint = $1", &[&endpoint.0]).await?;
    Ok(())
}

/// SQL for an endpoint and the endpoints that are notified one after the other from it, starting with the endpoint `$1` of the
/// tenant `$2`.
fn chain_sql() -> String {
    format!(
        "WITH RECURSIVE chain AS (
             SELECT id, status, document #>> '{{notify,endpoint}}' AS next, 1 AS depth FROM endpoints
             WHERE id = $1 AND tenant = $2 AND deleted_at IS NULL
             UNION ALL
             SELECT e.id, e.status, e.document #>> '{{notify,endpoint}}', c.depth + 1
             FROM chain c JOIN endpoints e ON e.id = substr(c.next, 4)::uuid
             WHERE c.depth <= {NOTICE_CHAIN_MAX} AND e.tenant = $2 AND e.deleted_at IS NULL
         )
         SELECT id, status FROM chain ORDER BY depth"
    )
}

/// Returns the endpoint and those that are notified one after the other from it, with their statuses. Empty if the endpoint does
/// not exist.
async fn chain(
    client: &impl GenericClient,
    tenant: TenantId,
    endpoint: EndpointId,
) -> Result<Vec<(EndpointId, EndpointStatus)>, StoreError> {
    let rows = client.query(&chain_sql(), &[&endpoint.0, &tenant.0]).await?;
    rows.iter().map(|row| Ok((row.col("id")?, row.col("status")?))).collect()
}

impl ConfigStore {
    /// Returns an endpoint of the tenant, and those that are notified one after the other from it: its target, the target of that
    /// target, and so on, one more than [`NOTICE_CHAIN_MAX`] at most. Empty if the endpoint does not exist or belongs to another
    /// tenant.
    pub async fn notified_chain(&self, tenant: TenantId, endpoint: EndpointId) -> Result<Vec<EndpointId>, StoreError> {
        let client = self.0.client().await?;
        Ok(chain(&client, tenant, endpoint).await?.into_iter().map(|(id, _)| id).collect())
    }
}

const DETAILS: &str = "\
SELECT e.tenant, e.document, e.status, coalesce(e.disabled_reason, e.paused_reason) AS reason,
    coalesce(e.disabled_at, e.paused_at) AS stopped_at, coalesce(h.failing, false) AS failing,
    coalesce(h.failures, 0) AS failures, coalesce(h.first_failure_at, h.failing_since) AS failing_since,
    h.succeeded_at AS recovered_at, h.last_failure_at, h.last_outcome, h.last_status_code, h.last_error,
    (SELECT state FROM endpoint_notices WHERE endpoint = e.id AND sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT 1) AS last_notice
FROM endpoints e LEFT JOIN endpoint_health h ON h.endpoint = e.id
WHERE e.id = $1 AND e.deleted_at IS NULL";

impl Store {
    /// Settles the notice that has been due for the longest time: `decide` returns the `data` of its event, or `None` if there is
    /// nothing to tell. If it would tell something, the waiting deliveries are counted, which may take seconds, and `decide` is
    /// called again, for the state after that. Returns `None` if no notice is due, or if another recorder is settling one.
    pub async fn settle_notice(
        &self,
        mut decide: impl FnMut(&DueNotice) -> Option<Bytes>,
    ) -> Result<Option<Settled>, StoreError> {
        let mut client = self.core().client().await?;
        let sql = "SELECT endpoint, state FROM endpoint_notices WHERE due_at <= now() ORDER BY due_at LIMIT 1";
        let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
        let (endpoint, state): (EndpointId, NoticeState) = (row.col("endpoint")?, row.col("state")?);
        let mut tx = client.transaction().await?;
        if !try_lock(&tx, NOTICE_LOCK).await? {
            return Ok(None);
        }
        // The row is not locked meanwhile, because a recorder that writes a batch would wait for it.
        let is_sent = due_notice(&tx, (endpoint, state, None)).await?.is_some_and(|notice| decide(&notice).is_some());
        let waiting = if is_sent { count_waiting(&mut tx, endpoint).await? } else { None };
        let sql = "SELECT FROM endpoint_notices WHERE endpoint = $1 AND state = $2 AND due_at <= now() FOR UPDATE";
        if tx.query_opt(sql, &[&endpoint.0, &state.code()]).await?.is_none() {
            return Ok(Some(Settled::Dropped));
        }
        let settled = match due_notice(&tx, (endpoint, state, waiting)).await? {
            Some(notice) => send(&tx, &notice, decide(&notice)).await?,
            None => {
                // The endpoint was deleted while a recorder made the notice due.
                forget(&tx, endpoint).await?;
                Settled::Dropped
            }
        };
        tx.commit().await?;
        Ok(Some(settled))
    }
}

/// Leaves the event of a due notice with this `data` in the outbox. The notice is not due any more, with or without `data`.
async fn send(tx: &Transaction<'_>, notice: &DueNotice, data: Option<Bytes>) -> Result<Settled, StoreError> {
    let state = notice.state;
    let addressee = notice.notify.as_ref().map(|notify| notify.endpoint);
    let Some((data, addressee)) = data.zip(addressee) else {
        let sql = "UPDATE endpoint_notices SET due_at = NULL WHERE endpoint = $1 AND state = $2";
        tx.execute(sql, &[&notice.endpoint.0, &state.code()]).await?;
        return Ok(Settled::Dropped);
    };
    let sql = "INSERT INTO outbox (tenant, event_type, data, addressee, created_at, claimed_at)
               VALUES ($1, $2, $3, $4, now(), 'epoch')";
    tx.execute(sql, &[&notice.tenant.0, &state.event_type(), &&*data, &addressee.0]).await?;
    let sql = "UPDATE endpoint_notices SET due_at = NULL, sent_at = now() WHERE endpoint = $1 AND state = $2";
    tx.execute(sql, &[&notice.endpoint.0, &state.code()]).await?;
    Ok(Settled::Sent)
}

/// Counts the deliveries of an endpoint that wait. Returns `None` if that takes too long or fails.
async fn count_waiting(tx: &mut Transaction<'_>, endpoint: EndpointId) -> Result<Option<u32>, StoreError> {
    // A savepoint: a timeout does not end the transaction, and the settings do not outlive the count.
    let counting = tx.transaction().await?;
    let waiting = waiting(&counting, endpoint).await.ok();
    counting.rollback().await?;
    Ok(waiting)
}

async fn waiting(tx: &Transaction<'_>, endpoint: EndpointId) -> Result<u32, StoreError> {
    low_cost(tx, COUNT_WITHIN).await?;
    let sql = "SELECT count(*) AS waiting FROM (
                   SELECT FROM deliveries WHERE tenant = (SELECT tenant FROM endpoints WHERE id = $1)
                       AND status = 0 AND endpoint = $1 LIMIT $2) waiting";
    tx.query_one(sql, &[&endpoint.0, &i64::from(NOTICE_WAITING_MAX)]).await?.col("waiting")
}

/// Reads everything about a due notice. Returns `None` if its endpoint was deleted.
async fn due_notice(
    tx: &Transaction<'_>,
    (endpoint, state, waiting): (EndpointId, NoticeState, Option<u32>),
) -> Result<Option<DueNotice>, StoreError> {
    let Some(row) = &tx.query_opt(DETAILS, &[&endpoint.0]).await? else { return Ok(None) };
    let (tenant, document): (TenantId, EndpointDocument) = (row.col("tenant")?, row.col("document")?);
    let found = match &document.notify {
        Some(notify) => chain(tx, tenant, notify.endpoint).await?,
        None => Vec::new(),
    };
    Ok(Some(DueNotice {
        endpoint,
        tenant,
        name: document.name,
        notify: document.notify,
        state,
        last_notice: row.col("last_notice")?,
        status: row.col("status")?,
        reason: row.col("reason")?,
        stopped_at: row.col("stopped_at")?,
        failing: row.col("failing")?,
        failures: row.col("failures")?,
        failing_since: row.col("failing_since")?,
        recovered_at: row.col("recovered_at")?,
        last_failure: last_failure(row)?,
        addressee: found.first().map(|(_, status)| *status),
        is_loop: found.iter().any(|(id, _)| *id == endpoint),
        waiting,
    }))
}
