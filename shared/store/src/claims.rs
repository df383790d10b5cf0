//! Which ids were accepted already.

use std::collections::HashMap;

use postrider_model::ids::{EventId, TenantId};
use postrider_model::time::Day;

use crate::error::StoreError;
use crate::pool::Store;
use crate::sql::{Date, RowExt};

impl Store {
    /// Of these events, those on record within the two days, with their content hash (`None`: accepted without one).
    /// One statement, whatever the number.
    ///
    /// # Errors
    /// The database's; the caller skips the check then.
    pub async fn seen(
        &self,
        events: &[(TenantId, EventId)],
        days: [Day; 2],
    ) -> Result<HashMap<(TenantId, EventId), Option<String>>, StoreError> {
        if events.is_empty() {
            return Ok(HashMap::new());
        }
        let client = self.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT e.tenant, e.id, e.content_hash
                 FROM unnest($1::uuid[], $2::text[]) AS wanted(tenant, id)
                 JOIN events e ON e.tenant = wanted.tenant AND e.id = wanted.id AND e.event_day IN ($3, $4)
                 ORDER BY e.accepted_at DESC",
            )
            .await?;
        let tenants: Vec<_> = events.iter().map(|(tenant, _)| tenant.0).collect();
        let ids: Vec<_> = events.iter().map(|(_, id)| id.as_str()).collect();
        let rows = client.query(&statement, &[&tenants, &ids, &Date(days[0]), &Date(days[1])]).await?;
        let mut seen = HashMap::with_capacity(rows.len());
        // The earliest comes last and stays: an id belongs to the event that had it first.
        for row in rows {
            seen.insert((TenantId(row.col("tenant")?), row.parsed("id")?), row.col("content_hash")?);
        }
        Ok(seen)
    }
}
