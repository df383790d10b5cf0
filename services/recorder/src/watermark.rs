//! The watermark: up to which time the recorder has read decisions and outcomes. It distinguishes lost messages from late ones.
//! The clock cannot: after an hour of downtime every message is an hour old, and none is lost.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;

/// The watermark of this recorder: what it has committed since its start.
#[derive(Debug)]
pub(crate) struct Watermark {
    decided: AtomicI64,
    attempted: AtomicI64,
    batches: AtomicU64,
}

/// How far one batch advances the watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Time of acceptance of the youngest decided event in the batch.
    decided: UnixMillis,
    /// Time of the youngest outcome in the batch.
    attempted: UnixMillis,
}

/// The time before any batch.
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
    /// Advances the watermark by a committed batch.
    pub(crate) fn add(&self, reached: Reached) {
        self.decided.fetch_max(reached.decided.0, Ordering::Relaxed);
        self.attempted.fetch_max(reached.attempted.0, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Decisions about events accepted well before this time are on record, unless they were lost: queues keep their order.
    pub(crate) fn decided(&self) -> UnixMillis {
        UnixMillis(self.decided.load(Ordering::Relaxed))
    }

    /// Outcomes reported well before this time are on record, unless they were lost.
    pub(crate) fn attempted(&self) -> UnixMillis {
        UnixMillis(self.attempted.load(Ordering::Relaxed))
    }

    /// The number of batches so far. It stops growing when there is nothing to read.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}
