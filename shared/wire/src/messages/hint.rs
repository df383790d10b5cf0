//! Hints between processes, which may be lost.

use postrider_model::breaker::BreakerStatement;
use serde::{Deserialize, Serialize};

/// Services -> every running process, through the hints exchange. No payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Statements of a dispatcher about breakers.
    Breakers(Vec<BreakerStatement>),
    /// A process has just subscribed and asks the other processes to send all of their hints again.
    Ask,
    /// The configuration version that one role of one process has applied.
    Applied(AppliedVersion),
}

/// A service that keeps a copy of the configuration in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceRole {
    /// Accepts events.
    Ingest,
    /// Matches events with subscriptions.
    Fanout,
    /// Sends deliveries.
    Dispatcher,
    /// Serves the management API.
    Api,
}

/// The configuration version that one role of one process has applied. The hint is sent after each change and every second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedVersion {
    /// The name of the process, as `GET /v1/system` lists it.
    pub instance: String,
    /// The role in that process.
    pub role: ServiceRole,
    /// The configuration version.
    pub version: i64,
}
