//! The watermark: the time up to which the recorder has read decisions and outcomes. It distinguishes lost messages from late
//! messages. The clock cannot do that: after an hour of downtime, every message is an hour old, and none is lost.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;

/// The watermark of this recorder. It covers only what this recorder committed since it started.
#[derive(Debug)]
pub(crate) struct Watermark {
    decided: AtomicI64,
    attempted: AtomicI64,
    batches: AtomicU64,
}

/// The times to which one batch advances the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Acceptance time of the newest decided event in the batch.
    decided: UnixMillis,
    /// Time of the newest outcome in the batch.
    attempted: UnixMillis,
}

/// The value of the watermark before the first batch.
const NOTHING: UnixMillis = UnixMillis(i64::MIN);

impl Default for Watermark {
    fn default() -> Self {
        Self { decided: AtomicI64::new(NOTHING.0), attempted: AtomicI64::new(NOTHING.0), batches: AtomicU64::new(0) }
    }
}

impl Reached {
    pub(crate) fn of(rows: &RecordBatch) -> Self {
        Self {
            decided: rows.decisions.iter().map(|decision| decision.accepted_at).max().unwrap_or(NOTHING),
            attempted: rows.outcomes.iter().map(|(outcome, _)| outcome.at).max().unwrap_or(NOTHING),
        }
    }
}

impl Watermark {
    /// Advances the watermark after a batch was committed.
    pub(crate) fn add(&self, reached: Reached) {
        self.decided.fetch_max(reached.decided.0, Ordering::Relaxed);
        self.attempted.fetch_max(reached.attempted.0, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the time up to which decisions are on record. A decision about an event that was accepted well before this time
    /// is on record, unless it was lost, because queues preserve the order.
    pub(crate) fn decided(&self) -> UnixMillis {
        UnixMillis(self.decided.load(Ordering::Relaxed))
    }

    /// Returns the time up to which outcomes are on record. An outcome that was reported well before this time is on record,
    /// unless it was lost.
    pub(crate) fn attempted(&self) -> UnixMillis {
        UnixMillis(self.attempted.load(Ordering::Relaxed))
    }

    /// Returns the number of batches so far. It does not grow while there are no messages to read.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}
