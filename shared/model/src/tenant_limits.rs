//! The limits of a tenant, which the operator sets.

use serde::{Deserialize, Serialize};

use crate::limits::{
    ENDPOINTS_PER_TENANT_DEFAULT, EVENTS_PER_SECOND_DEFAULT, PAUSED_BYTES_PER_TENANT_DEFAULT, PAUSED_DAYS_DEFAULT,
    WAITING_DELIVERIES_PER_TENANT_DEFAULT,
};

/// A tenant's limits. If a limit is missing, the value of the profile or the deployment applies.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Limits))]
#[serde(deny_unknown_fields)]
pub struct TenantLimits {
    /// Maximum number of endpoints; 100 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u32>,
    /// Maximum number of events published per second; 2,000 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<f64>,
    /// Maximum attempt timeout of the tenant's endpoints, 1 to 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds_max: Option<u32>,
    /// Maximum rate of the tenant's endpoints, in attempts per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second_max: Option<f64>,
    /// Maximum number of pending deliveries; 1,000,000 by default. Above it, publishing is answered with 429. Deliveries that wait
    /// for a paused endpoint do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_deliveries: Option<u32>,
    /// Maximum bytes of deliveries that wait for paused endpoints; 1 GiB by default. Above it, the oldest are discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_bytes: Option<u64>,
    /// Number of days after which a delivery that waits for a paused endpoint is discarded; 7 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused_days: Option<u32>,
}

impl TenantLimits {
    /// Maximum number of endpoints, or the default.
    pub fn endpoints(&self) -> u32 {
        self.endpoints.unwrap_or(ENDPOINTS_PER_TENANT_DEFAULT)
    }

    /// Maximum number of events published per second, or the default.
    pub fn events_per_second(&self) -> f64 {
        self.events_per_second.unwrap_or(f64::from(EVENTS_PER_SECOND_DEFAULT))
    }

    /// Maximum number of pending deliveries, or the default.
    pub fn waiting_deliveries(&self) -> u32 {
        self.waiting_deliveries.unwrap_or(WAITING_DELIVERIES_PER_TENANT_DEFAULT)
    }

    /// Maximum bytes of deliveries that wait for paused endpoints, or the default.
    pub fn paused_bytes(&self) -> u64 {
        self.paused_bytes.unwrap_or(PAUSED_BYTES_PER_TENANT_DEFAULT)
    }

    /// Number of days after which a delivery that waits for a paused endpoint is discarded, or the default.
    pub fn paused_days(&self) -> u32 {
        self.paused_days.unwrap_or(PAUSED_DAYS_DEFAULT)
    }
}
