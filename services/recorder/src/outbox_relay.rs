//! The relay: publishes what was committed and not published, because whoever committed it crashed in between; and the
//! operational events, which nobody else publishes.
//!
//! Publishing twice is harmless: a delivery has one id, an event's id is made from its entry's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{
    BatchOptions, BatchPublisher, Broker, MessagePublisher, MessageRoute, ProducerMessage, Queue, Route,
};
use postrider_model::event::EventType;
use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_store::Store;
use postrider_store::outbox::{OperationalEvent, OutboxEntry, OutboxId, PendingDelivery, PendingLetter};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, EventRef};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::{disable, metrics};

const ENTRIES_MAX: u32 = 200;

/// Sweeps until `stop`.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    profiles: Arc<Profiles>,
    config: Config,
    stop: CancellationToken,
) {
    let relay = OutboxRelay {
        lanes: broker.message_publisher(),
        accepted: broker.batch_publisher(Route::Accepted, BatchOptions::default()),
        store,
        profiles,
        instance: rand_instance(),
        sequence: AtomicU64::new(0),
    };
    let mut tick = tokio::time::interval(config.relay_every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // First, so that what it tells leaves with the same sweep.
        let disabled = disable::long_failing(&relay.store, &relay.profiles);
        match stop.run_until_cancelled(disabled).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "cannot look for endpoints that fail for long"),
        }
        let swept = relay.relay_all(config.relay_after).instrument(tracing::info_span!("outbox_relay"));
        if stop.run_until_cancelled(swept).await.is_none() {
            return;
        }
    }
}

/// Which process this is, for the numbers that accepted events carry.
fn rand_instance() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

struct OutboxRelay {
    lanes: MessagePublisher,
    accepted: BatchPublisher,
    store: Store,
    profiles: Arc<Profiles>,
    instance: u64,
    sequence: AtomicU64,
}

impl OutboxRelay {
    /// Sweeps until there is nothing more.
    async fn relay_all(&self, older_than: Duration) {
        while self.relay_some(older_than).await == ENTRIES_MAX as usize {}
    }

    /// Sweeps once; returns how many entries there were.
    async fn relay_some(&self, older_than: Duration) -> usize {
        let entries = match self.store.outbox_claim(ENTRIES_MAX, older_than).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::debug!(%error, "cannot look into the outbox");
                return 0;
            }
        };
        let claimed = entries.len();
        let mut done = Vec::with_capacity(claimed);
        for entry in entries {
            let published = match entry {
                OutboxEntry::Delivery(pending) => self.delivery(*pending).await,
                OutboxEntry::Event(event) => self.event(event).await,
                OutboxEntry::Letter(pending) => self.letter(pending).await,
            };
            done.extend(published);
        }
        if done.is_empty() {
            return claimed;
        }
        metrics::relayed(done.len());
        if let Err(error) = self.store.outbox_done(&done).await {
            tracing::warn!(%error, entries = done.len(), "published, but not struck off; it will be published again");
        }
        claimed
    }

    /// The entry's number when it is dealt with.
    async fn delivery(&self, pending: PendingDelivery) -> Option<OutboxId> {
        let outbox = pending.outbox;
        let Some(view) = pending.event.view() else {
            // The store hands out no delivery without its event's data.
            tracing::warn!(delivery.id = %pending.task.delivery.id, "a waiting delivery has nothing to send");
            return Some(outbox);
        };
        let Some(profile) = self.profiles.get(&pending.profile) else {
            tracing::warn!(profile = pending.profile, "a waiting delivery's profile is not loaded");
            return None;
        };
        let body = profile.render(&view, pending.document.body_kind());
        let member = Member::new(&pending.task, Bytes::from(body)).ok()?;
        self.lanes.publish(MessageRoute::Lane(pending.task.lane), &[member]).await.ok()?;
        tracing::info!(delivery.id = %pending.task.delivery.id, "published what was committed and not published");
        Some(outbox)
    }

    async fn letter(&self, pending: PendingLetter) -> Option<OutboxId> {
        let PendingLetter { outbox, letter, body } = pending;
        let Some(queue) = Queue::requeue_target(&letter.source, &letter.routing_key) else {
            // The API sends back nothing else.
            tracing::warn!(dead_letter.id = letter.id, source = letter.source, "a dead letter's source is no queue");
            return Some(outbox);
        };
        let message = ProducerMessage {
            routing_key: letter.routing_key,
            content_type: letter.content_type,
            message_id: letter.message_id,
            headers: letter.headers,
            body,
        };
        self.lanes.requeue(queue, &message).await.ok()?;
        tracing::info!(dead_letter.id = letter.id, "sent a dead letter back that was committed and not published");
        Some(outbox)
    }

    async fn event(&self, event: OperationalEvent) -> Option<OutboxId> {
        // The operator's own endpoints tell nobody about themselves: their events would cause further ones.
        if event.about == TenantId::OPERATOR {
            return Some(event.outbox);
        }
        let Ok(event_type) = event.event_type.parse::<EventType>() else {
            tracing::warn!(event.type = event.event_type, "an operational event has no valid type");
            return Some(event.outbox);
        };
        let id = EventId::from_idempotency_key(TenantId::OPERATOR, &format!("outbox/{}", event.outbox.0));
        let of = EventRef::new(TenantId::OPERATOR, id, event_type, UnixMillis::now());
        let accepted = AcceptedEvent::new(of, self.instance, self.sequence.fetch_add(1, Ordering::Relaxed));
        let member = Member::new(&accepted, event.data).ok()?;
        self.accepted.publish(vec![member]).await.ok()?;
        Some(event.outbox)
    }
}
