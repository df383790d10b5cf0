//! Decides about events one by one. Expensive events do not delay the other events.
//!
//! An event is *heavy* if evaluating its tenant's payload filters may take more than a millisecond. Heavy events are decided on
//! blocking threads: at most two per tenant and four per process at the same time. Further heavy events wait. Light events do
//! not wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{Poison, Queue, catch_panic};
use postrider_model::ids::TenantId;
use postrider_model::time::UnixMillis;
use postrider_telemetry::slots::Slots;
use postrider_telemetry::spans::{self, Cause};
use postrider_telemetry::trace_context::TraceContext;
use postrider_wire::messages::AcceptedEvent;
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

use crate::decide::{Decided, decide};
use crate::index::Index;
use crate::lanes::Lanes;

/// Maximum number of heavy events of one tenant that are decided at the same time.
const HEAVY_OF_TENANT: usize = 2;
/// Maximum number of heavy events of all tenants that are decided at the same time.
const HEAVY_AT_ONCE: usize = 4;
/// Maximum time that a heavy event waits for its turn. In practice there is no limit.
const HEAVY_WAIT: Duration = Duration::from_secs(86_400);

/// The expected cost of deciding about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Light,
    Heavy,
}

pub(crate) struct Decider {
    index: Arc<Index>,
    lanes: Arc<Lanes>,
    heavy: Slots<TenantId>,
}

impl Decider {
    pub(crate) fn new(index: Arc<Index>, lanes: Lanes) -> Self {
        Self { index, lanes: Arc::new(lanes), heavy: Slots::new(HEAVY_OF_TENANT, HEAVY_AT_ONCE) }
    }

    /// Waits at most `limit` until this configuration version or a later version is in force.
    pub(crate) async fn catch_up(&self, version: i64, limit: Duration) {
        self.index.catch_up(version, limit).await;
    }

    pub(crate) fn weight(&self, event: &AcceptedEvent, data: &Bytes) -> Weight {
        let metadata = event.metadata.as_deref().map_or("", RawValue::get);
        match self.index.tenant(event.tenant).tenant {
            Some(tenant) if tenant.is_heavy(data.len() + metadata.len()) => Weight::Heavy,
            _ => Weight::Light,
        }
    }

    /// Decides about one event. Returns the result and the event's span, which is the parent of the spans of its deliveries.
    ///
    /// # Errors
    /// The event cannot be processed.
    pub(crate) async fn decide(&self, mut event: AcceptedEvent, data: &Bytes) -> Result<(Decided, Span), Poison> {
        let span = spans::process(Queue::Fanout.name(), &event.id, Cause::parent(event.traceparent.as_deref()));
        if let Some(own) = TraceContext::of(&span) {
            event.traceparent = Some(own.to_string());
        }
        let decided = self.decide_by_weight(event, data).instrument(span.clone()).await?;
        Ok((decided, span))
    }

    async fn decide_by_weight(&self, event: AcceptedEvent, data: &Bytes) -> Result<Decided, Poison> {
        let (id, of, weight) = (event.id.clone(), event.tenant, self.weight(&event, data));
        let (tenant, lanes, data) = (self.index.tenant(of), Arc::clone(&self.lanes), data.clone());
        let decide = move || catch_panic(|| decide(&event, &data, &tenant, &lanes, UnixMillis::now()));
        let decided = match weight {
            Weight::Light => decide(),
            Weight::Heavy => {
                let slot = self.heavy.enter(of, HEAVY_WAIT).await;
                let decide_and_leave = move || {
                    let _slot = slot;
                    decide()
                };
                tokio::task::spawn_blocking(decide_and_leave).await.map_err(|error| Poison::new(error.to_string()))?
            }
        };
        let decided = decided?.map_err(|error| Poison::new(error.to_string()))?;
        tracing::debug!(event.id = %id, tenant.id = %of, deliveries = decided.deliveries.len(), "decided about an event");
        Ok(decided)
    }
}

#[cfg(test)]
mod tests {
    use postrider_broker::BreakerStates;
    use postrider_model::ids::{EndpointId, EventId};
    use postrider_profiles::Profiles;
    use postrider_store::feed::EndpointSubscription;
    use postrider_wire::messages::{Decision, DeliveryTask, EventRef};

    use super::*;
    use crate::index::Staged;
    use crate::testing::{snapshot, subscription, tenant};

    /// A size at which an event is not light.
    const HEAVY_BYTES: usize = 20_000;

    fn event(tenant: TenantId) -> AcceptedEvent {
        let event = EventRef::new(tenant, EventId::generate(), "a.b".parse().unwrap(), UnixMillis::now());
        AcceptedEvent::new(event, 1, 1)
    }

    #[tokio::test]
    async fn light_events_do_not_wait_for_heavy_ones() {
        let index = Arc::new(Index::new(Arc::new(Profiles::builtin())));
        let id = TenantId::generate();
        let mut filtered = subscription(id, postrider_model::ids::EndpointId::generate(), "a.*");
        filtered.payload_filter = Some(serde_json::json!({"field": "data.n", "op": "gt", "value": 5}));
        index.apply(&mut Staged::default(), snapshot(vec![tenant(id, "standard")], vec![filtered]));
        let decider = Arc::new(Decider::new(index, Lanes::new(BreakerStates::default())));
        let data = |bytes: usize| Bytes::from(format!(r#"{{"n":6,"text":"{}"}}"#, "x".repeat(bytes)));
        assert_eq!(decider.weight(&event(id), &data(HEAVY_BYTES)), Weight::Heavy);
        assert_eq!(decider.weight(&event(id), &data(10)), Weight::Light);

        let taken = [decider.heavy.enter(id, HEAVY_WAIT).await, decider.heavy.enter(id, HEAVY_WAIT).await];
        let (waiting, heavy) = (Arc::clone(&decider), data(HEAVY_BYTES));
        let heavy = tokio::spawn(async move { waiting.decide(event(id), &heavy).await });
        tokio::task::yield_now().await;
        let (light, _) = decider.decide(event(id), &data(10)).await.unwrap();
        assert!(light.deliveries.len() == 1 && !heavy.is_finished());
        drop(taken);
        let (heavy, _) = heavy.await.unwrap().unwrap();
        assert_eq!(heavy.deliveries.len(), 1);
    }

    #[tokio::test]
    async fn a_paused_endpoint_is_decided_and_gets_no_message() {
        let index = Arc::new(Index::new(Arc::new(Profiles::builtin())));
        let (id, active, paused) = (TenantId::generate(), EndpointId::generate(), EndpointId::generate());
        let waits = EndpointSubscription { paused: true, ..subscription(id, paused, "a.*") };
        let subscriptions = vec![subscription(id, active, "a.*"), waits];
        index.apply(&mut Staged::default(), snapshot(vec![tenant(id, "standard")], subscriptions));
        let decider = Decider::new(index, Lanes::new(BreakerStates::default()));
        let (decided, _) = decider.decide(event(id), &Bytes::from_static(b"{\"n\":1}")).await.unwrap();
        let decision: Decision = decided.decision.head().unwrap();
        assert_eq!(decision.matched.len(), 2);
        assert_eq!((decision.paused, decision.payload_bytes), (vec![paused], 7));
        let tasks: Vec<DeliveryTask> = decided.deliveries.iter().map(|(_, member)| member.head().unwrap()).collect();
        assert_eq!(tasks.iter().map(|task| task.delivery.endpoint).collect::<Vec<_>>(), [active]);
    }
}
