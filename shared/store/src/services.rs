//! The processes that run, as they report themselves, and the last audit: what the operator's page is made of.
//!
//! Reports are rows rather than messages: every replica of the API reads the same ones, also just after it started, and they
//! say when a process was last heard of, also when it is the broker that is away.

use std::collections::BTreeMap;

use postrider_model::time::UnixMillis;
use tokio_postgres::types::Json;

use crate::error::StoreError;
use crate::sql::{RowExt, Ts};
use crate::store::{History, ServiceRegistry};

/// What a process says about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    /// Its own name among all processes.
    pub instance: String,
    /// The command that it runs.
    pub name: String,
    /// Its build.
    pub version: String,
    /// When it started, by its own clock.
    pub started_at: UnixMillis,
    /// Members of a message by queue, on average over those that it took lately.
    pub members_per_message: BTreeMap<String, f64>,
    /// Bytes of a message by queue, likewise.
    pub bytes_per_message: BTreeMap<String, f64>,
}

/// A process that was heard of within the last day.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// What it said.
    pub report: ServiceReport,
    /// When it said so last, by the database's clock.
    pub seen_at: UnixMillis,
}

/// An audit: whether everything that was accepted is accounted for.
#[derive(Debug, Clone, PartialEq)]
pub struct LastAudit {
    /// When it ran.
    pub ran_at: UnixMillis,
    /// Whether nothing is missing.
    pub conserved: bool,
    /// Its figures.
    pub report: serde_json::Value,
}

impl LastAudit {
    /// How many things were missing.
    pub fn gaps(&self) -> u64 {
        self.report["gaps_total"].as_u64().unwrap_or_default()
    }

    /// Days of tenants whose equations do not hold, also where no gap could be named.
    pub fn unbalanced(&self) -> u64 {
        let days = self.report["tenants"].as_array().into_iter().flatten();
        days.filter(|day| day["conserved"] == false).count() as u64
    }
}

/// Bytes of a message by queue: the mean of what those report that take its messages.
pub fn bytes_per_message(services: &[ServiceStatus]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (queue, bytes) in services.iter().flat_map(|seen| &seen.report.bytes_per_message) {
        let (sum, count) = sums.entry(queue).or_default();
        (*sum, *count) = (*sum + bytes, *count + 1.0);
    }
    sums.into_iter().map(|(queue, (sum, count))| (queue.to_owned(), sum / count)).collect()
}

impl ServiceRegistry {
    /// Writes a process's report, in the place of its last one; sweeps those of processes that are gone for a day.
    ///
    /// # Errors
    /// The database's.
    pub async fn report(&self, report: &ServiceReport) -> Result<(), StoreError> {
        let sql = "WITH swept AS (DELETE FROM services WHERE seen_at < now() - interval '1 day' AND instance <> $1)
            INSERT INTO services (instance, name, version, started_at, seen_at, members_per_message, bytes_per_message)
            VALUES ($1, $2, $3, $4, now(), $5, $6)
            ON CONFLICT (instance) DO UPDATE SET seen_at = now(), members_per_message = excluded.members_per_message,
                bytes_per_message = excluded.bytes_per_message";
        let ServiceReport { instance, name, version, started_at, members_per_message, bytes_per_message } = report;
        let (members, bytes) = (Json(members_per_message), Json(bytes_per_message));
        self.0.client().await?.execute(sql, &[instance, name, version, &Ts(*started_at), &members, &bytes]).await?;
        Ok(())
    }

    /// Takes the report of a process away that stops in order.
    ///
    /// # Errors
    /// The database's.
    pub async fn stopped(&self, instance: &str) -> Result<(), StoreError> {
        self.0.client().await?.execute("DELETE FROM services WHERE instance = $1", &[&instance]).await?;
        Ok(())
    }

    /// The processes that were heard of within the last day, by name and then by age.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(&self) -> Result<Vec<ServiceStatus>, StoreError> {
        let sql =
            "SELECT instance, name, version, started_at, seen_at, members_per_message, bytes_per_message FROM services
            WHERE seen_at >= now() - interval '1 day' ORDER BY name, started_at, instance";
        let read = |row: &tokio_postgres::Row| {
            let Json(members_per_message) = row.col("members_per_message")?;
            let Json(bytes_per_message) = row.col("bytes_per_message")?;
            let report = ServiceReport {
                instance: row.col("instance")?,
                name: row.col("name")?,
                version: row.col("version")?,
                started_at: row.at("started_at")?,
                members_per_message,
                bytes_per_message,
            };
            Ok(ServiceStatus { report, seen_at: row.at("seen_at")? })
        };
        self.0.client().await?.query(sql, &[]).await?.iter().map(read).collect()
    }
}

impl History {
    /// The last audit; `None` where none has run.
    ///
    /// # Errors
    /// The database's.
    pub async fn last_audit(&self) -> Result<Option<LastAudit>, StoreError> {
        let client = self.0.client().await?;
        let sql = "SELECT ran_at, conserved, report FROM audits ORDER BY ran_at DESC LIMIT 1";
        let Some(row) = client.query_opt(sql, &[]).await? else { return Ok(None) };
        let Json(report) = row.col("report")?;
        Ok(Some(LastAudit { ran_at: row.at("ran_at")?, conserved: row.col("conserved")?, report }))
    }
}
