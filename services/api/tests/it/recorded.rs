//! Writes an event with a delivery to the history.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::delivery::{DeliveryStatus, HeldReason};
use postrider_model::event::Attributes;
use postrider_model::ids::{DeliveryId, EndpointId, EventId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::AcceptedEvent;
use postrider_wire::testing;
use serde_json::Value;

use crate::harness::{Tenant, World};

/// Records an event, its decision for one endpoint, and one attempt after which the delivery has this status.
pub(crate) async fn recorded(
    world: &World,
    tenant: &Tenant,
    endpoint: &Value,
    status: DeliveryStatus,
) -> (EventId, DeliveryId) {
    let tenant: TenantId = tenant.id.parse().unwrap();
    let endpoint_id: EndpointId = endpoint["id"].as_str().unwrap().parse().unwrap();
    let now = UnixMillis::now();
    let event = AcceptedEvent {
        occurred_at: UnixMillis(1_700_000_000_123),
        attributes: Attributes([("bridge".into(), "b1".into())].into()),
        ..testing::accepted(tenant, "user.created".parse().unwrap(), now)
    };
    let id = event.id.clone();
    let decision = testing::decision(&event, vec![endpoint_id], endpoint["version"].as_i64().unwrap());
    let code = if status == DeliveryStatus::Delivered { 200 } else { 503 };
    let mut outcome = testing::attempted(&event, endpoint_id, 1, now, status, Some(code));
    outcome.at = now;
    outcome.next_attempt_at = (status == DeliveryStatus::Pending).then(|| now.plus(Duration::from_secs(60)));
    let attempt = outcome.attempt.as_mut().unwrap();
    (attempt.duration_us, attempt.first_byte_us) = (2_000, Some(1_000));
    (attempt.held_ms, attempt.held_reason) = (40, Some(HeldReason::Rate));
    attempt.request_headers = HeaderList::from([("webhook-id", id.to_string().as_str())]);
    attempt.response_headers = [("server", "x")].into();
    let delivery = outcome.delivery.id;
    let rows = RecordBatch {
        events: vec![(event, Bytes::from_static(b"{ \"n\": 1.00 }"))],
        decisions: vec![decision],
        outcomes: vec![(outcome, Bytes::from_static(b"busy"))],
        dead_letters: Vec::new(),
        numbers: Vec::new(),
    };
    world.store.record().write(&rows).await.unwrap();
    (id, delivery)
}
