//! Counts the deliveries that match a filter, and finds deliveries whose event was sent to the endpoint again later.

use std::collections::{HashMap, HashSet};

use postrider_model::delivery::DeliveryStatus;
use postrider_model::filters::{DeliveryFilter, ListOrder};
use postrider_model::ids::{DeliveryId, EndpointId, EventId, TenantId};
use postrider_model::limits::DELIVERIES_COUNTED_MAX;
use postrider_model::time::{Day, UnixMillis};

use super::deliveries::{COLUMNS, DeliveryRow, EventKey, of_event, order_by};
use super::query::Query;
use crate::error::StoreError;
use crate::sql::{Coded, RowExt, read_all};
use crate::store::History;

/// The number of deliveries that match a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchingDeliveries {
    /// The number of deliveries with each status.
    pub by_status: HashMap<DeliveryStatus, u64>,
    /// Whether the count stopped at a limit, so that more deliveries may match.
    pub is_cut: bool,
}

impl History {
    /// Counts a tenant's deliveries that match a filter: at most [`DELIVERIES_COUNTED_MAX`], among as many as a page of a list
    /// searches.
    ///
    /// # Errors
    /// An error of the database.
    pub async fn count_deliveries(
        &self,
        tenant: TenantId,
        filter: &DeliveryFilter,
    ) -> Result<MatchingDeliveries, StoreError> {
        let client = self.0.client().await?;
        let limit = i64::from(DELIVERIES_COUNTED_MAX) + 1;
        let mut matching = MatchingDeliveries::default();
        let mut add = |status, number: i64| *matching.by_status.entry(status).or_default() += number.unsigned_abs();
        if let Some(event) = &filter.event {
            let rows = of_event(&client, EventKey { tenant, event, day: None }, filter, None, limit).await?;
            rows.iter().for_each(|row| add(row.status, 1));
        } else {
            let mut query = Query::new();
            query.and("tenant = ?", [Box::new(tenant.0) as _]);
            query.filter_deliveries(filter, None)?;
            let (select, order) = (format!("SELECT {COLUMNS} FROM deliveries"), order_by(ListOrder::Newest));
            let found = query.sql(&select, order, limit);
            let sql = format!("SELECT status, count(*) AS number FROM ({found}) found GROUP BY status");
            for row in client.query(&sql, &query.params()).await? {
                add(row.col("status")?, row.col("number")?);
            }
            matching.is_cut = query.is_cut(&client, &select, order).await?;
        }
        matching.is_cut |= matching.by_status.values().sum::<u64>() > u64::from(DELIVERIES_COUNTED_MAX);
        Ok(matching)
    }

    /// Those of a tenant's deliveries whose event was sent to the same endpoint again, by a delivery that was created later:
    /// a retry that a person requested, or a replay. One that ended without an attempt, such as a cancelled one, does not count.
    ///
    /// # Errors
    /// An error of the database.
    pub async fn sent_again(&self, tenant: TenantId, rows: &[DeliveryRow]) -> Result<HashSet<DeliveryId>, StoreError> {
        let events: Vec<&str> = rows.iter().map(|row| row.delivery.event.as_str()).collect();
        // `generation IS NOT NULL` repeats the condition of a partial index. First deliveries have no generation.
        let sql = "SELECT event_id, event_day, endpoint, max(created_at) AS created_at FROM deliveries
                   WHERE tenant = $1 AND event_id = ANY($2) AND generation IS NOT NULL AND generation NOT LIKE 'test:%'
                     AND (status NOT IN ($3, $4) OR first_attempt_at IS NOT NULL)
                   GROUP BY event_id, event_day, endpoint";
        let (cancelled, discarded) = (DeliveryStatus::Cancelled.code(), DeliveryStatus::Discarded.code());
        let client = self.0.client().await?;
        let found: Vec<(EventId, Day, EndpointId, UnixMillis)> =
            read_all(client.query(sql, &[&tenant.0, &events, &cancelled, &discarded]).await?)?;
        let last: HashMap<_, _> =
            found.into_iter().map(|(event, day, endpoint, at)| ((event, day, endpoint), at)).collect();
        let is_earlier = |row: &&DeliveryRow| {
            let of = &row.delivery;
            last.get(&(of.event.clone(), of.event_day, of.endpoint)).is_some_and(|last| *last > of.created_at)
        };
        Ok(rows.iter().filter(is_earlier).map(|row| row.delivery.id).collect())
    }
}
