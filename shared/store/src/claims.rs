//! Claims of event ids. An id belongs to the first event that was published with it, in all ingest processes and across restarts.
//!
//! Ingest claims a producer's id before it publishes the event, and records the broker's confirm in the claim. A claim is kept
//! [`EVENT_ID_DAYS_AFTER_RETENTION`](postrider_model::limits::EVENT_ID_DAYS_AFTER_RETENTION) days longer than the event.

use std::collections::HashMap;
use std::time::Duration;

use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::{Day, UnixMillis};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::StoreError;
use crate::history::EventRow;
use crate::sql::{Date, FromRow, RowExt, Ts, read_optional};
use crate::store::ClaimStore;

/// An id that a producer gave an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The event's tenant.
    pub tenant: TenantId,
    /// The id.
    pub id: EventId,
    /// A hash of the event's content.
    pub content_hash: String,
    /// The time of acceptance to store if the id is free.
    pub accepted_at: UnixMillis,
}

/// The result of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The caller publishes the event with this time of acceptance. The time is earlier than requested if the claim was taken
    /// over from another publisher of the same event.
    Ours(UnixMillis),
    /// The id already belongs to an event.
    Taken {
        /// The hash of that event's content.
        content_hash: String,
        /// When that event was accepted.
        accepted_at: UnixMillis,
        /// Whether that event cannot be lost: the broker confirmed it, or fan-out decided about it.
        safe: bool,
    },
}

/// Claims free ids. Takes over a claim with the same content that is older than `$6` ms, if its event may be lost. If the event
/// day of that claim is at least two days before the new one, the new time of acceptance replaces the old one, because the
/// partition of the old day may have been dropped.
const CLAIM: &str = "\
INSERT INTO event_ids AS c (claimed_at, accepted_at, tenant, event_day, confirmed, id, content_hash)
SELECT now(), w.accepted_at, w.tenant, w.event_day, false, w.id, w.content_hash
FROM (SELECT unnest($1::uuid[]) AS tenant, unnest($2::text[]) AS id, unnest($3::text[]) AS content_hash,
        unnest($4::timestamptz[]) AS accepted_at, unnest($5::date[]) AS event_day) w
ON CONFLICT (tenant, id) DO UPDATE SET claimed_at = excluded.claimed_at,
    accepted_at = CASE WHEN c.event_day < excluded.event_day - 1 THEN excluded.accepted_at ELSE c.accepted_at END,
    event_day = CASE WHEN c.event_day < excluded.event_day - 1 THEN excluded.event_day ELSE c.event_day END
WHERE NOT c.confirmed AND c.content_hash = excluded.content_hash
    AND c.claimed_at <= excluded.claimed_at - $6::bigint * interval '1 millisecond'
    AND NOT EXISTS (SELECT FROM decisions d WHERE d.tenant = c.tenant AND d.event_id = c.id AND d.event_day = c.event_day)
RETURNING tenant, id, accepted_at";

const TAKEN: &str = "\
SELECT c.tenant, c.id, c.content_hash, c.accepted_at, c.confirmed OR EXISTS (SELECT FROM decisions d
    WHERE d.tenant = c.tenant AND d.event_id = c.id AND d.event_day = c.event_day) AS safe
FROM (SELECT unnest($1::uuid[]) AS tenant, unnest($2::text[]) AS id) w
JOIN event_ids c ON c.tenant = w.tenant AND c.id = w.id";

/// Locks rows in the order of their keys, so that two statements cannot deadlock.
const CONFIRM: &str = "\
UPDATE event_ids c SET confirmed = true
FROM (SELECT e.tenant, e.id FROM (SELECT unnest($1::uuid[]) AS tenant, unnest($2::text[]) AS id) w
    JOIN event_ids e ON e.tenant = w.tenant AND e.id = w.id ORDER BY e.tenant, e.id FOR NO KEY UPDATE OF e) locked
WHERE c.tenant = locked.tenant AND c.id = locked.id AND NOT c.confirmed";

/// Maximum number of rows that one statement deletes, so that no statement holds row locks for long.
const FORGOTTEN_AT_ONCE: i64 = 10_000;
const FORGET: &str = "\
DELETE FROM event_ids WHERE ctid = ANY (ARRAY (SELECT ctid FROM event_ids WHERE event_day < $1 LIMIT $2))";

impl ClaimStore {
    /// Claims distinct ids, with at most two statements. The results are in the order of `claims`. A claim of another process
    /// with the same content is taken over if that process did not confirm its event within `patience`.
    ///
    /// # Errors
    /// An error of the database. It is then unknown which ids were claimed, and the claims may be repeated.
    pub async fn claim(&self, claims: &[Claim], patience: Duration) -> Result<Vec<Claimed>, StoreError> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let client = self.0.client().await?;
        // Every process claims ids in the same order, so that two processes cannot deadlock.
        let mut sorted: Vec<&Claim> = claims.iter().collect();
        sorted.sort_unstable_by(|a, b| (a.tenant, &a.id).cmp(&(b.tenant, &b.id)));
        let (tenants, ids) = columns(sorted.iter().map(|claim| (claim.tenant, &claim.id)));
        let hashes: Vec<&str> = sorted.iter().map(|claim| claim.content_hash.as_str()).collect();
        let times: Vec<Ts> = sorted.iter().map(|claim| Ts(claim.accepted_at)).collect();
        let days: Vec<Date> = sorted.iter().map(|claim| Date(claim.accepted_at.day())).collect();
        let patience = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        let statement = client.prepare_cached(CLAIM).await?;
        let mut found = HashMap::with_capacity(claims.len());
        for row in client.query(&statement, &[&tenants, &ids, &hashes, &times, &days, &patience]).await? {
            found.insert(key(&row)?, Claimed::Ours(row.col("accepted_at")?));
        }
        let free = |claim: &&&Claim| !found.contains_key(&(claim.tenant, claim.id.clone()));
        let rest: Vec<_> = sorted.iter().filter(free).map(|claim| (claim.tenant, &claim.id)).collect();
        if !rest.is_empty() {
            let (tenants, ids) = columns(rest.into_iter());
            let statement = client.prepare_cached(TAKEN).await?;
            for row in client.query(&statement, &[&tenants, &ids]).await? {
                let (content_hash, accepted_at) = (row.col("content_hash")?, row.col("accepted_at")?);
                found.insert(key(&row)?, Claimed::Taken { content_hash, accepted_at, safe: row.col("safe")? });
            }
        }
        let answer = |claim: &Claim| {
            found.get(&(claim.tenant, claim.id.clone())).cloned().unwrap_or_else(|| Claimed::Taken {
                // Another process deleted the claim between the two statements. For this result the caller repeats the claim.
                content_hash: claim.content_hash.clone(),
                accepted_at: claim.accepted_at,
                safe: false,
            })
        };
        Ok(claims.iter().map(answer).collect())
    }

    /// Records that the broker confirmed the events with these ids.
    ///
    /// # Errors
    /// An error of the database. Nothing is lost: once the event's decision is on record, the claim counts as safe too.
    pub async fn confirm_claims(&self, events: &[(TenantId, EventId)]) -> Result<(), StoreError> {
        let client = self.0.client().await?;
        let statement = client.prepare_cached(CONFIRM).await?;
        let (tenants, ids) = columns(events.iter().map(|(tenant, id)| (*tenant, id)));
        client.execute(&statement, &[&tenants, &ids]).await?;
        Ok(())
    }

    /// Returns the event on record with this generated id, if it was accepted on `day` or the day after.
    pub async fn event_with_generated_id(
        &self,
        tenant: TenantId,
        id: &EventId,
        day: Day,
    ) -> Result<Option<EventRow>, StoreError> {
        let client = self.0.client().await?;
        let sql = format!(
            "SELECT {}, metadata, data FROM events
             WHERE tenant = $1 AND id = $2 AND event_day IN ($3, $4) AND content_hash IS NULL LIMIT 1",
            crate::history::EventSummary::COLUMNS
        );
        let statement = client.prepare_cached(&sql).await?;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&tenant.0, &id.as_str(), &Date(day), &Date(day.plus_days(1))];
        read_optional(client.query_opt(&statement, &params).await?)
    }
}

/// Deletes the claims of events that were accepted before `day`.
pub(crate) async fn forget_before(client: &tokio_postgres::Client, day: Day) -> Result<(), StoreError> {
    while client.execute(FORGET, &[&Date(day), &FORGOTTEN_AT_ONCE]).await? > 0 {}
    Ok(())
}

/// Reads the tenant and the id, which are the first columns of `CLAIM` and `TAKEN`.
fn key(row: &Row) -> Result<(TenantId, EventId), StoreError> {
    FromRow::read(row)
}

fn columns<'a>(events: impl Iterator<Item = (TenantId, &'a EventId)>) -> (Vec<Uuid>, Vec<&'a str>) {
    events.map(|(tenant, id)| (tenant.0, id.as_str())).unzip()
}
