//! Held keys of ordered endpoints: lines that wait for a person, because a delivery failed for good.

use postrider_ledger::manual_retry::retry_delivery;
use postrider_model::delivery::Lane;
use postrider_model::ids::DeliveryId;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::lines::HeldLine;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Caller, Error, Operations};

/// Maximum number of held keys in an answer.
const KEYS_MAX: u32 = 200;

/// A key whose deliveries wait for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldKey {
    /// The key: the value of the event's field. Empty if the events do not have the field, or if the endpoint has no key. The
    /// deliveries of a replay have the replay's id and a slash before their key.
    #[schema(example = "subscriber-17")]
    pub key: String,
    /// The delivery that failed.
    pub delivery_id: DeliveryId,
    /// Since when the key is held.
    pub held_at: Timestamp,
    /// The number of deliveries that wait behind the failed one.
    pub waiting: u64,
}

impl From<HeldLine> for HeldKey {
    fn from(line: HeldLine) -> Self {
        let HeldLine { key, held, held_at, waiting } = line;
        Self { key, delivery_id: held, held_at: held_at.into(), waiting }
    }
}

/// The held keys of an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldKeys {
    /// The keys, longest held first; at most 200.
    pub data: Vec<HeldKey>,
}

/// What to do with the failed delivery of a held key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeldKeyAction {
    /// Repeat it as a new delivery, before the deliveries that wait. If the new delivery fails too, the key is held again.
    Retry,
    /// Leave it failed and continue with the next delivery.
    Skip,
}

/// A decision about a held key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseHeldKey {
    /// The key.
    #[schema(example = "subscriber-17")]
    pub key: String,
    /// What to do with the failed delivery.
    pub action: HeldKeyAction,
}

/// A key that is held no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeldKeyReleased {
    /// The new delivery after `retry`, or the delivery that was skipped.
    pub delivery_id: DeliveryId,
}

impl Operations {
    /// Lists the held keys of an endpoint. Requires the scope `read`.
    pub async fn held_keys(&self, caller: Caller, id: &str) -> Result<HeldKeys, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Read, id).await?;
        let lines = self.store.lines().held_lines(Some(endpoint.tenant), endpoint.id, KEYS_MAX).await?;
        Ok(HeldKeys { data: lines.into_iter().map(HeldKey::from).collect() })
    }

    /// Lets a held key continue.
    ///
    /// # Errors
    /// Requires the scope `manage`. [`Error::Conflict`] if the key is not held, or if the delivery cannot be retried.
    pub async fn release_held_key(
        &self,
        caller: Caller,
        id: &str,
        request: &ReleaseHeldKey,
    ) -> Result<HeldKeyReleased, Error> {
        let endpoint = self.stored_endpoint(caller, Scope::Manage, id).await?;
        let not_held = || Error::Conflict("this key is not held".to_owned());
        let edits = self.edits_of(caller)?;
        let delivery_id = match request.action {
            HeldKeyAction::Skip => {
                let skipped = edits.lines().skip_held(endpoint.tenant, endpoint.id, &request.key).await?;
                skipped.ok_or_else(not_held)?
            }
            HeldKeyAction::Retry => {
                let held = self.store.lines().held_delivery(endpoint.id, &request.key).await?.ok_or_else(not_held)?;
                retry_delivery(&edits, Some(endpoint.tenant), held, Lane::Live).await?.delivery()
            }
        };
        Ok(HeldKeyReleased { delivery_id })
    }
}
