//! An event with a delivery in the log.

use std::time::Duration;

use bytes::Bytes;
use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, HeldReason, Lane, Trigger};
use postrider_model::event::{Attributes, Origin};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;
use postrider_wire::headers::HeaderList;
use postrider_wire::messages::{AcceptedEvent, AttemptRecord, Decision, DeliveryRef, OutcomeReport};
use serde_json::Value;

use crate::harness::{Tenant, World};

/// An event for one endpoint, decided, and attempted once with this status.
pub(crate) async fn recorded(
    world: &World,
    tenant: &Tenant,
    endpoint: &Value,
    status: DeliveryStatus,
) -> (EventId, DeliveryId) {
    let tenant: TenantId = tenant.id.parse().unwrap();
    let endpoint_id: EndpointId = endpoint["id"].as_str().unwrap().parse().unwrap();
    let (id, now) = (EventId::generate(), UnixMillis::now());
    let event = AcceptedEvent {
        id: id.clone(),
        tenant,
        event_type: "user.created".parse().unwrap(),
        occurred_at: UnixMillis(1_700_000_000_123),
        accepted_at: now,
        event_day: now.day(),
        origin: Origin::Api,
        attributes: Attributes([("bridge".into(), "b1".into())].into()),
        metadata: None,
        lane: Lane::Live,
        config_version: 1,
        instance: 1,
        sequence: 1,
        epoch: 0,
        content_hash: None,
        claimed: false,
        traceparent: None,
    };
    let delivery = DeliveryRef {
        id: DeliveryId::derive(tenant, &id, endpoint_id, &Generation::First),
        event: id.clone(),
        event_day: now.day(),
        event_type: event.event_type.clone(),
        tenant,
        endpoint: endpoint_id,
        delivery_day: now.day(),
        created_at: now,
        accepted_at: now,
        generation: Generation::First,
        origin: None,
    };
    let expires_at = now.plus(DELIVERY_LIFETIME);
    let decision = Decision {
        event: id.clone(),
        event_day: now.day(),
        tenant,
        event_type: event.event_type.clone(),
        accepted_at: now,
        decided_at: now,
        config_version: endpoint["version"].as_i64().unwrap(),
        epoch: 0,
        matched: vec![endpoint_id],
        expires_at,
    };
    let delivered = status == DeliveryStatus::Delivered;
    let outcome = OutcomeReport {
        delivery: delivery.clone(),
        epoch: 0,
        attempt: Some(AttemptRecord {
            number: 1,
            send_id: SendId::generate(),
            trigger: Trigger::First,
            started_at: now,
            duration_us: 2_000,
            first_byte_us: Some(1_000),
            held_ms: 40,
            held_reason: Some(HeldReason::Rate),
            late_ms: None,
            url: "https://example.com/hook".into(),
            status_code: Some(if delivered { 200 } else { 503 }),
            outcome: if delivered { Outcome::Success } else { Outcome::HttpStatus },
            error: None,
            request_headers: HeaderList::from([("webhook-id", id.to_string().as_str())]),
            response_headers: [("server", "x")].into(),
        }),
        status,
        at: now,
        next_attempt_at: (status == DeliveryStatus::Pending).then(|| now.plus(Duration::from_secs(60))),
        discard_reason: None,
        disable_endpoint: false,
        expires_at,
        traceparent: None,
    };
    let rows = RecordBatch {
        events: vec![(event, Bytes::from_static(b"{ \"n\": 1.00 }"))],
        decisions: vec![decision],
        outcomes: vec![(outcome, Bytes::from_static(b"busy"))],
        dead_letters: Vec::new(),
        numbers: Vec::new(),
    };
    world.store.record().write(&rows).await.unwrap();
    (id, delivery.id)
}
