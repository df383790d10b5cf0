//! The outbox relay: publishes entries of the outbox if the process that committed them did not publish them. It also publishes
//! all operational events and notices about endpoints, which no other process publishes.
//!
//! An entry may be published twice without harm: a delivery has a fixed id, and the id of an operational event or a notice is
//! derived from the number of its entry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use postrider_broker::{BatchOptions, BatchPublisher, Broker, Route};
use postrider_model::event::{EventType, Origin};
use postrider_model::ids::{EventId, TenantId};
use postrider_model::notice::addressed_to;
use postrider_model::time::UnixMillis;
use postrider_profiles::Profiles;
use postrider_relay::{Relay, RelayError};
use postrider_store::Store;
use postrider_store::outbox::{OperationalEvent, OutboxEntry, OutboxId, PendingNotice};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{AcceptedEvent, EventRef};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::{disable, metrics};

/// Maximum number of entries in one page.
const ENTRIES_MAX: u32 = 200;

/// Publishes entries of the outbox until `stop`.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    profiles: Arc<Profiles>,
    config: Config,
    stop: CancellationToken,
) {
    let outbox = OutboxRelay {
        relay: Relay::new(&broker, store.clone(), Arc::clone(&profiles)),
        accepted: broker.batch_publisher(Route::Accepted, BatchOptions::default()),
        store,
        instance: uuid::Uuid::new_v4().as_u64_pair().0,
        sequence: AtomicU64::new(0),
    };
    let mut tick = tokio::time::interval(config.relay_every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        // This runs before the relay, so that the relay publishes the resulting events in the same round.
        let disabling = disable::long_failing(&outbox.store, &profiles);
        match stop.run_until_cancelled(disabling).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "cannot look for endpoints that have failed for days"),
        }
        let relaying = outbox.relay_all(config.relay_after).instrument(tracing::info_span!("outbox_relay"));
        if stop.run_until_cancelled(relaying).await.is_none() {
            return;
        }
    }
}

struct OutboxRelay {
    relay: Relay,
    accepted: BatchPublisher,
    store: Store,
    /// Identifies this process in the sequence numbers of operational events.
    instance: u64,
    sequence: AtomicU64,
}

impl OutboxRelay {
    /// Publishes page after page until no entry is left.
    async fn relay_all(&self, older_than: Duration) {
        while self.relay_some(older_than).await == ENTRIES_MAX as usize {}
    }

    /// Publishes one page of entries. Returns the number of entries in the page.
    async fn relay_some(&self, older_than: Duration) -> usize {
        let entries = match self.store.outbox_claim(ENTRIES_MAX, older_than).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::debug!(%error, "cannot read the outbox");
                return 0;
            }
        };
        let claimed = entries.len();
        let mut done = Vec::with_capacity(claimed);
        for entry in entries {
            done.extend(match entry {
                OutboxEntry::Delivery(pending) => {
                    let (outbox, id) = (pending.outbox, pending.task.delivery.id.to_string());
                    published(outbox, &id, self.relay.send_delivery(&pending).await)
                }
                OutboxEntry::Letter(pending) => {
                    let (outbox, id) = (pending.outbox, pending.letter.id.to_string());
                    published(outbox, &id, self.relay.send_letter(*pending).await)
                }
                OutboxEntry::Event(event) => self.event(event).await,
                OutboxEntry::Notice(notice) => self.notice(notice).await,
            });
        }
        if !done.is_empty() {
            metrics::relayed(done.len());
            if let Err(error) = self.relay.remove(&done).await {
                tracing::warn!(%error, entries = done.len(), "cannot remove entries of the outbox; they will be published again");
            }
        }
        claimed
    }

    /// Publishes an operational event. Returns the id of its entry if the entry can be removed.
    async fn event(&self, event: OperationalEvent) -> Option<OutboxId> {
        // Drops events about the operator's own endpoints. Delivering such an event would cause further events.
        if event.about == TenantId::OPERATOR {
            return Some(event.outbox);
        }
        let Ok(event_type) = event.event_type.parse::<EventType>() else {
            tracing::warn!(event.type = event.event_type, "dropping an operational event: its type is not valid");
            return Some(event.outbox);
        };
        let id = EventId::from_idempotency_key(TenantId::OPERATOR, &format!("outbox/{}", event.outbox.0));
        let of = EventRef::new(TenantId::OPERATOR, id, event_type, UnixMillis::now());
        self.publish(event.outbox, self.accepted(of), event.data).await
    }

    /// Publishes a notice about an endpoint. Returns the id of its entry if the entry can be removed.
    async fn notice(&self, notice: PendingNotice) -> Option<OutboxId> {
        let Ok(event_type) = notice.event_type.parse::<EventType>() else {
            tracing::warn!(event.type = notice.event_type, "dropping a notice: its type is not valid");
            return Some(notice.outbox);
        };
        // A producer of the tenant cannot choose the same id, because the id is derived for another tenant.
        let id = EventId::from_idempotency_key(TenantId::OPERATOR, &format!("notice/{}", notice.outbox.0));
        let of = EventRef::new(notice.tenant, id, event_type, UnixMillis::now());
        let attributes = addressed_to(notice.addressee);
        let accepted = AcceptedEvent { origin: Origin::Notice, attributes, ..self.accepted(of) };
        self.publish(notice.outbox, accepted, notice.data).await
    }

    /// An event that this process accepts.
    fn accepted(&self, of: EventRef) -> AcceptedEvent {
        AcceptedEvent::new(of, self.instance, self.sequence.fetch_add(1, Ordering::Relaxed))
    }

    async fn publish(&self, entry: OutboxId, accepted: AcceptedEvent, data: Bytes) -> Option<OutboxId> {
        let member = Member::new(&accepted, data).ok()?;
        self.accepted.publish(vec![member]).await.ok()?;
        Some(entry)
    }
}

/// Logs the result of publishing a delivery or a dead letter. Returns the id of its entry if the entry can be removed.
fn published(entry: OutboxId, id: &str, result: Result<(), RelayError>) -> Option<OutboxId> {
    match &result {
        Ok(()) => tracing::info!(id, "published an entry left in the outbox"),
        // The task that owns the connection already logs that the broker is unavailable.
        Err(RelayError::Publish(error)) => {
            tracing::debug!(%error, id, "cannot publish an entry of the outbox; retrying later")
        }
        Err(error) => tracing::warn!(%error, id, "cannot publish an entry of the outbox; retrying later"),
    }
    result.is_ok().then_some(entry)
}
