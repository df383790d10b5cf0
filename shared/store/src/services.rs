//! Reports of running processes, and the result of the last audit, for the operator's page.
//!
//! A report is a row, not a message. Every API replica can therefore read all reports immediately after its start, and see when
//! a process last reported even while the broker is away.

use std::collections::BTreeMap;

use postrider_model::time::UnixMillis;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::error::StoreError;
use crate::sql::{FromRow, RowExt, Ts, from_row};
use crate::store::{History, ServiceRegistry};

/// A process's report about itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceReport {
    /// The unique name of the process.
    pub instance: String,
    /// The command that it runs.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it started, by its own clock.
    pub started_at: UnixMillis,
    /// Mean number of members in a message, by queue, over the messages that the process consumed recently.
    pub members_per_message: BTreeMap<String, f64>,
    /// Mean number of bytes of a message, by queue, over the same messages.
    pub bytes_per_message: BTreeMap<String, f64>,
}

/// A process that reported within the last day.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// Its last report.
    pub report: ServiceReport,
    /// When it last reported, by the database's clock.
    pub seen_at: UnixMillis,
}

/// The result of an audit.
#[derive(Debug, Clone, PartialEq)]
pub struct LastAudit {
    /// When it ran.
    pub ran_at: UnixMillis,
    /// Whether every equation holds and nothing is missing.
    pub conserved: bool,
    /// The whole report, which `postrider audit` prints too.
    pub report: serde_json::Value,
}

from_row!(LastAudit { ran_at, conserved, report });

from_row!(ServiceReport { instance, name, version, started_at, members_per_message, bytes_per_message });

impl FromRow for ServiceStatus {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { report: ServiceReport::read(row)?, seen_at: row.col("seen_at")? })
    }
}

impl LastAudit {
    /// The number of missing rows.
    pub fn gaps(&self) -> u64 {
        self.report["gaps_total"].as_u64().unwrap_or_default()
    }

    /// The number of unbalanced days, summed over tenants, including days without a listed gap.
    pub fn unbalanced(&self) -> u64 {
        let days = self.report["tenants"].as_array().into_iter().flatten();
        days.filter(|day| day["conserved"] == false).count() as u64
    }
}

/// Mean bytes of a message, by queue, over the reports of the queue's consumers.
pub fn bytes_per_message(services: &[ServiceStatus]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (queue, bytes) in services.iter().flat_map(|seen| &seen.report.bytes_per_message) {
        let (sum, count) = sums.entry(queue).or_default();
        (*sum, *count) = (*sum + bytes, *count + 1.0);
    }
    sums.into_iter().map(|(queue, (sum, count))| (queue.to_owned(), sum / count)).collect()
}

impl ServiceRegistry {
    /// Replaces the report of a process. Also deletes other reports older than a day.
    pub async fn report(&self, report: &ServiceReport) -> Result<(), StoreError> {
        let sql = "WITH swept AS (DELETE FROM services WHERE seen_at < now() - interval '1 day' AND instance <> $1)
            INSERT INTO services (instance, name, version, started_at, seen_at, members_per_message, bytes_per_message)
            VALUES ($1, $2, $3, $4, now(), $5, $6)
            ON CONFLICT (instance) DO UPDATE SET seen_at = now(), members_per_message = excluded.members_per_message,
                bytes_per_message = excluded.bytes_per_message";
        let ServiceReport { instance, name, version, started_at, members_per_message, bytes_per_message } = report;
        let (members, bytes) = (Json(members_per_message), Json(bytes_per_message));
        self.0.execute(sql, &[instance, name, version, &Ts(*started_at), &members, &bytes]).await?;
        Ok(())
    }

    /// Deletes the report of a process that shuts down cleanly.
    pub async fn stopped(&self, instance: &str) -> Result<(), StoreError> {
        self.0.execute("DELETE FROM services WHERE instance = $1", &[&instance]).await?;
        Ok(())
    }

    /// The processes that reported within the last day, sorted by name, then by start.
    pub async fn list(&self) -> Result<Vec<ServiceStatus>, StoreError> {
        let sql = format!(
            "SELECT {}, seen_at FROM services WHERE seen_at >= now() - interval '1 day' ORDER BY name, started_at, instance",
            ServiceReport::COLUMNS
        );
        self.0.fetch_all(&sql, &[]).await
    }
}

impl History {
    /// The last audit; `None` if none has run.
    pub async fn last_audit(&self) -> Result<Option<LastAudit>, StoreError> {
        let sql = format!("SELECT {} FROM audits ORDER BY ran_at DESC LIMIT 1", LastAudit::COLUMNS);
        self.0.fetch_optional(&sql, &[]).await
    }
}
