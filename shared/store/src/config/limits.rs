//! What a tenant may use, as its operator set it.

use postrider_model::limits::ENDPOINTS_PER_TENANT_DEFAULT;
use serde::{Deserialize, Serialize};

/// Limits of one tenant; what is `None` takes the profile's or the deployment's value.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// Endpoints it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u32>,
    /// Events a second that it may publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<f64>,
    /// Longest attempt timeout that its endpoints may ask for, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds_max: Option<u32>,
    /// Highest rate that its endpoints may ask for, attempts a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second_max: Option<f64>,
}

impl TenantLimits {
    /// Endpoints that the tenant may have, the default included.
    pub fn endpoints(&self) -> u32 {
        self.endpoints.unwrap_or(ENDPOINTS_PER_TENANT_DEFAULT)
    }
}
