//! How far the recorder has read: the watermark that tells what is lost from what is late. Not the clock: a recorder that was away
//! for an hour finds everything an hour old, and nothing of it lost.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use postrider_model::time::UnixMillis;
use postrider_store::record::RecordBatch;

/// What this recorder has committed so far.
#[derive(Debug)]
pub(crate) struct Watermark {
    decided: AtomicI64,
    attempted: AtomicI64,
    batches: AtomicU64,
}

/// How far one batch reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The youngest event that a decision is about, by when it was accepted.
    decided: UnixMillis,
    /// The youngest outcome.
    attempted: UnixMillis,
}

/// As far as nothing has been read.
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
    /// A batch was committed.
    pub(crate) fn add(&self, reached: Reached) {
        self.decided.fetch_max(reached.decided.0, Ordering::Relaxed);
        self.attempted.fetch_max(reached.attempted.0, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Queues keep their order: decisions of events accepted well before this have been read, if they were made.
    pub(crate) fn decided(&self) -> UnixMillis {
        UnixMillis(self.decided.load(Ordering::Relaxed))
    }

    /// The same of outcomes: what was reported well before this has been read.
    pub(crate) fn attempted(&self) -> UnixMillis {
        UnixMillis(self.attempted.load(Ordering::Relaxed))
    }

    /// Batches so far: while it grows there is something to read.
    pub(crate) fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }
}
