//! What was set aside while an endpoint was paused, and the order to skip it.

use std::collections::HashMap;

use postrider_model::ids::EndpointId;
use postrider_model::scope::Scope;
use postrider_model::timestamp::Timestamp;
use postrider_store::pauses::SetAsideTotals;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::parse_id;
use crate::{Caller, Error, Operations};

/// The deliveries that are set aside for an endpoint, as they were last counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SetAside {
    /// Their number.
    pub deliveries: u64,
    /// Their bytes: the payloads and 1 KiB for each delivery.
    pub bytes: u64,
    /// When the oldest of their events was accepted.
    pub oldest_accepted_at: Timestamp,
    /// When they were counted. They are counted every few seconds.
    pub counted_at: Timestamp,
}

impl SetAside {
    /// Converts counts to the form that answers show; `None` if nothing is set aside or nothing was counted yet.
    pub(super) fn of(totals: SetAsideTotals) -> Option<Self> {
        let SetAsideTotals { deliveries, bytes, oldest_at, counted_at } = totals;
        let (oldest, counted) = oldest_at.zip(counted_at).filter(|_| deliveries > 0)?;
        Some(Self { deliveries, bytes, oldest_accepted_at: oldest.into(), counted_at: counted.into() })
    }
}

/// An order to skip what waits for a paused endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SkippedPaused {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Deliveries of events that were accepted until this time are discarded.
    pub accepted_until: Timestamp,
}

impl Operations {
    /// What is set aside for each of these endpoints, as it is stored.
    pub(super) async fn set_aside(&self, ids: &[EndpointId]) -> Result<HashMap<EndpointId, SetAsideTotals>, Error> {
        Ok(self.store.config().set_aside(ids).await?)
    }

    /// Orders that everything is discarded that was set aside for an endpoint until now. A recorder discards it page by page.
    /// Idempotent: a repeated order also covers the events accepted since the first one. Requires the scope `manage`.
    pub async fn skip_paused(&self, caller: Caller, id: &str) -> Result<SkippedPaused, Error> {
        let (visible, id) = (caller.visible(Scope::Manage)?, parse_id("endpoint", id)?);
        let until = self.edits_of(caller)?.skip_set_aside(visible, id).await?;
        Ok(SkippedPaused { endpoint_id: id, accepted_until: until.into() })
    }
}
