//! What fails and what waits in all tenants, for the operator.
//!
//! # What it costs
//! Failures are read from the counts of the last hours, one row for each endpoint and hour (`endpoint_hours_newest`), never from
//! attempts. The oldest waiting delivery is the first entry of `deliveries_unattempted` in each of the last days.

use std::collections::HashMap;

use postrider_model::delivery::{DeliveryStatus, EndpointStatus};
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::limits::DELIVERY_LIFETIME;
use postrider_model::time::UnixMillis;

use crate::error::StoreError;
use crate::sql::{Coded, Date, FromRow, RowExt, Ts, from_row};
use crate::store::History;

/// An endpoint and its tenant by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its name.
    pub name: String,
    /// Its tenant.
    pub tenant: TenantId,
    /// The tenant's name.
    pub tenant_name: String,
}

from_row!(NamedEndpoint { endpoint, name, tenant, tenant_name });

/// The attempts of an endpoint in recent hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingEndpoint {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its status.
    pub status: EndpointStatus,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
}

from_row!(FailingEndpoint { endpoint, status, successes, failures });

/// The attempts of a tenant's endpoints in recent hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Its endpoints with a failed attempt.
    pub endpoints: u64,
}

from_row!(FailingTenant { tenant, name, successes, failures, endpoints });

/// A delivery that waits for its first attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnattemptedDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// When it was created.
    pub created_at: UnixMillis,
}

from_row!(UnattemptedDelivery { id, endpoint, created_at });

/// SQL for the attempts of each endpoint in the hours from `$1` on.
const RECENT: &str = "SELECT endpoint, sum(successes)::bigint AS successes, sum(failures)::bigint AS failures
     FROM endpoint_hours WHERE hour >= $1 GROUP BY endpoint";

/// The numbers of a tenant's endpoints by state. Deleted endpoints do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointsOfTenant {
    /// All endpoints.
    pub endpoints: u64,
    /// Active endpoints whose last attempts failed, as the event `endpoint.failing` reports them.
    pub failing: u64,
    /// Endpoints that Postrider disabled.
    pub disabled: u64,
}

from_row!(EndpointsOfTenant { endpoints, failing, disabled });

impl History {
    /// Returns the numbers of endpoints of these tenants by state. Leaves out tenants without endpoints.
    pub async fn endpoints_of_tenants(
        &self,
        tenants: &[TenantId],
    ) -> Result<HashMap<TenantId, EndpointsOfTenant>, StoreError> {
        let ids: Vec<_> = tenants.iter().map(|id| id.0).collect();
        let sql =
            "SELECT e.tenant, count(*) AS endpoints, count(*) FILTER (WHERE e.status = 0 AND h.failing) AS failing,
                       count(*) FILTER (WHERE e.status = 2) AS disabled
                   FROM endpoints e LEFT JOIN endpoint_health h ON h.endpoint = e.id
                   WHERE e.tenant = ANY($1) AND e.deleted_at IS NULL GROUP BY e.tenant";
        let rows = self.0.client().await?.query(sql, &[&ids]).await?;
        rows.iter().map(|row| Ok((row.col("tenant")?, EndpointsOfTenant::read(row)?))).collect()
    }

    /// Counts a tenant's events that were accepted at or after `from`, up to `limit`.
    pub async fn count_events(&self, tenant: TenantId, from: UnixMillis, limit: u32) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM (SELECT FROM events WHERE tenant = $1 AND accepted_at >= $2 LIMIT $3) counted";
        let counted: Option<(u64,)> = self.0.fetch_optional(sql, &[&tenant.0, &Ts(from), &i64::from(limit)]).await?;
        Ok(counted.map_or(0, |(count,)| count))
    }

    /// Returns the endpoints with the most failed attempts in the hours that start at or after `from`, at most `limit`. Leaves
    /// out deleted endpoints.
    pub async fn failing_endpoints(&self, from: UnixMillis, limit: u32) -> Result<Vec<FailingEndpoint>, StoreError> {
        let sql = format!(
            "SELECT c.endpoint, e.status, c.successes, c.failures FROM ({RECENT} HAVING sum(failures) > 0) c
             JOIN endpoints e ON e.id = c.endpoint AND e.deleted_at IS NULL
             ORDER BY c.failures DESC, c.endpoint LIMIT $2"
        );
        self.0.fetch_all(&sql, &[&Ts(from), &i64::from(limit)]).await
    }

    /// Returns the tenants with the most failed attempts in the hours that start at or after `from`, at most `limit`.
    pub async fn failing_tenants(&self, from: UnixMillis, limit: u32) -> Result<Vec<FailingTenant>, StoreError> {
        let sql = format!(
            "SELECT t.id AS tenant, t.name, sum(c.successes)::bigint AS successes, sum(c.failures)::bigint AS failures,
                 count(*) FILTER (WHERE c.failures > 0) AS endpoints
             FROM ({RECENT}) c JOIN endpoints e ON e.id = c.endpoint JOIN tenants t ON t.id = e.tenant
             WHERE t.deleted_at IS NULL GROUP BY t.id, t.name HAVING sum(c.failures) > 0
             ORDER BY sum(c.failures) DESC, t.id LIMIT $2"
        );
        self.0.fetch_all(&sql, &[&Ts(from), &i64::from(limit)]).await
    }

    /// Counts the active endpoints whose last attempts failed, as the event `endpoint.failing` reports them.
    pub async fn count_failing_endpoints(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM endpoint_health h JOIN endpoints e ON e.id = h.endpoint
                   WHERE h.failing AND e.status = $1 AND e.deleted_at IS NULL";
        let counted: Option<(u64,)> = self.0.fetch_optional(sql, &[&EndpointStatus::Active.code()]).await?;
        Ok(counted.map_or(0, |(count,)| count))
    }

    /// Returns the delivery that has waited longest for its first attempt. Scheduled deliveries, deliveries that are set aside
    /// for paused endpoints, and those of deleted tenants, do not count.
    pub async fn oldest_unattempted(&self) -> Result<Option<UnattemptedDelivery>, StoreError> {
        let sql = format!(
            "SELECT d.id, d.endpoint, d.created_at FROM deliveries d
             JOIN tenants t ON t.id = d.tenant AND t.deleted_at IS NULL
             WHERE d.status = {pending} AND d.first_attempt_at IS NULL AND d.set_aside_bytes IS NULL
                 AND d.delivery_day >= $1 AND coalesce(d.next_attempt_at <= $2, true)
             ORDER BY d.created_at LIMIT 1",
            pending = DeliveryStatus::Pending.code()
        );
        // While fan-out is behind, a delivery may be created later than the day of its partition. After that it waits at most for
        // its lifetime.
        let oldest = UnixMillis(UnixMillis::now().0 - 2 * DELIVERY_LIFETIME.as_millis() as i64);
        self.0.fetch_optional(&sql, &[&Date(oldest.day()), &Ts(UnixMillis::now())]).await
    }

    /// Returns the names of these endpoints and of their tenants, including deleted endpoints and tenants, in no order.
    pub async fn names_of_endpoints_of_all(&self, ids: &[EndpointId]) -> Result<Vec<NamedEndpoint>, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        let sql = "SELECT e.id AS endpoint, coalesce(e.document ->> 'name', '') AS name, t.id AS tenant, t.name AS tenant_name
                   FROM endpoints e JOIN tenants t ON t.id = e.tenant WHERE e.id = ANY($1)";
        self.0.fetch_all(sql, &[&ids]).await
    }
}
