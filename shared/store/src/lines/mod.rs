//! Lines: the deliveries of ordered endpoints, until they end. A line is the deliveries of one endpoint with one key.
//!
//! A line has at most one current *run*: its first deliveries, which a dispatcher attempts one after the other. The next run is
//! released when no delivery of the current run is left. So no two deliveries of a line are attempted at the same time, and the
//! order of the first attempts is the order of the positions.
//!
//! A run is committed before it is published, and marked as published after the broker confirmed it. A run that is not marked
//! is published again; a crash between these steps repeats a run and loses none.
//!
//! Every change locks one row first, so there is one writer at a time.

mod advance;
mod people;
mod sweep;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryTask, Enqueued, Line, Run, RunReport, Turn};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::{RowExt, from_row};

pub(crate) use people::{TurnOf, remove_ended, take_place, turn_of};

/// Messages to apply to lines.
#[derive(Debug, Default)]
pub struct LineChanges {
    /// Deliveries to add at the ends of their lines, in order, with their bodies. A delivery that is already in a line is left
    /// out.
    pub enqueued: Vec<(Enqueued, Bytes)>,
    /// Reports of dispatchers.
    pub reports: Vec<RunReport>,
}

/// A run to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleasedRun {
    /// Its line.
    pub line: Line,
    /// Its number.
    pub run: i64,
    /// Its deliveries in order, with their bodies.
    pub deliveries: Vec<(DeliveryTask, Bytes)>,
}

impl ReleasedRun {
    /// The message of the run: its head and its payload.
    pub fn into_message(self) -> (Run, Bytes) {
        Run::new(Turn { key: self.line.key, run: self.run }, self.deliveries)
    }
}

/// A tenant's deliveries in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLines {
    /// The tenant.
    pub tenant: TenantId,
    /// Number of deliveries.
    pub deliveries: u64,
    /// Number of bytes of their bodies.
    pub bytes: u64,
}

from_row!(InLines { tenant, deliveries, bytes });

/// A line that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLine {
    /// The key.
    pub key: String,
    /// The delivery that failed for good.
    pub held: DeliveryId,
    /// Since when it waits.
    pub held_at: UnixMillis,
    /// Number of deliveries behind the failed one.
    pub waiting: u64,
}

from_row!(HeldLine { key, held, held_at, waiting });

/// The place of a delivery in its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceInLine {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The key of its line.
    pub key: String,
    /// The first delivery of its line, which may be this delivery.
    pub first: DeliveryId,
    /// Number of deliveries before it.
    pub ahead: u64,
    /// Number of deliveries behind it.
    pub behind: u64,
    /// Whether the line is held.
    pub is_held: bool,
}

from_row!(PlaceInLine { delivery, key, first, ahead, behind, is_held });

/// Locks the lines for this transaction.
async fn lock(tx: &impl GenericClient) -> Result<(), StoreError> {
    tx.query_one("SELECT 1 FROM ordered_sequencer FOR UPDATE", &[]).await?;
    Ok(())
}

/// The lines of some deliveries as parameters of a statement: endpoints and keys.
fn columns<'a>(lines: impl IntoIterator<Item = &'a Line>) -> (Vec<Uuid>, Vec<&'a str>) {
    lines.into_iter().map(|line| (line.endpoint.0, line.key.as_str())).unzip()
}

/// Reads runs from rows that are sorted by position, with `endpoint`, `key`, `run`, `task` and `body`.
fn runs(rows: &[Row]) -> Result<Vec<ReleasedRun>, StoreError> {
    let mut runs: Vec<ReleasedRun> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for row in rows {
        let run: i64 = row.col("run")?;
        let task: &str = row.try_get("task")?;
        let task: DeliveryTask = serde_json::from_str(task)
            .map_err(|error| StoreError::Unreadable { what: "ordered_deliveries.task", detail: error.to_string() })?;
        let body: &[u8] = row.try_get("body")?;
        let index = match at.get(&run) {
            Some(index) => *index,
            None => {
                let line = Line { endpoint: row.col::<EndpointId>("endpoint")?, key: row.col("key")? };
                at.insert(run, runs.len());
                runs.push(ReleasedRun { line, run, deliveries: Vec::new() });
                runs.len() - 1
            }
        };
        runs[index].deliveries.push((task, Bytes::copy_from_slice(body)));
    }
    Ok(runs)
}

/// Runs a statement whose plan is kept for the connection.
async fn execute(
    tx: &Transaction<'_>,
    sql: &str,
    params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, StoreError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.execute(&statement, params).await?)
}
