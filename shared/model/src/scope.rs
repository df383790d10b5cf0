//! The permissions of an API key.

use serde::{Deserialize, Serialize};

use crate::text::names;

/// A permission of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Publish events.
    Publish,
    /// Read the configuration and the history.
    Read,
    /// Edit the configuration; test endpoints; retry, cancel and replay deliveries.
    Manage,
}
names!(Scope { Publish => "publish", Read => "read", Manage => "manage" });

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Read, Self::Manage];
}
