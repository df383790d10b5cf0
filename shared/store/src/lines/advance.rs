//! Applies messages to lines and releases the runs that follow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use deadpool_postgres::Transaction;
use postrider_model::ids::{DeliveryId, EndpointId};
use postrider_model::limits::{RUN_BYTES_MAX, RUN_DELIVERIES_MAX};
use postrider_wire::messages::{Enqueued, Line, RunReport};
use uuid::Uuid;

use super::{LineChanges, ReleasedRun, columns, execute, runs, use_indexes};
use crate::error::StoreError;
use crate::store::LineStore;

// The planner does not know how many lines a batch concerns, nor how many are idle. In these statements each line is looked up by
// its key (`OFFSET 0` keeps it so); a join in another order would compare every line with every message.

/// Takes or renews the lease of the process that sequences, and locks the lines. It does not matter who had the lease.
const LEASE: &str = "UPDATE ordered_sequencer SET owner = $1, until = clock_timestamp() + interval '10 seconds'";

const INSERT: &str = "\
INSERT INTO ordered_deliveries (endpoint, key, delivery, tenant, task, body)
SELECT endpoint, key, delivery, tenant, task, body
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[])
    WITH ORDINALITY AS new (endpoint, key, delivery, tenant, task, body, nth)
ORDER BY nth
ON CONFLICT (delivery) DO NOTHING";

const INSERT_LINES: &str = "\
INSERT INTO ordered_lines (endpoint, key, tenant)
SELECT DISTINCT ON (endpoint, key) endpoint, key, tenant
FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS new (endpoint, key, tenant)
ON CONFLICT DO NOTHING";

/// Sets the barriers of endpoints whose ordering has a newer generation than the deliveries before.
const BARRIER: &str = "\
INSERT INTO ordered_endpoints AS known (endpoint, generation, barrier)
SELECT new.endpoint, new.generation, (SELECT max(position) FROM ordered_deliveries d WHERE d.endpoint = new.endpoint)
FROM unnest($1::uuid[], $2::bigint[]) AS new (endpoint, generation)
WHERE NOT EXISTS (
    SELECT FROM ordered_endpoints k WHERE k.endpoint = new.endpoint AND k.generation >= new.generation)
ON CONFLICT (endpoint) DO UPDATE SET generation = excluded.generation, barrier = coalesce(excluded.barrier, known.barrier)
WHERE known.generation < excluded.generation";

/// Applies the ends of runs. A report of an earlier run changes nothing. A report that names a delivery that is gone ends the
/// run as well.
const END_RUNS: &str = "\
UPDATE ordered_lines line
SET run_upto = ended.position, published = true,
    held = CASE WHEN ended.holds THEN ended.delivery END,
    held_at = CASE WHEN ended.holds AND ended.delivery IS NOT NULL THEN clock_timestamp() END
FROM (
    SELECT l.at, report.holds, d.position, d.delivery
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::uuid[], $5::boolean[])
        AS report (endpoint, key, run, blocking, holds)
    CROSS JOIN LATERAL (
        SELECT ctid AS at FROM ordered_lines
        WHERE endpoint = report.endpoint AND key = report.key AND run = report.run OFFSET 0) l
    LEFT JOIN LATERAL (
        SELECT position, delivery FROM ordered_deliveries WHERE delivery = report.blocking OFFSET 0) d ON true
) ended
WHERE line.ctid = ended.at";

const REMOVE_EMPTY: &str = "\
DELETE FROM ordered_lines line
USING (
    SELECT l.at
    FROM unnest($1::uuid[], $2::text[]) AS touched (endpoint, key)
    CROSS JOIN LATERAL (
        SELECT ctid AS at FROM ordered_lines
        WHERE endpoint = touched.endpoint AND key = touched.key AND run_upto IS NULL AND held IS NULL OFFSET 0) l
    LEFT JOIN LATERAL (
        SELECT true AS any FROM ordered_deliveries
        WHERE endpoint = touched.endpoint AND key = touched.key LIMIT 1) d ON true
    WHERE d.any IS NULL
) empty
WHERE line.ctid = empty.at";

impl LineStore {
    /// Applies messages and releases the next run of each line that they concern. `owner` identifies this process.
    ///
    /// # Errors
    /// An error of the database; then nothing was changed, or it is unknown whether the commit succeeded. Applying the same
    /// messages again does no harm; a run that was released is then published by [`LineStore::sweep`].
    pub async fn advance(&self, owner: Uuid, changes: &LineChanges) -> Result<Vec<ReleasedRun>, StoreError> {
        let mut client = self.0.client().await?;
        let tx = client.transaction().await?;
        execute(&tx, LEASE, &[&owner]).await?;
        use_indexes(&tx).await?;
        let mut touched = BTreeSet::new();
        for part in by_generation(&changes.enqueued) {
            enqueue(&tx, part, &mut touched).await?;
        }
        end_runs(&tx, &changes.reports, &mut touched).await?;
        let (endpoints, keys) = columns(&touched);
        execute(&tx, REMOVE_EMPTY, &[&endpoints, &keys]).await?;
        let released = release(&tx, &endpoints, &keys).await?;
        tx.commit().await?;
        Ok(released)
    }
}

/// Divides deliveries into parts in which the deliveries of an endpoint have the same generation, or an earlier one. Nearly
/// always one part.
fn by_generation(enqueued: &[(Enqueued, Bytes)]) -> Vec<&[(Enqueued, Bytes)]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let mut generations: HashMap<EndpointId, u32> = HashMap::new();
    for (index, (new, _)) in enqueued.iter().enumerate() {
        let endpoint = new.task.delivery.endpoint;
        if generations.get(&endpoint).is_some_and(|known| *known < new.generation) {
            parts.push(&enqueued[start..index]);
            start = index;
            generations.clear();
        }
        let known = generations.entry(endpoint).or_insert(new.generation);
        *known = (*known).max(new.generation);
    }
    parts.push(&enqueued[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

async fn enqueue(
    tx: &Transaction<'_>,
    enqueued: &[(Enqueued, Bytes)],
    touched: &mut BTreeSet<Line>,
) -> Result<(), StoreError> {
    let mut generations: BTreeMap<EndpointId, i64> = BTreeMap::new();
    let (mut endpoints, mut keys, mut deliveries, mut tenants) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut tasks, mut bodies) = (Vec::new(), Vec::new());
    for (new, body) in enqueued {
        let delivery = &new.task.delivery;
        let generation = generations.entry(delivery.endpoint).or_default();
        *generation = (*generation).max(new.generation.into());
        touched.insert(Line { endpoint: delivery.endpoint, key: new.key.clone() });
        endpoints.push(delivery.endpoint.0);
        keys.push(new.key.as_str());
        deliveries.push(delivery.id.0);
        tenants.push(delivery.tenant.0);
        let task = serde_json::to_string(&new.task)
            .map_err(|error| StoreError::Unreadable { what: "a delivery", detail: error.to_string() })?;
        tasks.push(task);
        bodies.push(&body[..]);
    }
    // An ordering that was never edited has generation 0 and needs no row.
    let edited: Vec<_> = generations.into_iter().filter(|(_, generation)| *generation > 0).collect();
    if !edited.is_empty() {
        let (endpoints, generations): (Vec<Uuid>, Vec<i64>) = edited.into_iter().map(|(id, g)| (id.0, g)).unzip();
        execute(tx, BARRIER, &[&endpoints, &generations]).await?;
    }
    execute(tx, INSERT, &[&endpoints, &keys, &deliveries, &tenants, &tasks, &bodies]).await?;
    execute(tx, INSERT_LINES, &[&endpoints, &keys, &tenants]).await?;
    Ok(())
}

/// What the reports about one run say together.
#[derive(Debug, Default, Clone, Copy)]
struct End {
    waits: Option<DeliveryId>,
    holds: Option<DeliveryId>,
}

async fn end_runs(tx: &Transaction<'_>, reports: &[RunReport], touched: &mut BTreeSet<Line>) -> Result<(), StoreError> {
    if reports.is_empty() {
        return Ok(());
    }
    let ended: HashSet<DeliveryId> = reports.iter().flat_map(|report| report.ended.iter().copied()).collect();
    let ids: Vec<Uuid> = ended.iter().map(|id| id.0).collect();
    execute(tx, "DELETE FROM ordered_deliveries WHERE delivery = ANY($1)", &[&ids]).await?;
    // A delivery that waits may end before the report that it waits arrives.
    let mut ends: BTreeMap<(&Line, i64), End> = BTreeMap::new();
    for report in reports {
        let end = ends.entry((&report.line, report.run)).or_default();
        end.waits = report.waits.filter(|id| !ended.contains(id)).or(end.waits);
        end.holds = report.holds.filter(|id| !ended.contains(id)).or(end.holds);
        touched.insert(report.line.clone());
    }
    let (endpoints, keys) = columns(ends.keys().map(|(line, _)| *line));
    let numbers: Vec<i64> = ends.keys().map(|(_, run)| *run).collect();
    let blocking: Vec<Option<Uuid>> = ends.values().map(|end| end.holds.or(end.waits).map(|id| id.0)).collect();
    let holds: Vec<bool> = ends.values().map(|end| end.holds.is_some()).collect();
    execute(tx, END_RUNS, &[&endpoints, &keys, &numbers, &blocking, &holds]).await?;
    Ok(())
}

/// Releases the next run of each of these lines that has no current run and is not held.
pub(super) async fn release(
    tx: &Transaction<'_>,
    endpoints: &[Uuid],
    keys: &[&str],
) -> Result<Vec<ReleasedRun>, StoreError> {
    if endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "WITH picked AS (
            SELECT touched.endpoint, touched.key, line.at, e.barrier, nextval('ordered_runs') AS run
            FROM unnest($1::uuid[], $2::text[]) AS touched (endpoint, key)
            CROSS JOIN LATERAL (
                SELECT ctid AS at FROM ordered_lines
                WHERE endpoint = touched.endpoint AND key = touched.key AND run_upto IS NULL AND held IS NULL
                OFFSET 0) line
            LEFT JOIN ordered_endpoints e ON e.endpoint = touched.endpoint
        ), heads AS (
            SELECT picked.endpoint, picked.key, picked.at, picked.run, d.position, d.delivery, d.task, d.body
            FROM picked CROSS JOIN LATERAL (
                SELECT position, delivery, task, body,
                    sum(octet_length(body)) OVER (ORDER BY position) - octet_length(body) AS bytes_before
                FROM (
                    SELECT position, delivery, task, body FROM ordered_deliveries
                    WHERE endpoint = picked.endpoint AND key = picked.key
                        AND (picked.barrier IS NULL OR position <= picked.barrier)
                    ORDER BY position LIMIT {RUN_DELIVERIES_MAX}
                ) of_line
            ) d
            WHERE d.bytes_before < {RUN_BYTES_MAX}
        ), released AS (
            UPDATE ordered_lines line
            SET run = next.run, run_upto = next.upto, released_at = clock_timestamp(), published = false
            FROM (SELECT at, run, max(position) AS upto FROM heads GROUP BY at, run) next
            WHERE line.ctid = next.at
        )
        SELECT endpoint, key, run, delivery, task, body FROM heads
        ORDER BY position"
    );
    let statement = tx.prepare_cached(&sql).await?;
    runs(tx, &tx.query(&statement, &[&endpoints, &keys]).await?).await
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::TenantId;
    use postrider_model::time::UnixMillis;
    use postrider_wire::testing::{accepted, first_task};

    use super::*;

    #[test]
    fn a_newer_generation_of_an_endpoint_starts_a_part() {
        let event = || accepted(TenantId::generate(), "a.b".parse().unwrap(), UnixMillis(1_000));
        let ids = [EndpointId::generate(), EndpointId::generate()];
        let of = |given: &[(usize, u32)]| -> Vec<(Enqueued, Bytes)> {
            let new = |(endpoint, generation): &(usize, u32)| Enqueued {
                key: String::new(),
                generation: *generation,
                task: Box::new(first_task(&event(), ids[*endpoint])),
            };
            given.iter().map(|given| (new(given), Bytes::new())).collect()
        };
        let check = |given: &[(usize, u32)], expected: &[usize]| {
            let lengths: Vec<_> = by_generation(&of(given)).into_iter().map(<[_]>::len).collect();
            assert_eq!(lengths, expected, "{given:?}");
        };
        check(&[], &[]);
        check(&[(0, 1), (1, 2), (0, 1)], &[3]);
        check(&[(0, 1), (1, 2), (0, 2), (1, 2)], &[2, 2]);
        check(&[(0, 2), (0, 1), (0, 2)], &[3]);
    }
}
