//! What fan-out makes of one event: its deliveries and its decision. Pure but for the clock that the caller reads and what
//! [`Lanes`] knows.

use bytes::Bytes;
use postrider_model::delivery::{BodyKind, Lane, Trigger};
use postrider_model::ids::Generation;
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::payload_filter::Payload;
use postrider_model::time::UnixMillis;
use postrider_profiles::EventView;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryRef, DeliveryTask};
use serde_json::value::RawValue;

use crate::lanes::Lanes;
use crate::tenant::TenantIndex;

/// Everything that one event causes.
#[derive(Debug)]
pub(crate) struct Decided {
    /// One member per matched endpoint and the lane that it begins in; equal bodies are one buffer.
    pub(crate) deliveries: Vec<(Lane, Member)>,
    /// What was decided, for the record.
    pub(crate) decision: Member,
}

/// Decides about one event.
///
/// `tenant` is `None` for a tenant that was deleted after the event was accepted: nothing matches then.
///
/// # Errors
/// Only when a head cannot be written as JSON.
pub(crate) fn decide(
    event: &AcceptedEvent,
    data: &Bytes,
    tenant: Option<&TenantIndex>,
    lanes: &Lanes,
    config_version: i64,
    now: UnixMillis,
) -> Result<Decided, serde_json::Error> {
    let matched = match tenant {
        Some(tenant) if tenant.profile.origin_fires(&event.event_type, event.origin) => {
            let metadata = event.metadata.as_deref().map(RawValue::get);
            tenant.matching(&event.event_type, &Payload { data, metadata, attributes: &event.attributes })
        }
        _ => Vec::new(),
    };
    let expires_at = now.plus(DELIVERY_LIFETIME);
    let decision = Decision {
        event: event.id.clone(),
        event_day: event.event_day,
        tenant: event.tenant,
        event_type: event.event_type.clone(),
        accepted_at: event.accepted_at,
        decided_at: now,
        config_version,
        epoch: event.epoch,
        matched: matched.iter().map(|candidate| candidate.endpoint()).collect(),
        expires_at,
    };

    let mut deliveries = Vec::with_capacity(matched.len());
    if let Some(tenant) = tenant {
        let sound = matched.iter().filter(|candidate| !lanes.is_broken(candidate.endpoint())).count();
        let lane = lanes.of(event, sound);
        let mut bodies = Bodies { tenant, event, data, json: None, ascii_json: None, pushover: None };
        for candidate in matched {
            let delivery = DeliveryRef::new(event.event_ref(), candidate.endpoint(), Generation::First, now);
            let task = DeliveryTask {
                epoch: event.epoch,
                lane,
                traceparent: event.traceparent.clone(),
                ..DeliveryTask::first_attempt(delivery, Trigger::First, event.occurred_at, config_version)
            };
            // It comes back to its own lane when the endpoint has recovered.
            let begins_in = if lanes.is_broken(candidate.endpoint()) { Lane::Slow } else { lane };
            deliveries.push((begins_in, Member::new(&task, bodies.rendered(candidate.body_kind()))?));
        }
    }
    Ok(Decided { deliveries, decision: Member::new(&decision, Bytes::new())? })
}

/// An event's bodies, each rendered at most once and shared by all endpoints that get it.
struct Bodies<'a> {
    tenant: &'a TenantIndex,
    event: &'a AcceptedEvent,
    data: &'a Bytes,
    json: Option<Bytes>,
    ascii_json: Option<Bytes>,
    pushover: Option<Bytes>,
}

impl Bodies<'_> {
    fn rendered(&mut self, kind: BodyKind) -> Bytes {
        let slot = match kind {
            BodyKind::Json => &mut self.json,
            BodyKind::AsciiJson => &mut self.ascii_json,
            BodyKind::Pushover => &mut self.pushover,
        };
        slot.get_or_insert_with(|| {
            let view = EventView {
                id: &self.event.id,
                event_type: &self.event.event_type,
                occurred_at: self.event.occurred_at,
                accepted_at: self.event.accepted_at,
                attributes: &self.event.attributes,
                metadata: self.event.metadata.as_deref(),
                data: self.data,
            };
            self.tenant.profile.render(&view, kind).into()
        })
        .clone()
    }
}
