//! Retrying a delivery by hand.
//!
//! The retry is committed with an entry in the outbox, and then published. If the broker does not confirm in time, or this
//! process dies in between, the recorder's outbox relay publishes it.

use std::sync::Arc;

use bytes::Bytes;
use postrider_broker::MessageRoute;
use postrider_model::delivery::Lane;
use postrider_model::scope::Scope;
use postrider_store::outbox::{PendingDelivery, RetryError};
use postrider_wire::bundle::Member;

use super::{DeliveryAccepted, delivery_id};
use crate::{Caller, Error, Operations};

impl From<RetryError> for Error {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::Store(error) => error.into(),
            nothing_to_send => Self::Conflict(nothing_to_send.to_string()),
        }
    }
}

impl Operations {
    /// Attempts a delivery now: a pending one in addition to its schedule, an ended one as a new delivery.
    ///
    /// # Errors
    /// Takes the scope `manage`. [`Error::Conflict`] if there is nothing to send, or the endpoint takes no events.
    pub async fn retry_delivery(self: &Arc<Self>, caller: Caller, id: &str) -> Result<DeliveryAccepted, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, delivery_id(id)?);
        let retried = self.edits_of(caller)?.retry_delivery(visible, id, Lane::Live).await?;
        let accepted = DeliveryAccepted { id: retried.delivery() };
        let Some(pending) = retried.committed() else { return Ok(accepted) };
        // In a task: a client that disconnects must not stop the publishing halfway.
        let operations = Arc::clone(self);
        let publishing = tokio::spawn(async move { operations.publish_retry(pending).await });
        if tokio::time::timeout(self.config.confirm_timeout, publishing).await.is_err() {
            tracing::warn!(delivery.id = %accepted.id, "a retry is committed, the broker's confirm is late");
        }
        Ok(accepted)
    }

    /// Publishes a committed retry and removes it from the outbox. After a failure the outbox relay does it.
    async fn publish_retry(&self, pending: PendingDelivery) {
        let PendingDelivery { outbox, task, event, document, profile } = pending;
        let Ok(profile) = self.profile(&profile) else { return };
        let Some(view) = event.view() else { return };
        let body = Bytes::from(profile.render(&view, document.body_kind()));
        let Ok(member) = Member::new(&task, body) else { return };
        if let Err(error) = self.publisher.publish(MessageRoute::Lane(task.lane), &[member]).await {
            tracing::warn!(delivery.id = %task.delivery.id, %error, "cannot publish a retry; the outbox relay will");
            return;
        }
        if let Err(error) = self.store.outbox_done(&[outbox]).await {
            tracing::warn!(delivery.id = %task.delivery.id, %error, "a published retry is still in the outbox; it will be published again");
        }
    }
}
