//! Retries of deliveries that a person requests.
//!
//! The retry is committed with an entry in the outbox. Then it is published. If the broker does not confirm it in time, or this
//! process dies in between, the recorder's outbox relay publishes it.

use postrider_ledger::manual_retry::{self, RetryError};
use postrider_model::delivery::Lane;
use postrider_model::scope::Scope;

use super::DeliveryAccepted;
use crate::error::parse_id;
use crate::{CONFIRM_TIMEOUT, Caller, Error, Operations};

impl From<RetryError> for Error {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::Store(error) => error.into(),
            nothing_to_send => Self::Conflict(nothing_to_send.to_string()),
        }
    }
}

impl Operations {
    /// Attempts a delivery now. For a pending delivery, the attempt is in addition to its schedule. An ended delivery is repeated
    /// as a new delivery.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if there is nothing to send, or the endpoint is not active.
    pub async fn retry_delivery(&self, caller: Caller, id: &str) -> Result<DeliveryAccepted, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("delivery", id)?);
        let retried = manual_retry::retry_delivery(&self.edits_of(caller)?, visible, id, Lane::Live).await?;
        let accepted = DeliveryAccepted { id: retried.delivery() };
        let Some(pending) = retried.committed() else { return Ok(accepted) };
        // The publishing runs in a task, so that it continues if the client disconnects.
        let relay = self.relay.clone();
        let publishing = tokio::spawn(async move {
            if let Err(error) = relay.publish_delivery(&pending).await {
                tracing::warn!(delivery.id = %pending.task.delivery.id, %error, "cannot publish a retry; the outbox relay will");
            }
        });
        if tokio::time::timeout(CONFIRM_TIMEOUT, publishing).await.is_err() {
            tracing::warn!(delivery.id = %accepted.id, "a retry is committed, but not confirmed in time; the outbox relay publishes it");
        }
        Ok(accepted)
    }
}
