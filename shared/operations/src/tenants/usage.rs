//! Lists tenants with the state of their endpoints, and reads how much of its limits a tenant uses.

use postrider_model::filters::parsed;
use postrider_model::ids::TenantId;
use postrider_model::limits::KEYS_PER_TENANT_MAX;
use postrider_model::scope::Scope;
use postrider_model::time::UnixMillis;
use postrider_model::timestamp::Timestamp;
use postrider_store::trouble::EndpointsOfTenant;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Tenant;
use crate::find::SEARCH_BYTES_MAX;
use crate::page::{List, PageQuery};
use crate::{Caller, Error, Operations};

/// Maximum number up to which the events of the last 24 hours are counted.
pub const EVENTS_COUNTED_MAX: u32 = 20_000;
const DAY_MS: i64 = 86_400_000;

/// A filter of tenants.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub struct TenantsQuery {
    /// Only tenants whose name or external id contains this text (upper and lower case are equal), or whose id is this text.
    #[serde(deserialize_with = "parsed")]
    #[param(example = "acme")]
    pub q: Option<String>,
}

/// A tenant in a list, with the state of its endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantInList {
    /// The tenant.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// The number of its endpoints.
    pub endpoints: u64,
    /// The number of its active endpoints whose last 5 attempts or more failed.
    pub failing_endpoints: u64,
    /// The number of its endpoints that Postrider disabled.
    pub disabled_endpoints: u64,
}

/// How much of a limit is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Usage {
    /// The number in use.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

/// How much of its limits a tenant uses, and whether its endpoints work.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantUsage {
    /// Endpoints.
    pub endpoints: Usage,
    /// The number of active endpoints whose last 5 attempts or more failed.
    pub failing_endpoints: u64,
    /// The number of endpoints that Postrider disabled.
    pub disabled_endpoints: u64,
    /// API keys.
    pub keys: Usage,
    /// Deliveries that wait for their first attempt, for a retry or for the endpoint's rate. They are counted every 10 s.
    pub waiting_deliveries: Usage,
    /// The time from which `events` counts accepted events: 24 hours ago.
    pub events_from: Timestamp,
    /// The number of events accepted since `events_from`. The count ends at 20,000, so 20,000 means 20,000 or more.
    pub events: u64,
}

impl Operations {
    /// Lists the tenants that match the query, newest first. Operators only.
    pub async fn list_tenants(
        &self,
        caller: Caller,
        query: &TenantsQuery,
        page: &PageQuery,
    ) -> Result<List<TenantInList>, Error> {
        caller.operator()?;
        let text = query.q.as_deref().map(str::trim).filter(|text| !text.is_empty());
        if text.is_some_and(|text| text.len() > SEARCH_BYTES_MAX) {
            return Err(Error::invalid("q", format!("at most {SEARCH_BYTES_MAX} bytes")));
        }
        let page = self.store.config().list_tenants(text, &page.request("tenants")?).await?;
        let ids: Vec<TenantId> = page.items.iter().map(|tenant| tenant.id).collect();
        let mut states = self.store.history().endpoints_of_tenants(&ids).await?;
        Ok(List::of("tenants", page, |tenant| {
            let EndpointsOfTenant { endpoints, failing, disabled } = states.remove(&tenant.id).unwrap_or_default();
            let tenant = tenant.into();
            TenantInList { tenant, endpoints, failing_endpoints: failing, disabled_endpoints: disabled }
        }))
    }

    /// Reads how much of its limits the tenant with this id or external id uses. Requires the scope `read`.
    pub async fn read_tenant_usage(&self, caller: Caller, id: &str) -> Result<TenantUsage, Error> {
        let id = self.find_tenant(id).await?;
        caller.may(Scope::Read, id)?;
        let limits = self.stored_tenant(id).await?.draft.limits;
        let from = UnixMillis(UnixMillis::now().0 - DAY_MS);
        let ids = [id];
        let (states, keys, waiting, events) = tokio::join!(
            self.store.history().endpoints_of_tenants(&ids),
            self.store.config().list_keys(id),
            self.store.history().waiting_of(id),
            self.store.history().count_events(id, from, EVENTS_COUNTED_MAX),
        );
        let EndpointsOfTenant { endpoints, failing, disabled } = states?.remove(&id).unwrap_or_default();
        Ok(TenantUsage {
            endpoints: Usage { used: endpoints, limit: limits.endpoints().into() },
            failing_endpoints: failing,
            disabled_endpoints: disabled,
            keys: Usage { used: keys?.len() as u64, limit: KEYS_PER_TENANT_MAX.into() },
            waiting_deliveries: Usage { used: waiting?, limit: limits.waiting_deliveries().into() },
            events_from: from.into(),
            events: events?,
        })
    }
}
