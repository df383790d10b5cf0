//! Recent values of event attributes with counts, for choosing filters.
//!
//! The recorder counts values in memory ([`AttributeTally`]) and adds the counts to a daily table at intervals, so that writing
//! the history does not wait for the counts.
//!
//! # What it promises
//! A value appears soon. The limits are 1,000 values of an attribute and 10,000 of a tenant a day, and 50,000 between two
//! writes. At a limit, earlier values are kept; of the values in one write, the most frequent are kept.
//!
//! # What it does not do
//! Counts are approximate: a crash loses counts that are not written, and an event that is reported twice counts twice. The
//! history is exact.

use std::collections::HashMap;

use bytes::Bytes;
use postrider_model::ids::TenantId;
use postrider_model::limits::{ATTRIBUTE_VALUES_DAYS, ATTRIBUTE_VALUES_MAX, ATTRIBUTE_VALUES_PER_TENANT_MAX};
use postrider_model::time::{Day, UnixMillis};
use postrider_wire::messages::AcceptedEvent;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::{Date, Ts, clean, from_row, signed};
use crate::store::{History, RecordStore};

/// Maximum number of values in memory between two writes.
const TALLY_MAX: usize = 50_000;

/// The key of a count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    tenant: TenantId,
    day: Day,
    name: Box<str>,
    value: Box<str>,
}

/// Counts that are not in the database yet.
#[derive(Debug, Default)]
pub struct AttributeTally {
    counts: HashMap<Key, (u64, UnixMillis)>,
    /// Number of values of each tenant, so that one tenant cannot use up the limit of all tenants.
    of_tenant: HashMap<TenantId, u32>,
}

impl AttributeTally {
    /// Counts the values of events, up to the limits.
    pub fn of(events: &[(AcceptedEvent, Bytes)]) -> Self {
        let mut tally = Self::default();
        for (event, _) in events {
            for (name, value) in &event.attributes.0 {
                let (tenant, day) = (event.tenant, event.event_day);
                let key = Key { tenant, day, name: clean(name).into(), value: clean(value).into() };
                tally.add(key, 1, event.accepted_at);
            }
        }
        tally
    }

    /// Adds the counts of `other`, such as counts that could not be written.
    pub fn merge(&mut self, other: Self) {
        for (key, (events, at)) in other.counts {
            self.add(key, events, at);
        }
    }

    /// Whether there are no counts.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn add(&mut self, key: Key, events: u64, at: UnixMillis) {
        if let Some((count, last)) = self.counts.get_mut(&key) {
            (*count, *last) = (*count + events, at.max(*last));
            return;
        }
        let of_tenant = self.of_tenant.entry(key.tenant).or_default();
        if self.counts.len() < TALLY_MAX && *of_tenant < ATTRIBUTE_VALUES_PER_TENANT_MAX {
            *of_tenant += 1;
            self.counts.insert(key, (events, at));
        }
    }
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeValue {
    /// The value.
    pub value: String,
    /// Approximate number of events with this value.
    pub events: u64,
    /// When the last of these events was accepted.
    pub seen_at: UnixMillis,
}

from_row!(AttributeValue { value, events, seen_at });

/// Adds to the counts of existing values, and inserts new values up to the limits. Rows are written sorted by key, so that
/// recorders cannot deadlock.
const ADD: &str = "\
WITH seen AS (
    SELECT unnest($1::uuid[]) AS tenant, unnest($2::date[]) AS day, unnest($3::text[]) AS name, unnest($4::text[]) AS value,
        unnest($5::bigint[]) AS events, unnest($6::timestamptz[]) AS seen_at
), new AS (
    SELECT s.*, row_number() OVER (PARTITION BY tenant, day, name ORDER BY events DESC, value) AS of_name,
        row_number() OVER (PARTITION BY tenant, day ORDER BY events DESC, name, value) AS of_tenant
    FROM seen s
    WHERE NOT EXISTS (SELECT FROM attribute_values v
        WHERE v.tenant = s.tenant AND v.day = s.day AND v.name = s.name AND v.value = s.value)
), names AS (
    SELECT tenant, day, name, (SELECT count(*) FROM (SELECT FROM attribute_values v
        WHERE v.tenant = n.tenant AND v.day = n.day AND v.name = n.name LIMIT $7) AS kept) AS there
    FROM new n GROUP BY tenant, day, name
), tenants AS (
    SELECT tenant, day, (SELECT count(*) FROM (SELECT FROM attribute_values v
        WHERE v.tenant = n.tenant AND v.day = n.day LIMIT $8) AS kept) AS there
    FROM new n GROUP BY tenant, day
), refused AS (
    SELECT tenant, day, name, value FROM new JOIN names n USING (tenant, day, name) JOIN tenants t USING (tenant, day)
    WHERE n.there + of_name > $7 OR t.there + of_tenant > $8
)
INSERT INTO attribute_values AS v (tenant, day, name, value, events, seen_at)
SELECT tenant, day, name, value, events, seen_at FROM seen
WHERE (tenant, day, name, value) NOT IN (SELECT tenant, day, name, value FROM refused)
ORDER BY tenant, day, name, value
ON CONFLICT (tenant, day, name, value) DO UPDATE SET
    events = v.events + excluded.events, seen_at = greatest(v.seen_at, excluded.seen_at)";

impl RecordStore {
    /// Adds the counts to the table.
    ///
    /// # Errors
    /// An error of the database. Nothing was added, unless the connection broke during the commit: keep the counts
    /// ([`AttributeTally::merge`]).
    pub async fn add_attribute_values(&self, tally: &AttributeTally) -> Result<(), StoreError> {
        if tally.is_empty() {
            return Ok(());
        }
        let (mut tenants, mut days, mut names, mut values): (Vec<Uuid>, Vec<Date>, Vec<&str>, Vec<&str>) =
            Default::default();
        let (mut events, mut seen_at): (Vec<i64>, Vec<Ts>) = Default::default();
        for (key, (count, at)) in &tally.counts {
            tenants.push(key.tenant.0);
            days.push(Date(key.day));
            names.push(&key.name);
            values.push(&key.value);
            events.push(signed(*count));
            seen_at.push(Ts(*at));
        }
        let (of_name, of_tenant) = (i64::from(ATTRIBUTE_VALUES_MAX), i64::from(ATTRIBUTE_VALUES_PER_TENANT_MAX));
        let client = self.0.client().await?;
        let add = client.prepare_cached(ADD).await?;
        client.execute(&add, &[&tenants, &days, &names, &values, &events, &seen_at, &of_name, &of_tenant]).await?;
        Ok(())
    }
}

impl History {
    /// Returns the values of an attribute in a tenant's events of the last [`ATTRIBUTE_VALUES_DAYS`] days, most frequent first.
    pub async fn attribute_values(
        &self,
        tenant: TenantId,
        name: &str,
        today: Day,
        limit: u32,
    ) -> Result<Vec<AttributeValue>, StoreError> {
        let sql = "SELECT value, sum(events)::bigint AS events, max(seen_at) AS seen_at FROM attribute_values
                   WHERE tenant = $1 AND day > $2 AND name = $3
                   GROUP BY value ORDER BY 2 DESC, value LIMIT $4";
        let before = Date(today.plus_days(-ATTRIBUTE_VALUES_DAYS));
        self.0.fetch_all(sql, &[&tenant.0, &before, &name, &i64::from(limit)]).await
    }
}
