//! Chooses how a batch is inserted: with or without a check for existing rows.
//!
//! `ON CONFLICT` looks up every row before it inserts it, which is a quarter of the cost of an insert, and duplicates are rare.
//! So batches are inserted without `ON CONFLICT` until a batch contains an existing row. That batch is rolled back; it and the
//! next batches are written with `ON CONFLICT`, because duplicates come in bursts after a crash of a recorder or the broker.

use std::sync::atomic::{AtomicU32, Ordering};

/// Number of batches that are written with `ON CONFLICT` after a batch that contained an existing row.
const COOLDOWN_BATCHES: u32 = 32;

/// What an insert does if a row already exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InsertMode {
    /// An existing row fails the whole batch.
    Plain,
    /// An existing row remains, or is merged with the new one.
    KeepExisting,
}

impl InsertMode {
    /// The conflict clause for a table in which existing rows remain unchanged.
    pub(super) fn on_conflict(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::KeepExisting => "ON CONFLICT DO NOTHING",
        }
    }
}

/// The number of batches that are still to be written with [`InsertMode::KeepExisting`].
#[derive(Debug, Default)]
pub(crate) struct ConflictCooldown(AtomicU32);

impl ConflictCooldown {
    /// Returns the mode of the next batch, and counts the batch.
    pub(super) fn next(&self) -> InsertMode {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() { InsertMode::KeepExisting } else { InsertMode::Plain }
    }

    /// Starts the cooldown after a batch that contained an existing row.
    pub(super) fn start(&self) {
        self.0.store(COOLDOWN_BATCHES, Ordering::Relaxed);
    }
}
