//! The limits of a tenant, which the operator sets.

use serde::{Deserialize, Serialize};

use crate::limits::{ENDPOINTS_PER_TENANT_DEFAULT, EVENTS_PER_SECOND_DEFAULT, WAITING_DELIVERIES_PER_TENANT_DEFAULT};

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
    /// Maximum number of pending deliveries; 1,000,000 by default. Above it, publishing is answered with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_deliveries: Option<u32>,
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
}
