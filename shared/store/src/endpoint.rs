//! An endpoint as the dispatcher reads it at the time of an attempt, with its secrets opened. Messages never contain secrets.

use postrider_model::delivery::EndpointStatus;
use postrider_model::ids::{EndpointId, TenantId};

use crate::config::{ENDPOINT_COLUMNS, EndpointDocument, EndpointPrivate, EndpointRow, EndpointSecrets, open_private};
use crate::error::StoreError;
use crate::sql::{FromRow, RowExt};
use crate::store::ConfigStore;
use postrider_model::tenant_limits::TenantLimits;

/// An endpoint with everything that an attempt needs.
#[derive(Debug, Clone)]
pub struct DispatchEndpoint {
    /// Its id.
    pub id: EndpointId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Channel, URL, schedule, timeout, rate and all other settings that are not secret.
    pub document: EndpointDocument,
    /// Whether the endpoint receives events.
    pub status: EndpointStatus,
    /// Its signing secrets.
    pub secrets: EndpointSecrets,
    /// Its own headers, its token, and the credentials of its channel.
    pub private: EndpointPrivate,
    /// The profile of its tenant.
    pub profile: String,
    /// The limits of its tenant.
    pub limits: TenantLimits,
    /// The tenant's setting: number of days of failures after which an endpoint is disabled.
    pub disable_after_days: Option<u32>,
    /// Configuration version of its last edit.
    pub version: i64,
    /// Configuration version at which the endpoint was read. The endpoint is recent enough for messages that require this
    /// version or an earlier one.
    pub config_version: i64,
}

impl ConfigStore {
    /// Returns the endpoint as it is now. `None` means that it was deleted, because every endpoint is committed before a
    /// message names it.
    ///
    /// # Errors
    /// An error of the database, or [`StoreError::Crypto`] if a master key is missing.
    pub async fn endpoint_for_dispatch(&self, id: EndpointId) -> Result<Option<DispatchEndpoint>, StoreError> {
        let client = self.0.client().await?;
        // One statement reads one snapshot, so the version is exactly the version of the row.
        let sql = format!(
            "SELECT {ENDPOINT_COLUMNS}, t.profile, t.limits, t.disable_after_days, c.version AS config_version
             FROM endpoints e JOIN tenants t ON t.id = e.tenant CROSS JOIN config_version c
             WHERE e.id = $1 AND e.deleted_at IS NULL AND t.deleted_at IS NULL"
        );
        let statement = client.prepare_cached(&sql).await?;
        let Some(found) = client.query_opt(&statement, &[&id.0]).await? else { return Ok(None) };
        let row = EndpointRow::read(&found)?;
        Ok(Some(DispatchEndpoint {
            secrets: row.secrets(self.0.keys())?,
            private: open_private(self.0.keys(), id, &row.private)?,
            id,
            tenant: row.endpoint.tenant,
            document: row.endpoint.document,
            status: row.endpoint.status,
            profile: found.col("profile")?,
            limits: found.col("limits")?,
            disable_after_days: found.col("disable_after_days")?,
            version: row.endpoint.version,
            config_version: found.col("config_version")?,
        }))
    }
}
