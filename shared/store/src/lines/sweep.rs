//! Releases what no message releases, and returns the runs that a crash left unpublished.

use uuid::Uuid;

use super::advance::release;
use super::{InLines, ReleasedRun, columns, execute, lock, runs, use_indexes};
use crate::error::StoreError;
use crate::sql::RowExt;
use crate::store::LineStore;
use postrider_wire::messages::Line;

/// Maximum number of lines that one sweep releases.
const LINES_MAX: i64 = 1_000;
/// Maximum number of unpublished runs that one sweep returns.
const RUNS_MAX: i64 = 200;

/// Takes the lease, unless another process has it.
const LEASE: &str = "\
UPDATE ordered_sequencer SET owner = $1, until = clock_timestamp() + interval '10 seconds'
WHERE owner = $1 OR until < clock_timestamp()";

/// Marks runs as published.
const PUBLISHED: &str = "\
UPDATE ordered_lines line SET published = true
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS confirmed (endpoint, key, run)
WHERE line.endpoint = confirmed.endpoint AND line.key = confirmed.key AND line.run = confirmed.run";

const CLEAR_BARRIERS: &str = "\
UPDATE ordered_endpoints e SET barrier = NULL
WHERE barrier IS NOT NULL
    AND NOT EXISTS (SELECT FROM ordered_deliveries d WHERE d.endpoint = e.endpoint AND d.position <= e.barrier)";

/// Whether the endpoint of a held line is off (neither active nor paused). Its deliveries then end with the usual reason, so
/// the line needs no decision of a person.
const IS_OFF: &str = "\
line.held IS NOT NULL AND NOT EXISTS (
    SELECT FROM endpoints e WHERE e.id = line.endpoint AND e.deleted_at IS NULL AND e.status IN (0, 3))";

/// Lines without a current run. Leaves out lines behind a barrier: they may be many and wait for hours, and others would wait
/// with them.
const IDLE: &str = "\
SELECT line.endpoint, line.key FROM ordered_lines line
LEFT JOIN ordered_endpoints e ON e.endpoint = line.endpoint
WHERE line.run_upto IS NULL AND line.held IS NULL AND (e.barrier IS NULL OR EXISTS (
    SELECT FROM ordered_deliveries d
    WHERE d.endpoint = line.endpoint AND d.key = line.key AND d.position <= e.barrier))
LIMIT $1";

/// The runs that were released more than 10 s ago and are neither published nor in `$1`.
const UNPUBLISHED: &str = "\
SELECT late.endpoint, late.key, late.run, d.delivery, d.task, d.body
FROM (
    SELECT endpoint, key, run, run_upto FROM ordered_lines
    WHERE NOT published AND held IS NULL AND run_upto IS NOT NULL AND run <> ALL($1)
        AND released_at < clock_timestamp() - interval '10 seconds'
    ORDER BY released_at LIMIT $2
) late
JOIN ordered_deliveries d ON d.endpoint = late.endpoint AND d.key = late.key AND d.position <= late.run_upto
ORDER BY d.position";

impl LineStore {
    /// Releases the next run of lines that no message released: after a cancel, after a person's decision about a held line, and
    /// at the end of a barrier. Returns these runs, and the runs that were released more than 10 s ago and not published. Returns
    /// `None` if another process sequences; then it only marks the runs in `confirmed`.
    ///
    /// `confirmed`: runs that the broker confirmed. `publishing`: the numbers of the runs that this process is publishing.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed.
    pub async fn sweep(
        &self,
        owner: Uuid,
        confirmed: &[(Line, i64)],
        publishing: &[i64],
    ) -> Result<Option<Vec<ReleasedRun>>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        let is_leader = execute(&tx, LEASE, &[&owner]).await? > 0;
        use_indexes(&tx).await?;
        if !is_leader && !confirmed.is_empty() {
            lock(&tx).await?;
        }
        if !confirmed.is_empty() {
            let (endpoints, keys) = columns(confirmed.iter().map(|(line, _)| line));
            let numbers: Vec<i64> = confirmed.iter().map(|(_, run)| *run).collect();
            execute(&tx, PUBLISHED, &[&endpoints, &keys, &numbers]).await?;
        }
        if !is_leader {
            tx.commit().await?;
            return Ok(None);
        }
        let statement = tx.prepare_cached(UNPUBLISHED).await?;
        let late = runs(&tx, &tx.query(&statement, &[&publishing, &RUNS_MAX]).await?).await?;
        execute(&tx, CLEAR_BARRIERS, &[]).await?;
        let given_up = format!(
            "DELETE FROM ordered_deliveries d USING ordered_lines line WHERE d.delivery = line.held AND {IS_OFF}"
        );
        execute(&tx, &given_up, &[]).await?;
        let freed =
            format!("UPDATE ordered_lines line SET held = NULL, held_at = NULL, run_upto = NULL WHERE {IS_OFF}");
        execute(&tx, &freed, &[]).await?;
        let empty = "DELETE FROM ordered_lines line WHERE run_upto IS NULL AND held IS NULL AND NOT EXISTS (
                         SELECT FROM ordered_deliveries d WHERE d.endpoint = line.endpoint AND d.key = line.key)";
        execute(&tx, empty, &[]).await?;
        let rows = tx.query(&tx.prepare_cached(IDLE).await?, &[&LINES_MAX]).await?;
        let line = |row: &tokio_postgres::Row| Ok(Line { endpoint: row.col("endpoint")?, key: row.col("key")? });
        let lines = rows.iter().map(line).collect::<Result<Vec<Line>, StoreError>>()?;
        let (endpoints, keys) = columns(&lines);
        let mut released = release(&tx, &endpoints, &keys).await?;
        tx.commit().await?;
        released.extend(late);
        Ok(Some(released))
    }

    /// The numbers of deliveries in lines, by tenant.
    pub async fn in_lines(&self) -> Result<Vec<InLines>, StoreError> {
        let sql = "SELECT tenant, count(*) AS deliveries, sum(octet_length(body))::bigint AS bytes
                   FROM ordered_deliveries GROUP BY tenant";
        self.0.fetch_all(sql, &[]).await
    }
}
