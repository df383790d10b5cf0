//! Decides about one event: the deliveries and the decision that result from it. Pure, except for the state of [`Lanes`].

use bytes::Bytes;
use postrider_model::delivery::{BodyKind, Lane, Trigger};
use postrider_model::ids::Generation;
use postrider_model::notice::Audience;
use postrider_model::payload_filter::Payload;
use postrider_model::time::UnixMillis;
use postrider_profiles::EventView;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, Decision, DeliveryRef, DeliveryTask, Enqueued, Sequenced};
use serde_json::value::RawValue;

use crate::index::TenantAt;
use crate::lanes::Lanes;
use crate::tenant::{Candidate, TenantIndex};

/// The deliveries and the decision that result from one event.
#[derive(Debug)]
pub(crate) struct Decided {
    /// One member per matched endpoint that is not paused, and the lane in which its delivery starts. Equal bodies share one
    /// buffer.
    pub(crate) deliveries: Vec<(Lane, Member)>,
    /// The deliveries of ordered endpoints, for the sequencer.
    pub(crate) ordered: Vec<Member>,
    /// The decision, which the recorder stores.
    pub(crate) decision: Member,
}

/// Decides about one event. If the tenant was deleted after the event was accepted, no endpoint matches.
///
/// # Errors
/// A head cannot be serialized as JSON.
pub(crate) fn decide(
    event: &AcceptedEvent,
    data: &Bytes,
    tenant: &TenantAt,
    lanes: &Lanes,
    now: UnixMillis,
) -> Result<Decided, serde_json::Error> {
    let TenantAt { config_version, tenant } = tenant;
    let matched = match tenant {
        Some(tenant) => matching(event, data, tenant),
        None => Vec::new(),
    };
    let decision = Member::new(&decision(event, data, &matched, (*config_version, now)), Bytes::new())?;
    let deliveries = match tenant {
        Some(tenant) => {
            let first = FirstAttempts { event, config_version: *config_version, now };
            let attempted: Vec<_> =
                matched.into_iter().filter(|candidate| !sets_aside(event, candidate, now)).collect();
            first.deliveries(&attempted, lanes, Bodies::new(tenant, event, data))?
        }
        None => Deliveries::default(),
    };
    let Deliveries { unordered: deliveries, ordered } = deliveries;
    Ok(Decided { deliveries, ordered, decision })
}

/// The deliveries of an event.
#[derive(Default)]
struct Deliveries {
    unordered: Vec<(Lane, Member)>,
    ordered: Vec<Member>,
}

/// What filters and keys read of an event.
fn payload<'a>(event: &'a AcceptedEvent, data: &'a Bytes) -> Payload<'a> {
    let metadata = event.metadata.as_deref().map(RawValue::get);
    Payload { data, metadata, attributes: &event.attributes }
}

/// Returns the endpoints that match the event. A notice matches its addressee only.
fn matching<'a>(event: &AcceptedEvent, data: &Bytes, tenant: &'a TenantIndex) -> Vec<&'a Candidate> {
    match Audience::of(&event.attributes) {
        Audience::Subscribers => {}
        Audience::Only(addressee) => return tenant.candidate(addressee).into_iter().collect(),
        Audience::Nobody => return Vec::new(),
    }
    if !tenant.profile.origin_fires(&event.event_type, event.origin) {
        return Vec::new();
    }
    tenant.matching(&event.event_type, &payload(event, data))
}

/// Whether the event's delivery to an endpoint is set aside: the endpoint is paused. A scheduled delivery waits on the ladder first,
/// and a dispatcher sets it aside if the endpoint is paused when it is due.
fn sets_aside(event: &AcceptedEvent, candidate: &Candidate, now: UnixMillis) -> bool {
    candidate.is_paused() && event.window().scheduled_after(now).is_none()
}

fn decision(
    event: &AcceptedEvent,
    data: &Bytes,
    matched: &[&Candidate],
    (config_version, now): (i64, UnixMillis),
) -> Decision {
    let endpoints = |of: &mut dyn Iterator<Item = &&Candidate>| of.map(|candidate| candidate.endpoint()).collect();
    let paused: Vec<_> = endpoints(&mut matched.iter().filter(|candidate| sets_aside(event, candidate, now)));
    let bytes = || data.len() + event.metadata.as_deref().map_or(0, |metadata| metadata.get().len());
    Decision {
        payload_bytes: if paused.is_empty() { 0 } else { u32::try_from(bytes()).unwrap_or(u32::MAX) },
        paused,
        event: event.id.clone(),
        event_day: event.event_day,
        tenant: event.tenant,
        event_type: event.event_type.clone(),
        accepted_at: event.accepted_at,
        decided_at: now,
        config_version,
        epoch: event.epoch,
        matched: endpoints(&mut matched.iter()),
        deliver_at: event.window().scheduled_after(now),
        expires_at: event.window().delivery_expires_at(now),
    }
}

/// Creates the deliveries of an event, which start with their first attempts.
struct FirstAttempts<'a> {
    event: &'a AcceptedEvent,
    config_version: i64,
    now: UnixMillis,
}

impl FirstAttempts<'_> {
    fn deliveries(
        &self,
        matched: &[&Candidate],
        lanes: &Lanes,
        mut bodies: Bodies<'_>,
    ) -> Result<Deliveries, serde_json::Error> {
        let healthy = matched.iter().filter(|candidate| !lanes.is_broken(candidate.endpoint())).count();
        let scheduled = self.event.window().scheduled_after(self.now).is_some();
        // Scheduled deliveries may be due by the thousand at the same time, so they use the lane for bursts.
        let lane = if scheduled { Lane::Bulk } else { lanes.of(self.event, healthy) };
        let mut deliveries = Deliveries { unordered: Vec::with_capacity(matched.len()), ordered: Vec::new() };
        for candidate in matched {
            let body = bodies.rendered(candidate.body_kind());
            // A scheduled delivery is attempted when it is due, outside the order: in its line it would hold up later ones.
            if let Some((reader, generation)) = candidate.ordering().filter(|_| !scheduled) {
                let key = reader.key(&payload(self.event, bodies.data));
                let task = Box::new(self.task(candidate, lane));
                let enqueued = Sequenced::Enqueued(Enqueued { key, generation: *generation, task });
                deliveries.ordered.push(Member::new(&enqueued, body)?);
                continue;
            }
            // The task contains the lane of the event, so the delivery returns to that lane after the endpoint has recovered.
            let starts_in = if lanes.is_broken(candidate.endpoint()) { Lane::Slow } else { lane };
            deliveries.unordered.push((starts_in, Member::new(&self.task(candidate, lane), body)?));
        }
        Ok(deliveries)
    }

    fn task(&self, candidate: &Candidate, lane: Lane) -> DeliveryTask {
        let Self { event, config_version, now } = *self;
        let window = event.window();
        let delivery = DeliveryRef::new(event.event_ref(), candidate.endpoint(), Generation::First, now);
        DeliveryTask {
            epoch: event.epoch,
            lane,
            expires_at: window.delivery_expires_at(now),
            due_at: window.scheduled_after(now),
            traceparent: event.traceparent.clone(),
            ..DeliveryTask::first_attempt(delivery, Trigger::First, event.occurred_at, config_version)
        }
    }
}

/// The bodies of an event. Each kind of body is rendered at most once and shared by all endpoints that use it.
struct Bodies<'a> {
    tenant: &'a TenantIndex,
    event: &'a AcceptedEvent,
    data: &'a Bytes,
    json: Option<Bytes>,
    ascii_json: Option<Bytes>,
    pushover: Option<Bytes>,
    notification: Option<Bytes>,
}

impl<'a> Bodies<'a> {
    fn new(tenant: &'a TenantIndex, event: &'a AcceptedEvent, data: &'a Bytes) -> Self {
        Self { tenant, event, data, json: None, ascii_json: None, pushover: None, notification: None }
    }

    fn rendered(&mut self, kind: BodyKind) -> Bytes {
        let body = match kind {
            BodyKind::Json => &mut self.json,
            BodyKind::AsciiJson => &mut self.ascii_json,
            BodyKind::Pushover => &mut self.pushover,
            BodyKind::Notification => &mut self.notification,
        };
        body.get_or_insert_with(|| {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use postrider_broker::BreakerStates;
    use postrider_model::event::Attributes;
    use postrider_model::ids::{EndpointId, EventId, TenantId};
    use postrider_model::limits::DELIVERY_LIFETIME;
    use postrider_model::notice::{ADDRESSEE, addressed_to};
    use postrider_model::ordering::Ordering;
    use postrider_profiles::Profiles;
    use postrider_store::feed::EndpointSubscription;
    use postrider_wire::messages::EventRef;

    use super::*;
    use crate::index::{Index, Staged};
    use crate::testing::{snapshot, subscription, tenant};

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    /// What follows from an event with this window, for an endpoint with this order.
    fn decided_in(
        ordering: Option<Ordering>,
        deliver_at: Option<UnixMillis>,
        expires_at: Option<UnixMillis>,
    ) -> Decided {
        let (id, index) = (TenantId::generate(), Index::new(Arc::new(Profiles::builtin())));
        let ordering = ordering.map(|ordering| Box::new((ordering, 1)));
        let endpoint = EndpointSubscription { ordering, ..subscription(id, EndpointId::generate(), "*") };
        index.apply(&mut Staged::default(), snapshot(vec![tenant(id, "standard")], vec![endpoint]));
        let event = EventRef::new(id, EventId::generate(), "a.b".parse().unwrap(), NOW);
        let event = AcceptedEvent { deliver_at, expires_at, ..AcceptedEvent::new(event, 1, 1) };
        let lanes = Lanes::new(BreakerStates::default());
        decide(&event, &Bytes::from_static(b"{}"), &index.tenant(id), &lanes, NOW).unwrap()
    }

    /// The decision about an event with this window, and the lane and the task of its only delivery.
    fn decided(deliver_at: Option<UnixMillis>, expires_at: Option<UnixMillis>) -> (Decision, Lane, DeliveryTask) {
        let decided = decided_in(None, deliver_at, expires_at);
        let (lane, delivery) = &decided.deliveries[0];
        (decided.decision.head().unwrap(), *lane, delivery.head().unwrap())
    }

    #[test]
    fn a_scheduled_delivery_of_an_ordered_endpoint_is_outside_the_order() {
        let ordered = |deliver_at, expires_at| decided_in(Some(Ordering::default()), deliver_at, expires_at);
        let (due, end) = (NOW.plus(MINUTE), NOW.plus(2 * MINUTE));
        let scheduled = ordered(Some(due), None);
        assert_eq!((scheduled.deliveries.len(), scheduled.ordered.len()), (1, 0));
        for deliver_at in [None, Some(NOW)] {
            let at_once = ordered(deliver_at, Some(end));
            assert_eq!((at_once.deliveries.len(), at_once.ordered.len()), (0, 1), "{deliver_at:?}");
            let Sequenced::Enqueued(enqueued) = at_once.ordered[0].head().unwrap() else { panic!("not enqueued") };
            assert_eq!((enqueued.task.due_at, enqueued.task.expires_at), (None, end));
        }
    }

    #[test]
    fn a_notice_goes_to_its_addressee_only_whatever_it_subscribes_to() {
        let (id, index) = (TenantId::generate(), Index::new(Arc::new(Profiles::builtin())));
        let (addressee, other) = (EndpointId::generate(), EndpointId::generate());
        let endpoints = vec![subscription(id, addressee, "other.type"), subscription(id, other, "*")];
        index.apply(&mut Staged::default(), snapshot(vec![tenant(id, "standard")], endpoints));
        let matched = |attributes| {
            let event = EventRef::new(id, EventId::generate(), "endpoint.failing".parse().unwrap(), NOW);
            let event = AcceptedEvent { attributes, ..AcceptedEvent::new(event, 1, 1) };
            let lanes = Lanes::new(BreakerStates::default());
            let decided = decide(&event, &Bytes::from_static(b"{}"), &index.tenant(id), &lanes, NOW).unwrap();
            decided.decision.head::<Decision>().unwrap().matched
        };
        assert_eq!(matched(addressed_to(addressee)), [addressee]);
        assert_eq!(matched(addressed_to(EndpointId::generate())), []);
        assert_eq!(matched(Attributes([(ADDRESSEE.into(), "nobody".into())].into())), []);
        assert_eq!(matched(Attributes::default()), [other]);
    }

    #[test]
    fn a_delivery_is_due_and_expires_with_its_event() {
        let lifetime = NOW.plus(DELIVERY_LIFETIME);
        let (decision, lane, task) = decided(None, None);
        assert_eq!((decision.deliver_at, decision.expires_at, lane), (None, lifetime, Lane::Live));
        assert_eq!((task.due_at, task.expires_at, task.lane), (None, lifetime, Lane::Live));

        let (due, end) = (NOW.plus(MINUTE), NOW.plus(2 * MINUTE));
        let (decision, lane, task) = decided(Some(due), Some(end));
        assert_eq!((decision.deliver_at, decision.expires_at, lane), (Some(due), end, Lane::Bulk));
        assert_eq!((task.due_at, task.expires_at, task.lane), (Some(due), end, Lane::Bulk));

        let (decision, lane, task) = decided(Some(NOW), Some(lifetime.plus(MINUTE)));
        assert_eq!((decision.deliver_at, decision.expires_at, lane), (None, lifetime, Lane::Live), "due already");
        assert_eq!((task.due_at, task.expires_at), (None, lifetime));
    }
}
