//! Operational events: events about a tenant's objects, which are published to the operator's own tenant.

use deadpool_postgres::Transaction;
use postrider_model::ids::{ReplayId, TenantId};
use postrider_model::time::UnixMillis;
use serde_json::Value;

use crate::config::Endpoint;
use crate::error::StoreError;
use crate::sql::Ts;

/// An operational event to write.
pub(crate) struct NewEvent {
    about: TenantId,
    event_type: &'static str,
    data: Value,
    at: UnixMillis,
}

/// The event that a tenant has reached one of its limits.
pub(crate) fn limit_reached(tenant: TenantId, limit: &str, value: u32, at: UnixMillis) -> NewEvent {
    let data = serde_json::json!({"tenant_id": tenant, "limit": limit, "value": value});
    NewEvent { about: tenant, event_type: "limit.reached", data, at }
}

/// The event that all deliveries of a replay were created, with the replay's numbers of events and deliveries.
pub(crate) fn replay_finished(
    tenant: TenantId,
    replay: ReplayId,
    events: i64,
    deliveries: i64,
    at: UnixMillis,
) -> NewEvent {
    let data = serde_json::json!({
        "tenant_id": tenant,
        "replay_id": replay,
        "events": events,
        "deliveries": deliveries,
        "finished_at": at.to_rfc3339_millis(),
    });
    NewEvent { about: tenant, event_type: "replay.finished", data, at }
}

/// The event that Postrider disabled an endpoint.
pub(crate) fn endpoint_disabled(endpoint: &Endpoint, reason: &str, at: UnixMillis) -> NewEvent {
    let data = serde_json::json!({
        "tenant_id": endpoint.tenant,
        "endpoint_id": endpoint.id,
        "name": endpoint.document.name,
        "reason": reason,
        "disabled_at": at.to_rfc3339_millis(),
    });
    NewEvent { about: endpoint.tenant, event_type: "endpoint.disabled", data, at }
}

/// The event that an endpoint was paused: by Postrider for a reason, or by a person.
pub(crate) fn endpoint_paused(endpoint: &Endpoint, reason: Option<&str>, at: UnixMillis) -> NewEvent {
    let mut data = serde_json::json!({
        "tenant_id": endpoint.tenant,
        "endpoint_id": endpoint.id,
        "name": endpoint.document.name,
        "paused_at": at.to_rfc3339_millis(),
    });
    if let Some(reason) = reason {
        data["reason"] = reason.into();
    }
    NewEvent { about: endpoint.tenant, event_type: "endpoint.paused", data, at }
}

/// The event that a person resumed a paused endpoint.
pub(crate) fn endpoint_resumed(endpoint: &Endpoint, at: UnixMillis) -> NewEvent {
    let data = serde_json::json!({
        "tenant_id": endpoint.tenant,
        "endpoint_id": endpoint.id,
        "name": endpoint.document.name,
        "resumed_at": at.to_rfc3339_millis(),
    });
    NewEvent { about: endpoint.tenant, event_type: "endpoint.resumed", data, at }
}

/// Writes an operational event as part of an edit. Writes no event about the operator's own endpoints, because that event would
/// cause further events. Only the outbox relay publishes operational events, so a relay may claim the entry immediately.
pub(crate) async fn add_event(tx: &Transaction<'_>, event: &NewEvent) -> Result<(), StoreError> {
    if event.about != TenantId::OPERATOR {
        let sql =
            "INSERT INTO outbox (tenant, event_type, data, created_at, claimed_at) VALUES ($1, $2, $3, $4, 'epoch')";
        let data = event.data.to_string().into_bytes();
        tx.execute(sql, &[&event.about.0, &event.event_type, &data, &Ts(event.at)]).await?;
    }
    Ok(())
}
