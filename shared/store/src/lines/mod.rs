//! Lines: the deliveries of ordered endpoints, until they end. A line is the deliveries of one endpoint with one key.
//!
//! A line has at most one current *run*: its first deliveries, which a dispatcher attempts one after the other. The next run is
//! released when no delivery of the current run is left. So no two deliveries of a line are attempted at the same time, and the
//! order of the first attempts is the order of the positions.
//!
//! A run is committed before it is published, and marked as published after the broker confirmed it. A run that is not marked
//! is published again; a crash between these steps repeats a run and loses none.
//!
//! A message of a line can be lost, for example with the disk of the broker. `repair_lines` finds the lines
//! that therefore stand still.
//!
//! Every change locks one row first, so there is one writer at a time.

mod advance;
mod expiry;
mod people;
mod repair;
mod sweep;

use std::collections::HashMap;

use bytes::Bytes;
use deadpool_postgres::{GenericClient, Transaction};
use postrider_model::ids::{DeliveryId, EndpointId, TenantId};
use postrider_model::time::UnixMillis;
use postrider_wire::messages::{DeliveryTask, Enqueued, Line, Run, RunReport, Turn};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::{RowExt, from_row};

pub(crate) use people::{TurnOf, erase_held, free_replay, remove_ended, take_place, turn_of};

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

/// Makes the plans of this transaction use indexes. The plan of a prepared statement is kept. If it was made while the tables were
/// empty, it would read whole tables, and a burst would make each look-up slower than the one before.
async fn use_indexes(tx: &Transaction<'_>) -> Result<(), StoreError> {
    execute(tx, "SELECT set_config('enable_seqscan', 'off', true)", &[]).await?;
    Ok(())
}

/// Whether this process sequences. The lines are not locked.
async fn is_leader(tx: &Transaction<'_>, owner: Uuid) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT FROM ordered_sequencer WHERE owner = $1 AND until > clock_timestamp())";
    Ok(tx.query_one(sql, &[&owner]).await?.try_get(0)?)
}

/// The lines of some deliveries as parameters of a statement: endpoints and keys.
fn columns<'a>(lines: impl IntoIterator<Item = &'a Line>) -> (Vec<Uuid>, Vec<&'a str>) {
    lines.into_iter().map(|line| (line.endpoint.0, line.key.as_str())).unzip()
}

macro_rules! waits_for_its_turn {
    () => {
        "EXISTS (SELECT FROM ordered_deliveries l
    LEFT JOIN ordered_lines line ON line.endpoint = l.endpoint AND line.key = l.key
    WHERE l.delivery = id AND (line.run_upto IS NULL OR l.position > line.run_upto OR EXISTS (
        SELECT FROM ordered_deliveries ahead
        WHERE ahead.endpoint = l.endpoint AND ahead.key = l.key AND ahead.position < l.position)))"
    };
}

/// Whether the delivery `id` of the outer query waits for its turn in a line: others are before it, or its line has no current run
/// yet, because the order before an edit has not ended.
pub(crate) const WAITS_FOR_ITS_TURN: &str = waits_for_its_turn!();
/// The opposite of [`WAITS_FOR_ITS_TURN`].
pub(crate) const DOES_NOT_WAIT: &str = concat!("NOT ", waits_for_its_turn!());

/// Ends the current run of those of these lines that have no delivery of the run left. The sequencer releases their next run.
const FREE: &str = "\
UPDATE ordered_lines line SET run_upto = NULL, held = NULL, held_at = NULL
FROM unnest($1::uuid[], $2::text[]) AS touched (endpoint, key)
WHERE line.endpoint = touched.endpoint AND line.key = touched.key AND line.run_upto IS NOT NULL AND NOT EXISTS (
    SELECT FROM ordered_deliveries d
    WHERE d.endpoint = line.endpoint AND d.key = line.key AND d.position <= line.run_upto)";

/// Reads runs from rows that are sorted by position, with `endpoint`, `key`, `run`, `delivery`, `task` and `body`.
///
/// A delivery that this release cannot read leaves its line. It stays pending in the history, and the reconciler sends it later,
/// outside the order. Otherwise it would stop all lines.
async fn runs(tx: &Transaction<'_>, rows: &[Row]) -> Result<Vec<ReleasedRun>, StoreError> {
    let mut runs: Vec<ReleasedRun> = Vec::new();
    let mut at = HashMap::new();
    let (mut unreadable, mut lines) = (Vec::new(), Vec::new());
    for row in rows {
        let run: i64 = row.col("run")?;
        let line = Line { endpoint: row.col::<EndpointId>("endpoint")?, key: row.col("key")? };
        let task: DeliveryTask = match serde_json::from_str(row.try_get("task")?) {
            Ok(task) => task,
            Err(error) => {
                let delivery: DeliveryId = row.col("delivery")?;
                tracing::error!(delivery.id = %delivery, %error, "cannot read a delivery of a line; it leaves its line");
                unreadable.push(delivery.0);
                lines.push(line);
                continue;
            }
        };
        let body: &[u8] = row.try_get("body")?;
        let index = *at.entry(run).or_insert(runs.len());
        if index == runs.len() {
            runs.push(ReleasedRun { line, run, deliveries: Vec::new() });
        }
        runs[index].deliveries.push((task, Bytes::copy_from_slice(body)));
    }
    if !unreadable.is_empty() {
        execute(tx, "DELETE FROM ordered_deliveries WHERE delivery = ANY($1)", &[&unreadable]).await?;
        let (endpoints, keys) = columns(&lines);
        execute(tx, FREE, &[&endpoints, &keys]).await?;
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
