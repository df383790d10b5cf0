//! Names of what the recorder counts. No label names an endpoint or a tenant.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use postrider_model::time::UnixMillis;
use postrider_store::record::{RecordBatch, Written};

/// Rows made or changed; label `table`.
pub(crate) const ROWS: &str = "postrider_recorder_rows_total";
/// Members of each batch.
pub(crate) const BATCH_MEMBERS: &str = "postrider_recorder_batch_members";
/// Seconds from the first statement of a batch to its commit.
pub(crate) const WRITE_SECONDS: &str = "postrider_recorder_write_seconds";
/// Age of the oldest thing in the batch that was written last, seconds.
pub(crate) const LAG_SECONDS: &str = "postrider_recorder_lag_seconds";
/// Messages let go because their day has no partition.
pub(crate) const SKIPPED: &str = "postrider_recorder_skipped_total";
/// Batches tried again.
pub(crate) const RETRIES: &str = "postrider_recorder_retries_total";
/// Messages that the database refused, which became dead letters.
pub(crate) const REFUSED: &str = "postrider_recorder_refused_total";
/// Dead letters of producers that were counted and not kept, because a limit of the tenant's day is used up.
pub(crate) const NOT_KEPT: &str = "postrider_recorder_dead_letters_not_kept_total";
/// Events put aside because their id belongs to another one.
pub(crate) const OTHER_EVENTS: &str = "postrider_recorder_other_events_total";
/// Deliveries that wait, by the last count.
pub(crate) const WAITING: &str = "postrider_recorder_waiting_deliveries";
/// Endpoints switched off because they asked for it.
pub(crate) const DISABLED: &str = "postrider_recorder_endpoints_disabled_total";
/// Entries of the outbox that the relay published.
pub(crate) const RELAYED: &str = "postrider_recorder_swept_total";
/// Deliveries made by replays.
pub(crate) const REPLAYED: &str = "postrider_recorder_replayed_total";
/// Partitions; label `what`: `created` or `dropped`.
pub(crate) const PARTITIONS: &str = "postrider_recorder_partitions_total";
/// Age of the oldest partition that is still there, days.
pub(crate) const OLDEST_PARTITION_DAYS: &str = "postrider_recorder_oldest_partition_days";
/// `POSTRIDER_RETENTION_DAYS`, to compare it with.
pub(crate) const RETENTION_DAYS: &str = "postrider_recorder_retention_days";
/// What the reconciler repaired; label `what`: `events` given to fan-out again, `deliveries` to their lane, `ended` for good.
pub(crate) const RECONCILED: &str = "postrider_recorder_reconciled_total";
/// What the last audit found missing.
pub(crate) const AUDIT_GAPS: &str = "postrider_recorder_audit_gaps";
/// Days of tenants whose equations did not hold in the last audit.
pub(crate) const AUDIT_UNBALANCED: &str = "postrider_recorder_audit_unbalanced";
/// When the last audit ran, seconds since 1970.
pub(crate) const AUDIT_RAN: &str = "postrider_recorder_audit_timestamp_seconds";

pub(crate) fn describe() {
    describe_counter!(ROWS, "rows made or changed");
    describe_histogram!(BATCH_MEMBERS, "members of a batch");
    describe_histogram!(WRITE_SECONDS, "time to write and commit a batch");
    describe_gauge!(LAG_SECONDS, "age of the oldest member of the last batch when it was committed");
    describe_counter!(SKIPPED, "messages let go because their day has no partition");
    describe_counter!(RETRIES, "batches tried again");
    describe_counter!(REFUSED, "messages that the database refused");
    describe_counter!(NOT_KEPT, "producers' dead letters beyond their tenant's limit for the day");
    describe_counter!(OTHER_EVENTS, "events whose id belongs to another event; they became dead letters");
    describe_counter!(DISABLED, "endpoints switched off because they asked for it");
    describe_counter!(RELAYED, "committed entries that nobody else had published");
    describe_counter!(REPLAYED, "deliveries made by replays");
    describe_counter!(RECONCILED, "what was lost behind our back and is on its way again, or ended");
    describe_gauge!(WAITING, "deliveries that wait, of all tenants");
    describe_gauge!(AUDIT_GAPS, "what the last audit found missing");
    describe_gauge!(AUDIT_UNBALANCED, "days of tenants whose equations did not hold in the last audit");
    describe_gauge!(AUDIT_RAN, "when the last audit ran");
    describe_counter!(PARTITIONS, "partitions made and dropped");
    describe_gauge!(OLDEST_PARTITION_DAYS, "age of the oldest partition in days");
    describe_gauge!(RETENTION_DAYS, "days that partitions are kept");
    // There from the start, so that the first increase is seen as one.
    for name in [SKIPPED, RETRIES, REFUSED, NOT_KEPT, DISABLED, RELAYED, REPLAYED] {
        counter!(name).increment(0);
    }
    written(&Written::default());
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

pub(crate) fn disabled() {
    counter!(DISABLED).increment(1);
}

pub(crate) fn relayed(entries: usize) {
    counter!(RELAYED).increment(entries as u64);
}

pub(crate) fn replayed(deliveries: u64) {
    counter!(REPLAYED).increment(deliveries);
}

/// `what`: `created` or `dropped`.
pub(crate) fn partitions(what: &'static str, days: usize) {
    counter!(PARTITIONS, "what" => what).increment(days as u64);
}

pub(crate) fn oldest_partition(age_days: i32, retention_days: u32) {
    gauge!(OLDEST_PARTITION_DAYS).set(f64::from(age_days));
    gauge!(RETENTION_DAYS).set(f64::from(retention_days));
}

/// What the reconciler repairs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reconciled {
    /// Undecided events that were given to fan-out again.
    Events,
    /// Pending deliveries, given to their lane.
    Deliveries,
    /// Pending deliveries of which nothing can be sent any more.
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
