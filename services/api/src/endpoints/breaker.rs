//! The breaker of an endpoint, as answers show it.

use postrider_model::breaker::{BreakerState as KnownState, BreakerStatement};
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::shown;

/// The state of an endpoint's breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BreakerState {
    /// Deliveries flow.
    Closed,
    /// The endpoint fails: one attempt at a time, in the slow lane. None is skipped, and none costs a retry.
    Open,
    /// It answered again: still one at a time, until it has answered a few times in a row.
    HalfOpen,
}

/// Whether attempts are held back because an endpoint fails.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Breaker {
    pub(crate) state: BreakerState,
    /// Since when it is in this state; absent for one that has been closed for more than a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) since: Option<String>,
}

impl From<Option<BreakerStatement>> for Breaker {
    fn from(said: Option<BreakerStatement>) -> Self {
        let state = match said.map(|said| said.state).unwrap_or_default() {
            KnownState::Closed => BreakerState::Closed,
            KnownState::Open => BreakerState::Open,
            KnownState::HalfOpen => BreakerState::HalfOpen,
        };
        Self { state, since: said.map(|said| shown(said.since)) }
    }
}
