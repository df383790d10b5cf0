//! Metrics of the recorder. No metric has a label for the endpoint or the tenant.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use postrider_model::delivery::EndpointStatus;
use postrider_model::time::UnixMillis;
use postrider_store::record::{RecordBatch, Written};

/// Rows that were inserted or changed; label `table`.
pub(crate) const ROWS: &str = "postrider_recorder_rows_total";
/// Number of members in each batch.
pub(crate) const BATCH_MEMBERS: &str = "postrider_recorder_batch_members";
/// Seconds from the first statement of a batch to the end of its commit.
pub(crate) const WRITE_SECONDS: &str = "postrider_recorder_write_seconds";
/// Age in seconds of the oldest member of the last written batch.
pub(crate) const LAG_SECONDS: &str = "postrider_recorder_lag_seconds";
/// Messages that were skipped because their day has no partition.
pub(crate) const SKIPPED: &str = "postrider_recorder_dropped_messages_total";
/// Batches that were written again after an error.
pub(crate) const RETRIES: &str = "postrider_recorder_batch_retries_total";
/// Messages that the database refused and that became dead letters.
pub(crate) const REFUSED: &str = "postrider_recorder_refused_messages_total";
/// Dead letters of producers that were counted but not stored, because the tenant's daily limit was reached.
pub(crate) const NOT_KEPT: &str = "postrider_recorder_dead_letters_not_kept_total";
/// Events that became dead letters because their id belongs to an event with different content.
pub(crate) const OTHER_EVENTS: &str = "postrider_recorder_conflicting_events_total";
/// Number of pending deliveries at the last count.
pub(crate) const WAITING: &str = "postrider_recorder_waiting_deliveries";
/// Endpoints that were disabled automatically.
pub(crate) const DISABLED: &str = "postrider_recorder_endpoints_disabled_total";
/// Endpoints that were paused automatically.
pub(crate) const PAUSED: &str = "postrider_recorder_endpoints_paused_total";
/// Deliveries of paused endpoints that were published or discarded; label `what` (`released`, `discarded`).
pub(crate) const SET_ASIDE: &str = "postrider_recorder_set_aside_total";
/// Entries of the outbox that the outbox relay published.
pub(crate) const RELAYED: &str = "postrider_recorder_outbox_entries_published_total";
/// Notices about the state of endpoints.
pub(crate) const NOTICES: &str = "postrider_recorder_notices_total";
/// Deliveries created by replays.
pub(crate) const REPLAYED: &str = "postrider_recorder_replayed_deliveries_total";
/// Partitions that were created or dropped; label `what` (`created`, `dropped`).
pub(crate) const PARTITIONS: &str = "postrider_recorder_partitions_total";
/// Age of the oldest partition in days.
pub(crate) const OLDEST_PARTITION_DAYS: &str = "postrider_recorder_oldest_partition_days";
/// The value of `POSTRIDER_RETENTION_DAYS`, for comparison with [`OLDEST_PARTITION_DAYS`].
pub(crate) const RETENTION_DAYS: &str = "postrider_recorder_retention_days";
/// Repairs by the reconciler; label `what`. `events` and `deliveries` were published again, and `ended` deliveries were
/// discarded.
pub(crate) const RECONCILED: &str = "postrider_recorder_reconciled_total";
/// Number of missing rows that the last audit found.
pub(crate) const AUDIT_GAPS: &str = "postrider_recorder_audit_gaps";
/// Number of unbalanced tenant days in the last audit.
pub(crate) const AUDIT_UNBALANCED: &str = "postrider_recorder_audit_unbalanced_days";
/// Time of the last audit in Unix seconds.
pub(crate) const AUDIT_RAN: &str = "postrider_recorder_audit_timestamp_seconds";

/// Deliveries of ordered endpoints that were added to their lines.
pub(crate) const ENQUEUED: &str = "postrider_recorder_enqueued_deliveries_total";
/// Deliveries of ordered endpoints that were discarded because their tenant's lines were full.
pub(crate) const LINES_FULL: &str = "postrider_recorder_lines_full_total";
/// Runs of ordered endpoints that were published.
pub(crate) const RUNS: &str = "postrider_recorder_runs_total";
/// Deliveries in these runs.
pub(crate) const RUN_DELIVERIES: &str = "postrider_recorder_run_deliveries_total";
/// Number of deliveries in lines at the last count.
pub(crate) const IN_LINES: &str = "postrider_recorder_deliveries_in_lines";

/// Lines that stood still because the report of a run was lost.
pub(crate) const LINES_REPAIRED: &str = "postrider_recorder_lines_repaired_total";

/// Counts lines that continue after a report was lost.
pub(crate) fn repaired(lines: usize) {
    counter!(LINES_REPAIRED).increment(lines as u64);
}

/// Counts deliveries that were added to their lines, and deliveries for which there was no room.
pub(crate) fn sequenced(enqueued: usize, full: usize) {
    counter!(ENQUEUED).increment(enqueued as u64);
    counter!(LINES_FULL).increment(full as u64);
}

/// Counts published runs and their deliveries.
pub(crate) fn released(deliveries: usize, runs: usize) {
    counter!(RUN_DELIVERIES).increment(deliveries as u64);
    counter!(RUNS).increment(runs as u64);
}

#[expect(clippy::cast_precision_loss, reason = "a number of rows stays far below 2^53")]
pub(crate) fn in_lines(deliveries: u64) {
    gauge!(IN_LINES).set(deliveries as f64);
}

pub(crate) fn describe() {
    describe_counter!(ENQUEUED, "deliveries of ordered endpoints added to their lines");
    describe_counter!(LINES_FULL, "deliveries discarded because the lines of their tenant were full");
    describe_counter!(RUNS, "runs of ordered endpoints published");
    describe_counter!(RUN_DELIVERIES, "deliveries in these runs");
    describe_gauge!(IN_LINES, "deliveries of ordered endpoints that have not ended");
    describe_counter!(LINES_REPAIRED, "lines that stood still because the report of a run was lost, and continue");
    sequenced(0, 0);
    released(0, 0);
    repaired(0);
    describe_counter!(ROWS, "rows inserted or changed");
    describe_histogram!(BATCH_MEMBERS, "members of a batch");
    describe_histogram!(WRITE_SECONDS, "time to write and commit a batch");
    describe_gauge!(LAG_SECONDS, "age of the oldest member of the last batch when it was committed");
    describe_counter!(SKIPPED, "messages dropped because their day has no partition");
    describe_counter!(RETRIES, "batches written again after an error");
    describe_counter!(REFUSED, "messages that the database refused");
    describe_counter!(NOT_KEPT, "dead letters of producers not kept because the tenant's daily limit is used up");
    describe_counter!(OTHER_EVENTS, "events whose id belongs to another event; they became dead letters");
    describe_counter!(DISABLED, "endpoints disabled automatically");
    describe_counter!(PAUSED, "endpoints paused automatically");
    describe_counter!(SET_ASIDE, "deliveries of paused endpoints: released after a resume, or discarded");
    describe_counter!(RELAYED, "outbox entries that the recorder published because no other process had");
    describe_counter!(NOTICES, "notices about the state of endpoints that were sent to their addressees");
    describe_counter!(REPLAYED, "deliveries created by replays");
    describe_counter!(RECONCILED, "events and deliveries whose messages were lost: published again, or ended");
    describe_gauge!(WAITING, "pending deliveries of all tenants");
    describe_gauge!(AUDIT_GAPS, "missing rows found by the last audit");
    describe_gauge!(AUDIT_UNBALANCED, "tenant days that were unbalanced in the last audit");
    describe_gauge!(AUDIT_RAN, "when the last audit ran");
    describe_counter!(PARTITIONS, "partitions created and dropped");
    describe_gauge!(OLDEST_PARTITION_DAYS, "age of the oldest partition in days");
    describe_gauge!(RETENTION_DAYS, "days that partitions are kept");
    // Each counter starts at 0, so that monitoring sees the first increase.
    for name in [SKIPPED, RETRIES, REFUSED, NOT_KEPT, DISABLED, PAUSED, RELAYED, NOTICES, REPLAYED] {
        counter!(name).increment(0);
    }
    set_aside(0, 0);
    written(&Written::default());
    for what in [Reconciled::Events, Reconciled::Deliveries, Reconciled::Ended] {
        reconciled(what, 0);
    }
    partitions("created", 0);
    partitions("dropped", 0);
}

pub(crate) fn batch(rows: &RecordBatch) {
    histogram!(BATCH_MEMBERS).record(rows.len() as f64);
}

pub(crate) fn write_took(took: Duration) {
    histogram!(WRITE_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn written(written: &Written) {
    let tables = [
        ("events", written.events),
        ("decisions", written.decisions),
        ("deliveries", written.deliveries),
        ("attempts", written.attempts),
        ("dead_letters", written.dead_letters),
    ];
    for (table, rows) in tables {
        counter!(ROWS, "table" => table).increment(rows);
    }
    counter!(SKIPPED).increment(written.skipped);
    counter!(NOT_KEPT).increment(written.dead_letters_not_kept);
    counter!(OTHER_EVENTS).increment(written.other_events.len() as u64);
}

pub(crate) fn lag(lag: Option<Duration>) {
    if let Some(lag) = lag {
        gauge!(LAG_SECONDS).set(lag.as_secs_f64());
    }
}

pub(crate) fn retried() {
    counter!(RETRIES).increment(1);
}

pub(crate) fn refused() {
    counter!(REFUSED).increment(1);
}

pub(crate) fn waiting(deliveries: u64) {
    gauge!(WAITING).set(deliveries as f64);
}

/// Counts an endpoint that Postrider disabled or paused.
pub(crate) fn stopped(status: EndpointStatus) {
    let name = if status == EndpointStatus::Paused { PAUSED } else { DISABLED };
    counter!(name).increment(1);
}

pub(crate) fn set_aside(released: u64, discarded: u64) {
    counter!(SET_ASIDE, "what" => "released").increment(released);
    counter!(SET_ASIDE, "what" => "discarded").increment(discarded);
}

pub(crate) fn relayed(entries: usize) {
    counter!(RELAYED).increment(entries as u64);
}

pub(crate) fn notified() {
    counter!(NOTICES).increment(1);
}

pub(crate) fn replayed(deliveries: u64) {
    counter!(REPLAYED).increment(deliveries);
}

/// Counts partitions. `what` is `created` or `dropped`.
pub(crate) fn partitions(what: &'static str, days: usize) {
    counter!(PARTITIONS, "what" => what).increment(days as u64);
}

pub(crate) fn oldest_partition(age_days: i32, retention_days: u32) {
    gauge!(OLDEST_PARTITION_DAYS).set(f64::from(age_days));
    gauge!(RETENTION_DAYS).set(f64::from(retention_days));
}

/// The kind of a repair by the reconciler.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reconciled {
    /// Undecided events that were published to fan-out again.
    Events,
    /// Pending deliveries that were published to their lane again.
    Deliveries,
    /// Pending deliveries that were discarded because no request can be sent for them.
    Ended,
}

pub(crate) fn reconciled(what: Reconciled, count: usize) {
    let what = match what {
        Reconciled::Events => "events",
        Reconciled::Deliveries => "deliveries",
        Reconciled::Ended => "ended",
    };
    counter!(RECONCILED, "what" => what).increment(count as u64);
}

pub(crate) fn audited(gaps: u64, unbalanced: u64, at: UnixMillis) {
    gauge!(AUDIT_GAPS).set(gaps as f64);
    gauge!(AUDIT_UNBALANCED).set(unbalanced as f64);
    gauge!(AUDIT_RAN).set(at.0 as f64 / 1_000.0);
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn every_counter_is_exported_from_the_start() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, super::describe);
        let exported = recorder.handle().render();
        let names: Vec<&str> = include_str!("metrics.rs")
            .split('"')
            .filter(|part| part.starts_with("postrider_") && part.ends_with("_total"))
            .collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            let has_value = |line: &str| line.split(['{', ' ']).next() == Some(name);
            assert!(exported.lines().any(has_value), "{name} is not exported");
        }
        for what in ["events", "deliveries", "ended"] {
            let line = format!("postrider_recorder_reconciled_total{{what=\"{what}\"}} 0");
            assert!(exported.contains(&line), "{line} is not exported");
        }
    }
}
