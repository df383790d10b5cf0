//! Erases what a step found.

use deadpool_postgres::Transaction;
use postrider_model::erasure::Extent;
use postrider_model::filters::DeliveryFilter;
use postrider_model::ids::{DeliveryId, TenantId};
use postrider_model::time::UnixMillis;
use uuid::Uuid;

use super::{AttemptHit, EventHit};
use crate::error::StoreError;
use crate::history::{DeliveryRow, EventKey, of_event};
use crate::intervention::{EVERY_EPOCH, Intervention, InterventionReason, InterventionTarget};
use crate::lines;
use crate::sql::{Date, Params, Ts, clean};
use crate::withdraw::{ENDED_AT_ONCE_MAX, end, pending_of_event};

/// Numbers of rows that were erased with events.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ErasedEvents {
    pub(super) events: u64,
    pub(super) deliveries: u64,
    pub(super) attempts: u64,
}

/// SQL that erases the answer of an attempt. The error of an attempt may quote the answer.
const NO_ANSWER: &str = "response_excerpt = NULL, response_headers = NULL, error = NULL";
/// SQL for an attempt that has an answer.
const HAS_ANSWER: &str = "(response_excerpt IS NOT NULL OR response_headers IS NOT NULL OR error IS NOT NULL)";

/// Expunges events as part of an edit with this configuration version, and erases their attributes that hold the value. Discards
/// their pending deliveries, and erases the answers to all of their attempts, because an answer may hold what the request held.
pub(super) async fn events(
    tx: &Transaction<'_>,
    tenant: TenantId,
    hits: &[EventHit],
    version: i64,
) -> Result<ErasedEvents, StoreError> {
    let now = UnixMillis::now();
    let ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
    let days: Vec<Date> = hits.iter().map(|hit| Date(hit.day)).collect();
    // The name of an attribute has no comma.
    let names: Vec<String> = hits.iter().map(|hit| hit.attributes.join(",")).collect();
    let wipe =
        "UPDATE events e SET data = NULL, metadata = NULL, attributes = e.attributes - string_to_array(hit.names, ',')
                FROM unnest($2::text[], $3::date[], $4::text[]) AS hit (id, day, names)
                WHERE e.tenant = $1 AND e.id = hit.id AND e.event_day = hit.day AND e.data IS NOT NULL";
    let events = tx.execute(wipe, &[&tenant.0, &ids, &days, &names]).await?;
    let stale = |hit: &EventHit| Intervention {
        target: InterventionTarget::Event(tenant, hit.id.clone()),
        event_day: Some(hit.day),
        least_epoch: EVERY_EPOCH,
        reason: InterventionReason::Expunged,
        created_at: now,
        version,
    };
    // Two events of different days may have the same id. One intervention without a day covers both.
    let mut interventions: Vec<Intervention> = Vec::with_capacity(hits.len());
    for hit in hits {
        let made = stale(hit);
        match interventions.iter_mut().find(|known| known.target == made.target) {
            Some(known) => known.event_day = None,
            None => interventions.push(made),
        }
    }
    Intervention::save_all(&interventions, tx).await?;
    let (mut deliveries, mut pending) = (Vec::new(), Vec::new());
    for hit in hits {
        pending.extend(pending_of_event(tx, tenant, &hit.id, Some(hit.day)).await?);
        let key = EventKey { tenant, event: &hit.id, day: Some(hit.day) };
        deliveries.extend(of_event(tx, key, &DeliveryFilter::default(), None, ENDED_AT_ONCE_MAX).await?);
    }
    end(tx, &pending, InterventionReason::Expunged, now).await?;
    // A failed delivery that holds a line has ended, and its body is still in the line.
    let ids: Vec<DeliveryId> = deliveries.iter().map(|row: &DeliveryRow| row.delivery.id).collect();
    lines::remove_ended(tx, &ids).await?;
    let attempts = answers_of(tx, &deliveries).await?;
    Ok(ErasedEvents { events, deliveries: pending.len() as u64, attempts })
}

/// Erases the answers to all attempts of these deliveries.
async fn answers_of(tx: &Transaction<'_>, deliveries: &[DeliveryRow]) -> Result<u64, StoreError> {
    let (ids, days): (Vec<Uuid>, Vec<Date>) =
        deliveries.iter().map(|row| (row.delivery.id.0, Date(row.delivery.delivery_day))).unzip();
    let sql = format!(
        "UPDATE attempts a SET {NO_ANSWER} FROM unnest($1::uuid[], $2::date[]) AS sent (id, day)
         WHERE a.delivery_id = sent.id AND a.delivery_day = sent.day AND {HAS_ANSWER}"
    );
    Ok(tx.execute(&sql, &[&ids, &days]).await?)
}

/// Erases the data of test calls.
pub(super) async fn test_calls(tx: &Transaction<'_>, ids: &[DeliveryId]) -> Result<u64, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    Ok(tx.execute("UPDATE test_data SET data = NULL WHERE delivery_id = ANY($1) AND data IS NOT NULL", &[&ids]).await?)
}

/// Erases the answers of attempts, and their request headers if these hold the value.
pub(super) async fn attempts(tx: &Transaction<'_>, hits: &[AttemptHit]) -> Result<u64, StoreError> {
    let deliveries: Vec<Uuid> = hits.iter().map(|hit| hit.delivery.0).collect();
    let days: Vec<Date> = hits.iter().map(|hit| Date(hit.delivery_day)).collect();
    let sends: Vec<Uuid> = hits.iter().map(|hit| hit.send_id.0).collect();
    let in_requests: Vec<bool> = hits.iter().map(|hit| hit.in_request).collect();
    let sql = format!(
        "UPDATE attempts a SET {NO_ANSWER},
             request_headers = CASE WHEN hit.in_request THEN '[]' ELSE a.request_headers END
         FROM unnest($1::uuid[], $2::date[], $3::uuid[], $4::boolean[]) AS hit (delivery, day, send, in_request)
         WHERE a.delivery_id = hit.delivery AND a.delivery_day = hit.day AND a.send_id = hit.send"
    );
    Ok(tx.execute(&sql, &[&deliveries, &days, &sends, &in_requests]).await?)
}

/// Erases what dead letters contain, and discards those that are open. An erased letter counts as cut, so it cannot be requeued.
/// Of the routing key only the tenant's id stays.
pub(super) async fn letters(tx: &Transaction<'_>, ids: &[i64]) -> Result<u64, StoreError> {
    // The rows are locked in the order of a requeue. So a requeue is either committed before, and its entry of the outbox is
    // deleted below, or it finds a discarded letter.
    let sql = "UPDATE dead_letters SET whole_bytes = coalesce(whole_bytes, length(body)), body = '', headers = '[]',
                   message_id = NULL, reason = 'erased', identity = identity || int8send(id),
                   routing_key = coalesce(substring(routing_key from '^(ten_[0-9a-f]{32})(?:\\.|$)'), ''),
                   discarded_at = CASE WHEN requeued_at IS NULL THEN coalesce(discarded_at, $2) ELSE discarded_at END
               WHERE id IN (SELECT id FROM dead_letters WHERE id = ANY($1) ORDER BY id FOR UPDATE)";
    let erased = tx.execute(sql, &[&ids, &Ts(UnixMillis::now())]).await?;
    // A letter that was requeued and not yet published would be published without its body.
    tx.execute("DELETE FROM outbox WHERE dead_letter = ANY($1)", &[&ids]).await?;
    Ok(erased)
}

/// Removes the texts of last failures of the tenant's endpoints that contain the value. Each is a copy of an attempt's error.
pub(super) async fn last_errors(tx: &Transaction<'_>, tenant: TenantId, value: &str) -> Result<(), StoreError> {
    // Recorders lock the rows in the same order.
    let sql = "UPDATE endpoint_health SET last_error = NULL WHERE endpoint IN
                   (SELECT h.endpoint FROM endpoint_health h JOIN endpoints e ON e.id = h.endpoint
                    WHERE e.tenant = $1 AND strpos(h.last_error, $2) > 0 ORDER BY h.endpoint FOR UPDATE OF h)";
    tx.execute(sql, &[&tenant.0, &clean(value)]).await?;
    Ok(())
}

/// Removes the value from the suggestions of attribute values.
pub(super) async fn suggestions(
    tx: &Transaction<'_>,
    tenant: TenantId,
    value: &str,
    extent: Extent,
) -> Result<(), StoreError> {
    let is_value = if extent == Extent::Whole { "value = $2" } else { "strpos(value, $2) > 0" };
    let sql = format!("DELETE FROM attribute_values WHERE tenant = $1 AND {is_value}");
    let params: &Params<'_> = &[&tenant.0, &clean(value)];
    tx.execute(&sql, params).await?;
    Ok(())
}
