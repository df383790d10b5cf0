//! Whether a batch's rows are expected to be new.
//!
//! `ON CONFLICT` looks up every row before inserting it, which is a quarter of the cost of an insert, and duplicates are
//! rare. Batches are therefore inserted plainly until one meets an existing row. That batch has no effect; it and the next
//! ones are written with `ON CONFLICT`, because duplicates come in bursts after a crash of a recorder or the broker.

use std::sync::atomic::{AtomicU32, Ordering};

/// Batches written with `ON CONFLICT` after one that met an existing row.
const COOLDOWN_BATCHES: u32 = 32;

/// What an insert does about existing rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    /// An existing row is an error of the whole batch.
    Plain,
    /// An existing row stays, or is merged.
    KeepExisting,
}

impl InsertMode {
    /// The conflict clause of a table whose existing rows stay.
    pub(super) fn on_conflict(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::KeepExisting => "ON CONFLICT DO NOTHING",
        }
    }
}

/// Counts the batches to write with [`InsertMode::KeepExisting`].
#[derive(Debug, Default)]
pub(crate) struct ConflictCooldown(AtomicU32);

impl ConflictCooldown {
    /// The mode of the next batch.
    pub(super) fn next(&self) -> InsertMode {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { InsertMode::KeepExisting } else { InsertMode::Plain }
    }

    /// A batch met an existing row.
    pub(super) fn start(&self) {
        self.0.store(COOLDOWN_BATCHES, Ordering::Relaxed);
    }
}
