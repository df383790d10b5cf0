//! What a tenant may use, as its operator set it.

use postrider_model::limits::{
    ENDPOINTS_PER_TENANT_DEFAULT, EVENTS_PER_SECOND_DEFAULT, WAITING_DELIVERIES_PER_TENANT_DEFAULT,
};
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
    /// Deliveries that may wait: for their first attempt, for a retry or for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_deliveries: Option<u32>,
}

impl TenantLimits {
    /// Endpoints that the tenant may have, the default included.
    pub fn endpoints(&self) -> u32 {
        self.endpoints.unwrap_or(ENDPOINTS_PER_TENANT_DEFAULT)
    }

    /// Events a second that the tenant may publish, the default included.
    pub fn events_per_second(&self) -> f64 {
        self.events_per_second.unwrap_or(f64::from(EVENTS_PER_SECOND_DEFAULT))
    }

    /// Deliveries of the tenant that may wait, the default included.
    pub fn waiting_deliveries(&self) -> u32 {
        self.waiting_deliveries.unwrap_or(WAITING_DELIVERIES_PER_TENANT_DEFAULT)
    }
}
