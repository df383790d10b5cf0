//! Reads the rows on record about the events of a replay's page: the decisions about the events, and their earlier deliveries.

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use postrider_model::delivery::{DeliveryStatus, Trigger};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, ReplayId, TenantId};
use postrider_model::time::Day;
use tokio_postgres::Row;
use uuid::Uuid;

use super::PendingRetry;
use crate::error::StoreError;
use crate::history::{DELIVERY_COLUMNS, DeliveryRow, EventRow};
use crate::sql::{Coded, Date, FromRow, RowExt};

/// A value for each event, by the id and the day of the event.
pub(super) type ByEvent<T> = HashMap<(EventId, Day), T>;

/// An earlier delivery of an event: its id, its day and its status.
pub(super) type Earlier = (DeliveryId, Day, DeliveryStatus);

pub(super) fn statuses(earlier: &[Earlier]) -> Vec<DeliveryStatus> {
    earlier.iter().map(|(_, _, status)| *status).collect()
}

/// Reads the decisions about the events: the configuration version and the endpoints.
pub(super) async fn decided(
    client: &impl GenericClient,
    tenant: TenantId,
    events: &[EventRow],
) -> Result<ByEvent<(i64, Vec<EndpointId>)>, StoreError> {
    let (ids, days) = keys(events);
    let sql = "SELECT d.event_id, d.event_day, d.config_version, d.matched
               FROM unnest($2::text[], $3::date[]) AS wanted(id, day)
               JOIN decisions d ON d.tenant = $1 AND d.event_id = wanted.id AND d.event_day = wanted.day";
    let rows = client.query(sql, &[&tenant.0, &ids, &days]).await?;
    let decision = |row: &Row| {
        Ok(((row.col("event_id")?, row.col("event_day")?), (row.col("config_version")?, row.col("matched")?)))
    };
    rows.iter().map(decision).collect()
}

/// Reads every earlier delivery of the events, by event and endpoint.
pub(super) async fn earlier(
    client: &impl GenericClient,
    tenant: TenantId,
    events: &[EventRow],
    decided: &ByEvent<(i64, Vec<EndpointId>)>,
    own: Option<ReplayId>,
) -> Result<ByEvent<HashMap<EndpointId, Vec<Earlier>>>, StoreError> {
    let firsts: Vec<Uuid> = decided
        .iter()
        .flat_map(|((event, _), (_, matched))| {
            matched.iter().map(move |endpoint| DeliveryId::derive(tenant, event, *endpoint, &Generation::First).0)
        })
        .collect();
    let (ids, mut days) = keys(events);
    let columns = "event_id, event_day, endpoint, id, delivery_day, status";
    let again = format!(
        "SELECT {columns} FROM deliveries WHERE tenant = $1 AND event_id = ANY($2) AND generation IS NOT NULL
             AND generation NOT LIKE 'test:%' AND generation IS DISTINCT FROM $3"
    );
    let own = own.map(|replay| Generation::Replay(replay).to_string());
    let mut rows = client.query(&again, &[&tenant.0, &ids, &own]).await?;
    days.sort_unstable();
    days.dedup();
    let first = format!("SELECT {columns} FROM deliveries WHERE id = ANY($1) AND delivery_day = ANY($2)");
    rows.extend(client.query(&first, &[&firsts, &days]).await?);
    let mut earlier: ByEvent<HashMap<_, Vec<_>>> = HashMap::new();
    for row in rows {
        let of_event = earlier.entry((row.col("event_id")?, row.col("event_day")?)).or_default();
        let delivery = (row.col("id")?, row.col("delivery_day")?, row.col("status")?);
        of_event.entry(row.col("endpoint")?).or_default().push(delivery);
    }
    Ok(earlier)
}

/// Reads the pending deliveries to `endpoint` among the earlier deliveries, newest first.
pub(super) async fn pending(
    client: &impl GenericClient,
    endpoint: EndpointId,
    earlier: &ByEvent<HashMap<EndpointId, Vec<Earlier>>>,
) -> Result<ByEvent<Vec<PendingRetry>>, StoreError> {
    let to_endpoint = earlier.values().filter_map(|by_endpoint| by_endpoint.get(&endpoint)).flatten();
    let pending = to_endpoint.filter(|(_, _, status)| *status == DeliveryStatus::Pending);
    let (ids, days): (Vec<Uuid>, Vec<Date>) = pending.map(|(id, day, _)| (id.0, Date(*day))).unzip();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS}, (
             SELECT count(DISTINCT a.number) FROM attempts a
             WHERE a.delivery_id = d.id AND a.delivery_day = d.delivery_day AND a.trigger = $4 AND a.number > 1) AS extra
         FROM deliveries d WHERE id = ANY($1) AND delivery_day = ANY($2) AND status = $3
             AND NOT EXISTS (SELECT FROM ordered_deliveries o WHERE o.delivery = d.id)
         ORDER BY created_at DESC, id DESC"
    );
    let (pending, manual) = (DeliveryStatus::Pending.code(), Trigger::Manual.code());
    let mut found: ByEvent<Vec<PendingRetry>> = HashMap::new();
    for row in client.query(&sql, &[&ids, &days, &pending, &manual]).await? {
        let retry = PendingRetry { row: DeliveryRow::read(&row)?, extra: row.col("extra")? };
        let of = &retry.row.delivery;
        found.entry((of.event.clone(), of.event_day)).or_default().push(retry);
    }
    Ok(found)
}

fn keys(events: &[EventRow]) -> (Vec<&str>, Vec<Date>) {
    events.iter().map(|event| (event.summary.id.as_str(), Date(event.summary.event_day))).unzip()
}
