//! Whether rows are expected to be new.
//!
//! `ON CONFLICT` looks every row up before it inserts it, which is a quarter of the cost of an insert; repeats are rare. So
//! batches go in plainly until one meets a row that is there: that batch, which took no effect, and the next ones (repeats
//! come in crowds: a recorder crashed, or the broker did) are written the careful way.

use std::sync::atomic::{AtomicU32, Ordering};

/// Batches written carefully after one that met a repeat.
const CAREFUL_BATCHES: u32 = 32;

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// A row that is there is an error of the whole batch.
    Plain,
    /// A row that is there stays, or is merged.
    Careful,
}

impl Manner {
    /// What an insert says about rows that are there.
    pub(super) fn keep(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Careful => "ON CONFLICT DO NOTHING",
        }
    }
}

/// Remembers for how many batches to be careful.
#[derive(Debug, Default)]
pub(crate) struct Caution(AtomicU32);

impl Caution {
    /// How to write the next batch.
    pub(super) fn next(&self) -> Manner {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { Manner::Careful } else { Manner::Plain }
    }

    /// A batch met a row that is there.
    pub(super) fn raise(&self) {
        self.0.store(CAREFUL_BATCHES, Ordering::Relaxed);
    }
}
