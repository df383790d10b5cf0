//! What people see of lines and change in them, and the places of deliveries.

use std::collections::HashSet;

use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, ReplayId, TenantId};
use postrider_model::time::Day;
use postrider_wire::messages::{DeliveryTask, Turn};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{FREE, HeldLine, PlaceInLine, lock};
use crate::audit_log::{AuditAction, Change};
use crate::error::StoreError;
use crate::sql::{Coded, Date, RowExt};
use crate::store::LineStore;
use postrider_model::delivery::DeliveryStatus;

/// The turn of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TurnOf {
    /// The delivery is in no line.
    NotInLine,
    /// It waits: earlier deliveries of its line have not ended, or the sequencer has not released it.
    Later,
    /// It failed for good and holds its line.
    Holds,
    /// It is the first delivery of its line.
    Now(Turn),
}

impl LineStore {
    /// The held lines of an endpoint, longest held first, at most `limit`.
    pub async fn held_lines(
        &self,
        tenant: Option<TenantId>,
        endpoint: EndpointId,
        limit: u32,
    ) -> Result<Vec<HeldLine>, StoreError> {
        let sql = "SELECT key, held, held_at,
                       (SELECT count(*) - 1 FROM ordered_deliveries d
                        WHERE d.endpoint = line.endpoint AND d.key = line.key) AS waiting
                   FROM ordered_lines line
                   WHERE endpoint = $1 AND held IS NOT NULL AND ($2::uuid IS NULL OR tenant = $2)
                   ORDER BY held_at, key LIMIT $3";
        self.0.fetch_all(sql, &[&endpoint.0, &tenant.map(|t| t.0), &i64::from(limit)]).await
    }

    /// The delivery that holds a line; `None` if the line is not held.
    pub async fn held_delivery(&self, endpoint: EndpointId, key: &str) -> Result<Option<DeliveryId>, StoreError> {
        let sql = "SELECT held FROM ordered_lines WHERE endpoint = $1 AND key = $2 AND held IS NOT NULL";
        let found: Option<(DeliveryId,)> = self.0.fetch_optional(sql, &[&endpoint.0, &key]).await?;
        Ok(found.map(|(id,)| id))
    }

    /// Lets a held line continue behind its failed delivery. Returns that delivery; `None` if the line is not held.
    pub async fn skip_held(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        key: &str,
    ) -> Result<Option<DeliveryId>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        lock(&tx).await?;
        let sql =
            "SELECT held FROM ordered_lines WHERE endpoint = $1 AND key = $2 AND tenant = $3 AND held IS NOT NULL";
        let Some(row) = tx.query_opt(sql, &[&endpoint.0, &key, &tenant.0]).await? else { return Ok(None) };
        let held: DeliveryId = row.col("held")?;
        tx.execute("DELETE FROM ordered_deliveries WHERE delivery = $1", &[&held.0]).await?;
        let free =
            "UPDATE ordered_lines SET held = NULL, held_at = NULL, run_upto = NULL WHERE endpoint = $1 AND key = $2";
        tx.execute(free, &[&endpoint.0, &key]).await?;
        let after = serde_json::json!({"endpoint_id": endpoint, "key": key});
        self.0.log_change(&tx, Change::of(tenant, AuditAction::HeldDeliverySkipped, held).to(after)).await?;
        tx.commit().await?;
        Ok(Some(held))
    }

    /// The places of those of these deliveries that are in a line.
    pub async fn places(&self, deliveries: &[DeliveryId]) -> Result<Vec<PlaceInLine>, StoreError> {
        let ids: Vec<Uuid> = deliveries.iter().map(|id| id.0).collect();
        let sql = "SELECT d.delivery, d.key, line.held IS NOT NULL AS is_held,
                       (SELECT f.delivery FROM ordered_deliveries f
                        WHERE f.endpoint = d.endpoint AND f.key = d.key ORDER BY f.position LIMIT 1) AS first,
                       (SELECT count(*) FROM ordered_deliveries a
                        WHERE a.endpoint = d.endpoint AND a.key = d.key AND a.position < d.position) AS ahead,
                       (SELECT count(*) FROM ordered_deliveries b
                        WHERE b.endpoint = d.endpoint AND b.key = d.key AND b.position > d.position) AS behind
                   FROM ordered_deliveries d
                   LEFT JOIN ordered_lines line ON line.endpoint = d.endpoint AND line.key = d.key
                   WHERE d.delivery = ANY($1)";
        self.0.fetch_all(sql, &[&ids]).await
    }

    /// Of these deliveries, the ones that wait for their turn in a line, each with the first of the line. It is the first itself if
    /// its line waits for the order before an edit.
    pub async fn waiting_for_turn(
        &self,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<(DeliveryId, DeliveryId)>, StoreError> {
        let ids: Vec<Uuid> = deliveries.iter().map(|id| id.0).collect();
        let sql = "SELECT d.delivery, f.delivery AS first
                   FROM ordered_deliveries d
                   LEFT JOIN ordered_lines line ON line.endpoint = d.endpoint AND line.key = d.key
                   CROSS JOIN LATERAL (
                       SELECT delivery FROM ordered_deliveries o
                       WHERE o.endpoint = d.endpoint AND o.key = d.key ORDER BY o.position LIMIT 1) f
                   WHERE d.delivery = ANY($1)
                       AND (f.delivery <> d.delivery OR line.run_upto IS NULL OR d.position > line.run_upto)";
        self.0.fetch_all(sql, &[&ids]).await
    }

    /// Of these deliveries, the ones that are in a line.
    pub async fn known_among(&self, deliveries: &[DeliveryId]) -> Result<HashSet<DeliveryId>, StoreError> {
        let ids: Vec<Uuid> = deliveries.iter().map(|id| id.0).collect();
        let sql = "SELECT delivery FROM ordered_deliveries WHERE delivery = ANY($1)";
        let found: Vec<(DeliveryId,)> = self.0.fetch_all(sql, &[&ids]).await?;
        Ok(found.into_iter().map(|(id,)| id).collect())
    }

    /// Of these deliveries, the ones whose end is on record. A dispatcher does not attempt them again when a run returns to its
    /// queue.
    pub async fn ended_among(&self, deliveries: &[(DeliveryId, Day)]) -> Result<HashSet<DeliveryId>, StoreError> {
        let ids: Vec<Uuid> = deliveries.iter().map(|(id, _)| id.0).collect();
        let days: Vec<Date> = deliveries.iter().map(|(_, day)| Date(*day)).collect();
        let sql = "SELECT id FROM deliveries WHERE id = ANY($1) AND delivery_day = ANY($2) AND status <> $3";
        let found: Vec<(DeliveryId,)> = self.0.fetch_all(sql, &[&ids, &days, &DeliveryStatus::Pending.code()]).await?;
        Ok(found.into_iter().map(|(id,)| id).collect())
    }
}

/// The turn of a delivery, for a new copy of it.
pub(crate) async fn turn_of(client: &impl GenericClient, id: DeliveryId) -> Result<TurnOf, StoreError> {
    let sql = "SELECT d.key, line.run, coalesce(line.held = d.delivery, false) AS holds,
                   line.run_upto IS NULL OR d.position > line.run_upto OR EXISTS (SELECT FROM ordered_deliveries a
                       WHERE a.endpoint = d.endpoint AND a.key = d.key AND a.position < d.position) AS later
               FROM ordered_deliveries d
               JOIN ordered_lines line ON line.endpoint = d.endpoint AND line.key = d.key
               WHERE d.delivery = $1";
    let Some(row) = client.query_opt(sql, &[&id.0]).await? else { return Ok(TurnOf::NotInLine) };
    if row.col("later")? {
        return Ok(TurnOf::Later);
    }
    if row.col("holds")? {
        return Ok(TurnOf::Holds);
    }
    Ok(TurnOf::Now(Turn { key: row.col("key")?, run: row.col("run")? }))
}

/// Removes deliveries that a person ended from their lines.
pub(crate) async fn remove_ended(client: &impl GenericClient, ended: &[DeliveryId]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = ended.iter().map(|id| id.0).collect();
    let any = "SELECT EXISTS (SELECT FROM ordered_deliveries WHERE delivery = ANY($1))";
    if !client.query_one(any, &[&ids]).await?.try_get::<_, bool>(0)? {
        return Ok(());
    }
    lock(client).await?;
    let sql = "WITH gone AS (DELETE FROM ordered_deliveries WHERE delivery = ANY($1) RETURNING endpoint, key)
               SELECT DISTINCT endpoint, key FROM gone";
    let rows = client.query(sql, &[&ids]).await?;
    let (mut endpoints, mut keys): (Vec<Uuid>, Vec<String>) = (Vec::new(), Vec::new());
    for row in &rows {
        endpoints.push(row.try_get("endpoint")?);
        keys.push(row.try_get("key")?);
    }
    client.execute(FREE, &[&endpoints, &keys]).await?;
    Ok(())
}

/// Lets the held lines of a replay continue: what is left in them reaches a dispatcher, which ends it because the replay is
/// cancelled.
pub(crate) async fn free_replay(
    client: &impl GenericClient,
    tenant: TenantId,
    replay: ReplayId,
) -> Result<(), StoreError> {
    lock(client).await?;
    let prefix = format!("{replay}/");
    let failed = "DELETE FROM ordered_deliveries d USING ordered_lines line
                  WHERE line.tenant = $1 AND line.held IS NOT NULL AND starts_with(line.key, $2) AND d.delivery = line.held";
    client.execute(failed, &[&tenant.0, &prefix]).await?;
    let free = "UPDATE ordered_lines SET held = NULL, held_at = NULL, run_upto = NULL
                WHERE tenant = $1 AND held IS NOT NULL AND starts_with(key, $2)";
    client.execute(free, &[&tenant.0, &prefix]).await?;
    Ok(())
}

/// Erases the bodies of an event's deliveries that hold a line. Such a delivery has ended, and is not sent again without its event's
/// payload. The bodies of pending deliveries leave with their rows.
pub(crate) async fn erase_held(
    client: &impl GenericClient,
    tenant: TenantId,
    event: &EventId,
) -> Result<(), StoreError> {
    let held = "line.tenant = $1 AND line.held IS NOT NULL
                    AND EXISTS (SELECT FROM deliveries d WHERE d.id = line.held AND d.event_id = $2)";
    let params: [&(dyn ToSql + Sync); 2] = [&tenant.0, &event.as_str()];
    let any = format!("SELECT EXISTS (SELECT FROM ordered_lines line WHERE {held})");
    if client.query_one(&any, &params).await?.try_get(0)? {
        lock(client).await?;
        let erase = format!(
            "UPDATE ordered_deliveries o SET body = '' FROM ordered_lines line WHERE o.delivery = line.held AND {held}"
        );
        client.execute(&erase, &params).await?;
    }
    Ok(())
}

/// Lets the retry of a failed delivery that holds a line take its place, and lets the line continue with it. Returns `false` if
/// the delivery holds no line.
pub(crate) async fn take_place(
    tx: &Transaction<'_>,
    failed: DeliveryId,
    retry: &DeliveryTask,
) -> Result<bool, StoreError> {
    let held = "SELECT EXISTS (SELECT FROM ordered_deliveries d
                    JOIN ordered_lines line ON line.endpoint = d.endpoint AND line.key = d.key
                    WHERE d.delivery = $1 AND line.held = $1)";
    if !tx.query_one(held, &[&failed.0]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    lock(tx).await?;
    let free = "UPDATE ordered_lines SET held = NULL, held_at = NULL, run_upto = NULL WHERE held = $1";
    if tx.execute(free, &[&failed.0]).await? == 0 {
        return Ok(false);
    }
    let task = serde_json::to_string(retry)
        .map_err(|error| StoreError::Unreadable { what: "a delivery", detail: error.to_string() })?;
    let replace = "UPDATE ordered_deliveries SET delivery = $2, task = $3 WHERE delivery = $1";
    Ok(tx.execute(replace, &[&failed.0, &retry.delivery.id.0, &task]).await? > 0)
}
