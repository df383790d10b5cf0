//! Messages for tests: the messages of ingest, fan-out and a dispatcher about one event. A test changes the fields that matter
//! to it.

use postrider_model::attempt::Outcome;
use postrider_model::delivery::{DeliveryStatus, Lane, Trigger};
use postrider_model::event::{Attributes, EventType, Origin};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, Generation, SendId, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::UnixMillis;

use crate::headers::HeaderList;
use crate::messages::{AcceptedEvent, AttemptRecord, Decision, DeliveryRef, DeliveryTask, OutcomeReport, TestCall};

/// A new event that ingest accepted at `at`.
pub fn accepted(tenant: TenantId, event_type: EventType, at: UnixMillis) -> AcceptedEvent {
    AcceptedEvent {
        id: EventId::generate(),
        tenant,
        event_type,
        occurred_at: at,
        accepted_at: at,
        event_day: at.day(),
        origin: Origin::Api,
        attributes: Attributes::default(),
        metadata: None,
        lane: Lane::Live,
        deliver_at: None,
        expires_at: None,
        config_version: 1,
        instance: 1,
        sequence: 1,
        epoch: 0,
        content_hash: None,
        claimed: false,
        traceparent: None,
    }
}

/// Fan-out's decision about an event that matched these endpoints.
pub fn decision(event: &AcceptedEvent, matched: Vec<EndpointId>, config_version: i64) -> Decision {
    Decision {
        event: event.id.clone(),
        event_day: event.event_day,
        tenant: event.tenant,
        event_type: event.event_type.clone(),
        accepted_at: event.accepted_at,
        decided_at: event.accepted_at,
        config_version,
        epoch: 0,
        matched,
        deliver_at: None,
        paused: Vec::new(),
        payload_bytes: 0,
        expires_at: event.accepted_at.plus(DELIVERY_LIFETIME),
    }
}

/// The delivery of an event to an endpoint, of the first generation.
pub fn first_delivery(event: &AcceptedEvent, endpoint: EndpointId) -> DeliveryRef {
    DeliveryRef {
        id: DeliveryId::derive(event.tenant, &event.id, endpoint, &Generation::First),
        event: event.id.clone(),
        event_day: event.event_day,
        event_type: event.event_type.clone(),
        tenant: event.tenant,
        endpoint,
        delivery_day: event.event_day,
        created_at: event.accepted_at,
        accepted_at: event.accepted_at,
        generation: Generation::First,
        repeats: None,
    }
}

/// The first attempt of the first delivery.
pub fn first_task(event: &AcceptedEvent, endpoint: EndpointId) -> DeliveryTask {
    DeliveryTask::first_attempt(first_delivery(event, endpoint), Trigger::First, event.occurred_at, 1)
}

/// The report of a test call, as a dispatcher sends it: the endpoint answered with `code` after 1.5 ms.
pub fn tested(call: TestCall, code: u16) -> OutcomeReport {
    let (now, is_success) = (UnixMillis::now(), (200..300).contains(&code));
    OutcomeReport {
        delivery: call.task.delivery,
        epoch: 0,
        attempt: Some(AttemptRecord {
            number: 1,
            send_id: SendId::generate(),
            trigger: Trigger::Test,
            started_at: now,
            duration_us: 1_500,
            first_byte_us: Some(1_000),
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/hook".into(),
            status_code: Some(code),
            outcome: if is_success { Outcome::Success } else { Outcome::HttpStatus },
            error: None,
            request_headers: HeaderList::default(),
            response_headers: HeaderList::default(),
            batch: None,
        }),
        status: if is_success { DeliveryStatus::Delivered } else { DeliveryStatus::Failed },
        at: now,
        next_attempt_at: None,
        set_aside: None,
        discard_reason: None,
        disable_endpoint: false,
        expires_at: call.task.expires_at,
        traceparent: None,
    }
}

/// The report of attempt `number` of the first delivery. The attempt started at `started_at`, took 5 ms and left the delivery
/// in `status`; without a status code it timed out.
pub fn attempted(
    event: &AcceptedEvent,
    endpoint: EndpointId,
    number: u16,
    started_at: UnixMillis,
    status: DeliveryStatus,
    code: Option<u16>,
) -> OutcomeReport {
    let ended = UnixMillis(started_at.0 + 5);
    let outcome = match code {
        Some(200..300) => Outcome::Success,
        Some(_) => Outcome::HttpStatus,
        None => Outcome::Timeout,
    };
    OutcomeReport {
        delivery: first_delivery(event, endpoint),
        epoch: 0,
        attempt: Some(AttemptRecord {
            number,
            send_id: SendId::generate(),
            trigger: if number == 1 { Trigger::First } else { Trigger::Retry },
            started_at,
            duration_us: 5_000,
            first_byte_us: Some(4_000),
            held_ms: 0,
            held_reason: None,
            late_ms: None,
            url: "https://example.com/hook".into(),
            status_code: code,
            outcome,
            error: None,
            request_headers: [("content-type", "application/json")].into(),
            response_headers: HeaderList::default(),
            batch: None,
        }),
        status,
        at: ended,
        next_attempt_at: (status == DeliveryStatus::Pending).then_some(UnixMillis(ended.0 + 1_000)),
        set_aside: None,
        discard_reason: None,
        disable_endpoint: code == Some(410),
        expires_at: event.accepted_at.plus(DELIVERY_LIFETIME),
        traceparent: None,
    }
}
