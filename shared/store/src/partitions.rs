//! Daily partitions of the log: made ahead, dropped by age.
//!
//! There is no default partition: a row of a day that has none is skipped and counted by [`crate::record`].

use std::collections::BTreeSet;
use std::sync::RwLock;

use postrider_model::time::Day;

use crate::error::StoreError;
use crate::pool::Store;

/// Days made ahead of today.
pub const DAYS_AHEAD: i32 = 3;

/// What one round of maintenance did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Days that were made.
    pub created: Vec<Day>,
    /// Days that were dropped.
    pub dropped: Vec<Day>,
    /// Somebody else was at it; nothing was done.
    pub busy: bool,
}

/// The days that are known to have partitions.
#[derive(Debug, Default)]
pub(crate) struct KnownPartitions(pub(crate) RwLock<BTreeSet<Day>>);

impl Store {
    /// Makes the partitions from yesterday to three days ahead of `today`, and drops those more than `retention_days`
    /// before `today`, with the dead letters, minutes and interventions of that age. One maintainer at a time.
    ///
    /// # Errors
    /// The database's; call again later.
    pub async fn maintain_partitions(&self, today: Day, retention_days: u32) -> Result<Maintained, StoreError> {
        let _ = (today, retention_days);
        todo!()
    }
}
