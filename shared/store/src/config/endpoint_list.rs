//! Lists the endpoints of a tenant: newest first, endpoints in trouble first, or by name.

use std::fmt;
use std::str::FromStr;

use postrider_model::endpoint::EndpointOrder;
use postrider_model::ids::TenantId;
use postrider_model::limits::PAGE_BYTES_MAX;
use postrider_model::tenant_limits::TenantLimits;
use tokio_postgres::Row;
use uuid::Uuid;

use super::endpoint_row::{COLUMNS, EndpointRow};
use super::{EndpointList, EndpointSummary};
use crate::error::StoreError;
use crate::history::{Cursor, Page, PageRequest};
use crate::sql::{FromRow, RowExt, found, read_all};
use crate::store::ConfigStore;

/// SQL for the bytes of a row's document.
const BYTES: &str = "octet_length(document::text)";

/// SQL that ranks an endpoint `e` by the trouble in its health `h`. From the worst rank to the best: disabled or paused by
/// Postrider, failing, 1 to 4 failures in a row, no failures, switched off or paused by the customer.
const TROUBLE: &str = "CASE WHEN e.status = 2 OR (e.status = 3 AND e.paused_reason IS NOT NULL) THEN 4 \
    WHEN e.status IN (1, 3) THEN 0 WHEN h.failing THEN 3 WHEN h.failures > 0 THEN 2 \
    ELSE 1 END";

/// The rank and the id of the last endpoint of a page.
struct Place {
    rank: i32,
    id: Uuid,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rank, self.id)
    }
}

impl FromStr for Place {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let place =
            text.split_once('/').and_then(|(rank, id)| Some(Self { rank: rank.parse().ok()?, id: id.parse().ok()? }));
        place.ok_or(StoreError::InvalidCursor)
    }
}

/// An endpoint of a page, with its rank.
struct Ranked(i32, EndpointSummary);

impl FromRow for Ranked {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let endpoint = EndpointRow::read(row)?.endpoint;
        let summary = EndpointSummary {
            endpoint,
            successes: row.col("successes")?,
            failures: row.col("failures")?,
            failed_deliveries: row.col("failed_deliveries")?,
        };
        Ok(Self(row.col("rank")?, summary))
    }
}

/// An order in SQL.
struct Order {
    /// The expression of the rank.
    rank: &'static str,
    order: &'static str,
    /// The condition on the endpoints that follow the last endpoint of the previous page.
    follows: &'static str,
}

/// Worst rank first, then newest first.
const BY_RANK: &str = "rank DESC, created_at DESC, id DESC";
const FOLLOWS_BY_RANK: &str = "(rank, created_at, id) < ($4, $2, $3)";

impl Order {
    fn of(order: EndpointOrder) -> Self {
        match order {
            EndpointOrder::Newest => Self { rank: "0", order: BY_RANK, follows: FOLLOWS_BY_RANK },
            EndpointOrder::Trouble => Self { rank: TROUBLE, order: BY_RANK, follows: FOLLOWS_BY_RANK },
            // The row of a deleted endpoint stays, so the name of the previous page's last endpoint can always be read.
            EndpointOrder::Name => Self {
                rank: "0",
                order: "lower(document ->> 'name'), id",
                follows: "(lower(document ->> 'name'), id) >
                    (SELECT lower(document ->> 'name'), id FROM endpoints WHERE tenant = $1 AND id = $3)",
            },
        }
    }
}

/// SQL for a page. Its parameters are the tenant; time, id and rank of the last endpoint of the previous page; and the limit.
fn page_sql(order: EndpointOrder) -> String {
    let Order { rank, order, follows } = Order::of(order);
    format!(
        "SELECT {COLUMNS}, rank, found, c.successes, c.failures, c.failed_deliveries
         FROM (SELECT *, count(*) OVER () AS found,
                      sum({BYTES}) OVER (ORDER BY {order}) - {BYTES} AS bytes_before FROM (
                   SELECT * FROM (
                       SELECT e.*, {rank} AS rank FROM endpoints e LEFT JOIN endpoint_health h ON h.endpoint = e.id
                       WHERE e.tenant = $1 AND e.deleted_at IS NULL) ranked
                   WHERE $2::timestamptz IS NULL OR $4::integer IS NULL OR {follows}
                   ORDER BY {order} LIMIT $5) wanted) e
         CROSS JOIN LATERAL (SELECT coalesce(sum(successes), 0)::bigint AS successes,
                                    coalesce(sum(failures), 0)::bigint AS failures,
                                    coalesce(sum(failed_deliveries), 0)::bigint AS failed_deliveries
                             FROM endpoint_hours WHERE endpoint = e.id) c
         WHERE e.bytes_before < {PAGE_BYTES_MAX} ORDER BY {order}"
    )
}

impl ConfigStore {
    /// Returns a page of a tenant's endpoints in this order. A page ends early once its documents have [`PAGE_BYTES_MAX`]
    /// bytes. An endpoint whose rank or name changes between two pages may be in both pages or in neither.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::InvalidCursor`].
    pub async fn list_endpoints(
        &self,
        tenant: TenantId,
        order: EndpointOrder,
        page: &PageRequest,
    ) -> Result<EndpointList, StoreError> {
        let (at, place) = page.after::<Place>()?;
        let (after, rank) = place.map(|place| (place.id, place.rank)).unzip();
        let client = self.0.client().await?;
        let head = client
            .query_opt(
                "SELECT limits, (SELECT count(*) FROM endpoints e WHERE e.tenant = t.id AND e.deleted_at IS NULL) AS usage
                 FROM tenants t WHERE id = $1 AND deleted_at IS NULL",
                &[&tenant.0],
            )
            .await?
            .ok_or(StoreError::NotFound { what: "tenant" })?;
        let limits: TenantLimits = head.col("limits")?;
        let rows = client.query(&page_sql(order), &[&tenant.0, &at, &after, &rank, &page.fetch()]).await?;
        let found = found(&rows)?;
        let cursor = |Ranked(rank, summary): &Ranked| {
            let place = Place { rank: *rank, id: summary.endpoint.id.0 };
            Cursor::of(summary.endpoint.created_at, place)
        };
        let page = Page::cut(read_all(rows)?, page, found, cursor);
        let items = page.items.into_iter().map(|Ranked(_, summary)| summary).collect();
        let usage = head.col("usage")?;
        Ok(EndpointList { items, next_cursor: page.next_cursor, usage, limit: limits.endpoints() })
    }
}
