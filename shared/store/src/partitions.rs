//! Daily partitions of the history: created ahead, dropped by age.
//!
//! There is no default partition: [`crate::record`] skips and counts rows whose day has no partition. A partition is created as
//! a separate table and then attached, so that writers never wait. A partition is detached concurrently before it is dropped. A
//! crash or a timeout may leave a partition half detached; the next call finishes detaching it.
//!
//! Creating partitions waits for no reader, and a recorder needs it when it starts. Dropping a partition waits for every
//! transaction that may still read it (`pg_dump`, a report), so it is a separate call with its own advisory lock and timeout.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use postrider_model::limits::{ATTRIBUTE_VALUES_DAYS, EVENT_ID_DAYS_AFTER_RETENTION};
use postrider_model::time::Day;
use tokio_postgres::Client;

use crate::claims;
use crate::error::StoreError;
use crate::locks::{CREATION_LOCK, RETENTION_LOCK};
use crate::pool::Driver;
use crate::retention::delete_expired;
use crate::sql::{Date, RowExt, Ts};
use crate::store::{Core, RecordStore};

/// Number of days after today for which partitions are created.
pub const DAYS_AHEAD: i32 = 3;

/// Lock timeout for creating a partition.
const CREATION_LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the cache remembers that a partition is missing.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// Interventions older than this number of days concern no pending delivery, because deliveries expire after 7 days. The number
/// is less than [`EVENT_ID_DAYS_AFTER_RETENTION`], so that an intervention is deleted before its event's id can be used again.
const INTERVENTION_DAYS: i32 = 9;

/// The partitioned tables with their fill factors. Only rows of deliveries are updated, so only their pages have free space.
const TABLES: [(&str, u8); 4] = [("events", 100), ("decisions", 100), ("deliveries", 50), ("attempts", 100)];

/// The result of creating or dropping partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maintained {
    /// Partitions of these days were created or dropped.
    Days(Vec<Day>),
    /// Another process is creating or dropping partitions, so nothing was done.
    Busy,
}

/// The oldest open transaction of this database, except that of the query. Dropping a partition may be waiting for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestTransaction {
    /// The process id of its backend, for `pg_terminate_backend`.
    pub pid: i32,
    /// Its client's `application_name`.
    pub application: String,
    /// Its database user.
    pub user: String,
    /// How long it has been open.
    pub open_for: Duration,
}

/// A cache of the days that have partitions in every table.
#[derive(Debug, Default)]
pub(crate) struct KnownPartitions(RwLock<Known>);

#[derive(Debug, Default, Clone)]
struct Known {
    days: BTreeSet<Day>,
    read_at: Option<Instant>,
}

impl KnownPartitions {
    /// Which of `days` have partitions. Queries the database if a day is not cached and the last query is not recent.
    pub(crate) async fn present(&self, client: &Client, days: &BTreeSet<Day>) -> Result<BTreeSet<Day>, StoreError> {
        let known = self.0.read().clone();
        let fresh = known.read_at.is_some_and(|at| at.elapsed() < MISSING_FOR);
        if fresh || (known.read_at.is_some() && days.is_subset(&known.days)) {
            return Ok(days.intersection(&known.days).copied().collect());
        }
        let found = attached_days(client).await?;
        let present = days.intersection(&found).copied().collect();
        *self.0.write() = Known { days: found, read_at: Some(Instant::now()) };
        Ok(present)
    }

    /// Clears the cache after partitions were created or dropped.
    pub(crate) fn forget(&self) {
        *self.0.write() = Known::default();
    }
}

/// A partition in PostgreSQL's catalog.
struct Partition {
    table: &'static str,
    day: Day,
    attached: bool,
    detaching: bool,
}

fn name(table: &str, day: Day) -> String {
    format!("{table}_{}", day.date().strftime("%Y%m%d"))
}

async fn partitions(client: &Client) -> Result<Vec<Partition>, StoreError> {
    let names: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    // Matches only names in the format of this module, so that other tables in the schema are not touched.
    let rows = client
        .query(
            "SELECT m[1] AS parent, to_date(m[2], 'YYYYMMDD') AS day,
                    i.inhparent IS NOT NULL AS attached, coalesce(i.inhdetachpending, false) AS detaching
             FROM pg_class c
             CROSS JOIN LATERAL regexp_match(c.relname, '^([a-z]+)_([0-9]{8})$') AS m
             LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
             WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND m[1] = ANY($1)",
            &[&names],
        )
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let parent: String = row.col("parent")?;
        let Some((table, _)) = TABLES.iter().find(|(table, _)| *table == parent) else { continue };
        found.push(Partition {
            table,
            day: row.col("day")?,
            attached: row.col("attached")?,
            detaching: row.col("detaching")?,
        });
    }
    Ok(found)
}

async fn attached_days(client: &Client) -> Result<BTreeSet<Day>, StoreError> {
    let mut tables_of: BTreeMap<Day, usize> = BTreeMap::new();
    for partition in partitions(client).await?.iter().filter(|p| p.attached && !p.detaching) {
        *tables_of.entry(partition.day).or_default() += 1;
    }
    Ok(tables_of.into_iter().filter(|(_, tables)| *tables == TABLES.len()).map(|(day, _)| day).collect())
}

async fn create(client: &Client, table: &str, fill: u8, day: Day) -> Result<(), StoreError> {
    let partition = name(table, day);
    let next = day.plus_days(1);
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {partition} (LIKE {table} INCLUDING ALL) WITH (fillfactor = {fill});
             ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ('{day}') TO ('{next}')"
        ))
        .await?;
    Ok(())
}

/// Creates the missing partitions for the days from yesterday to [`DAYS_AHEAD`] days after `today`.
pub(crate) async fn create_ahead(client: &Client, today: Day) -> Result<Vec<Day>, StoreError> {
    let there: BTreeSet<(&str, Day)> =
        partitions(client).await?.iter().filter(|p| p.attached).map(|p| (p.table, p.day)).collect();
    let mut created = BTreeSet::new();
    for ahead in -1..=DAYS_AHEAD {
        let day = today.plus_days(ahead);
        for (table, fill) in TABLES {
            if !there.contains(&(table, day)) {
                create(client, table, fill, day).await?;
                created.insert(day);
            }
        }
    }
    Ok(created.into_iter().collect())
}

async fn drop_before(client: &Client, oldest_kept: Day) -> Result<Vec<Day>, StoreError> {
    let mut dropped = BTreeSet::new();
    let mut expired: Vec<Partition> = partitions(client).await?;
    expired.retain(|partition| partition.day < oldest_kept);
    // While one partition of a table is half detached, no other partition can be detached. So half-detached partitions come
    // first, then the oldest.
    expired.sort_by_key(|partition| (!partition.detaching, partition.day));
    for partition in &expired {
        let (table, child) = (partition.table, name(partition.table, partition.day));
        // `DETACH … CONCURRENTLY` cannot run in a transaction, so each statement is a separate call.
        if partition.detaching {
            client.batch_execute(&format!("ALTER TABLE {table} DETACH PARTITION {child} FINALIZE")).await?;
        } else if partition.attached {
            client.batch_execute(&format!("ALTER TABLE {table} DETACH PARTITION {child} CONCURRENTLY")).await?;
        }
        client.batch_execute(&format!("DROP TABLE {child}")).await?;
        dropped.insert(partition.day);
    }
    Ok(dropped.into_iter().collect())
}

async fn delete_old_rows(client: &Client, today: Day, oldest_kept: Day) -> Result<(), StoreError> {
    let before = Ts(oldest_kept.start());
    client.execute("DELETE FROM dead_letters WHERE received_at < $1", &[&before]).await?;
    client.execute("DELETE FROM dead_letter_days WHERE day < $1", &[&Date(oldest_kept)]).await?;
    for (table, start) in [
        ("endpoint_minutes", "minute"),
        ("endpoint_hours", "hour"),
        ("endpoint_days", "day"),
        ("tenant_hours", "hour"),
        ("endpoint_failures", "hour"),
        ("endpoint_failure_days", "day"),
        ("tenant_failures", "hour"),
    ] {
        client.execute(&format!("DELETE FROM {table} WHERE {start} < $1"), &[&before]).await?;
    }
    client.execute("DELETE FROM audits WHERE ran_at < $1", &[&before]).await?;
    let numbers = "WITH gone AS (DELETE FROM ingest_numbers WHERE reported_at < $1 RETURNING instance)
                   DELETE FROM ingest_numbers_excused e USING gone WHERE e.instance = gone.instance";
    client.execute(numbers, &[&before]).await?;
    let forgotten = Date(today.plus_days(-ATTRIBUTE_VALUES_DAYS));
    client.execute("DELETE FROM attribute_values WHERE day <= $1", &[&forgotten]).await?;
    // The deliveries of a replay are in the partition of the day on which the replay was created.
    client.execute("DELETE FROM replays WHERE created_at < $1", &[&before]).await?;
    let oldest = Ts(today.plus_days(-INTERVENTION_DAYS).start());
    client.execute("DELETE FROM interventions WHERE created_at < $1", &[&oldest]).await?;
    claims::forget_before(client, oldest_kept.plus_days(-EVENT_ID_DAYS_AFTER_RETENTION)).await?;
    delete_expired(client, oldest_kept).await
}

impl RecordStore {
    /// Creates the missing partitions for the days from yesterday to [`DAYS_AHEAD`] days after `today`. Waits for no reader.
    ///
    /// # Errors
    /// An error of the database. Call again later.
    pub async fn create_partitions(&self, today: Day) -> Result<Maintained, StoreError> {
        let Some((client, _driver)) = locked(&self.0, CREATION_LOCK, CREATION_LOCK_TIMEOUT).await? else {
            return Ok(Maintained::Busy);
        };
        let created = create_ahead(&client, today).await?;
        if !created.is_empty() {
            self.0.known_partitions().forget();
        }
        Ok(Maintained::Days(created))
    }

    /// Drops the partitions that are more than `retention_days` days before `today`. Also deletes dead letters, minutes, hours
    /// and replays of that age, and old interventions and attribute values. Each statement waits up to `lock_timeout` for
    /// readers of a partition. No rows are written to a partition that a timeout leaves half detached; a later call drops the
    /// partition.
    ///
    /// # Errors
    /// An error of the database; [`StoreError::is_lock_timeout`] if a reader blocked a statement. Call again later.
    pub async fn drop_partitions(
        &self,
        today: Day,
        retention_days: u32,
        lock_timeout: Duration,
    ) -> Result<Maintained, StoreError> {
        let Some((client, _driver)) = locked(&self.0, RETENTION_LOCK, lock_timeout).await? else {
            return Ok(Maintained::Busy);
        };
        let keep = i32::try_from(retention_days).unwrap_or(i32::MAX);
        let oldest_kept = today.plus_days(keep.saturating_neg());
        // Deletes rows first, because dropping a partition fails while a transaction still reads it.
        delete_old_rows(&client, today, oldest_kept).await?;
        let dropped = drop_before(&client, oldest_kept).await?;
        if !dropped.is_empty() {
            self.0.known_partitions().forget();
        }
        Ok(Maintained::Days(dropped))
    }

    /// Returns the day of the oldest partition, attached or not; `None` if there is none.
    pub async fn oldest_partition(&self) -> Result<Option<Day>, StoreError> {
        let client = self.0.client().await?;
        Ok(partitions(&client).await?.iter().map(|partition| partition.day).min())
    }

    /// Returns the oldest open transaction of this database, except that of the query itself.
    pub async fn oldest_transaction(&self) -> Result<Option<OldestTransaction>, StoreError> {
        let client = self.0.client().await?;
        let row = client
            .query_opt(
                "SELECT pid, application_name, coalesce(usename::text, '') AS usename,
                        extract(epoch FROM now() - xact_start)::float8 AS open_s
                 FROM pg_stat_activity
                 WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
                 ORDER BY xact_start LIMIT 1",
                &[],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let open_s: f64 = row.col("open_s")?;
        Ok(Some(OldestTransaction {
            pid: row.col("pid")?,
            application: row.col("application_name")?,
            user: row.col("usename")?,
            open_for: Duration::try_from_secs_f64(open_s).unwrap_or_default(),
        }))
    }

    /// The days that have partitions in every table.
    pub async fn partition_days(&self) -> Result<Vec<Day>, StoreError> {
        let client = self.0.client().await?;
        Ok(attached_days(&client).await?.into_iter().collect())
    }
}

/// Opens a connection that holds an advisory lock until the connection closes. Its lock timeout is `timeout`. Returns `None` if
/// another process holds the advisory lock.
async fn locked(store: &Core, lock: i64, timeout: Duration) -> Result<Option<(Client, Driver)>, StoreError> {
    let (client, driver) = store.dedicated().await?;
    client.batch_execute(&format!("SET lock_timeout = {}", timeout.as_millis().max(1))).await?;
    let locked: bool = client.query_one("SELECT pg_try_advisory_lock($1)", &[&lock]).await?.try_get(0)?;
    Ok(locked.then_some((client, driver)))
}
