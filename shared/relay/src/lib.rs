//! The relay: publishes messages that were committed to the outbox, then removes their entries.
//!
//! The process that commits a retry or a requeued dead letter publishes it immediately. The recorder publishes operational
//! events, and entries that remain after a crash or a failure. Publishing an entry twice makes no second event or delivery,
//! because both messages have the same ids. At worst a delivery is attempted twice with the same `webhook-id`.
//!
//! # Not here `postrider-ledger` decides what is committed. The recorder decides when it publishes remaining entries.

use std::sync::Arc;

use bytes::Bytes;
use postrider_broker::{Broker, MessagePublisher, MessageRoute, ProducerMessage, PublishError, Queue};
use postrider_ledger::body;
use postrider_profiles::Profiles;
use postrider_store::outbox::{BodySource, OutboxId, PendingDelivery, PendingLetter};
use postrider_store::{Store, StoreError};
use postrider_wire::bundle::Member;

/// Why an entry remains in the outbox. The recorder publishes it later.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The broker did not confirm the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The tenant's profile is not loaded in this process.
    #[error("profile {0:?} is not loaded")]
    UnknownProfile(String),
    /// The head of the message cannot be serialised.
    #[error("cannot serialise the message: {0}")]
    Head(#[from] serde_json::Error),
    /// The broker confirmed the message, but the database did not remove the entry, so the message will be published again.
    #[error("published, but still in the outbox: {0}")]
    NotRemoved(StoreError),
}

/// Publishes entries of the outbox. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    publisher: MessagePublisher,
    store: Store,
    profiles: Arc<Profiles>,
}

impl Relay {
    /// Creates a relay with a separate publisher.
    pub fn new(broker: &Broker, store: Store, profiles: Arc<Profiles>) -> Self {
        Self { publisher: broker.message_publisher(), store, profiles }
    }

    /// Publishes a delivery to its lane and removes its entry.
    ///
    /// # Errors
    /// The entry was not removed, so it will be published again.
    pub async fn publish_delivery(&self, pending: &PendingDelivery) -> Result<(), RelayError> {
        self.send_delivery(pending).await?;
        self.remove(&[pending.outbox]).await
    }

    /// Publishes a dead letter to its original queue, and removes its entry.
    ///
    /// # Errors
    /// The entry was not removed, so it will be published again.
    pub async fn publish_letter(&self, pending: PendingLetter) -> Result<(), RelayError> {
        let outbox = pending.outbox;
        self.send_letter(pending).await?;
        self.remove(&[outbox]).await
    }

    /// Renders a delivery and publishes it to its lane. Does nothing if the event's payload was expunged. Does not remove the
    /// entry.
    ///
    /// # Errors
    /// The broker did not confirm the delivery, or this process cannot render it.
    pub async fn send_delivery(&self, pending: &PendingDelivery) -> Result<(), RelayError> {
        let PendingDelivery { outbox: _, task, source: BodySource { event, document, profile } } = pending;
        let Some(view) = body::view(event) else { return Ok(()) };
        let profile = self.profiles.get(profile).ok_or_else(|| RelayError::UnknownProfile(profile.to_owned()))?;
        let member = Member::new(task, Bytes::from(profile.render(&view, document.body_kind())))?;
        Ok(self.publisher.publish(MessageRoute::Lane(task.lane), &[member]).await?)
    }

    /// Publishes a dead letter to its original queue. Does nothing if the queue does not exist. Does not remove the entry.
    ///
    /// # Errors
    /// The broker did not confirm the dead letter.
    pub async fn send_letter(&self, pending: PendingLetter) -> Result<(), RelayError> {
        let PendingLetter { outbox: _, letter, body } = pending;
        let Some(queue) = Queue::requeue_target(&letter.source, &letter.routing_key) else { return Ok(()) };
        let message = ProducerMessage {
            routing_key: letter.routing_key,
            content_type: letter.content_type,
            message_id: letter.message_id,
            headers: letter.headers,
            body,
        };
        Ok(self.publisher.requeue(queue, &message).await?)
    }

    /// Removes the entries of published messages.
    ///
    /// # Errors
    /// [`RelayError::NotRemoved`]: the messages will be published again.
    pub async fn remove(&self, entries: &[OutboxId]) -> Result<(), RelayError> {
        self.store.outbox_done(entries).await.map_err(RelayError::NotRemoved)
    }
}
