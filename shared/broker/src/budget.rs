//! A limit for the members and bytes that a consumer or publisher holds at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for members and bytes. A request for more than the whole budget gets the whole budget, so that a message of any size
/// passes.
pub(crate) struct Budget {
    members: Arc<Semaphore>,
    members_max: usize,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

/// A share of the budget. Dropping it returns the share.
pub(crate) struct Permit {
    pub(crate) members: OwnedSemaphorePermit,
    pub(crate) bytes: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(members_max: usize, bytes_max: usize) -> Self {
        let clamp = |max: usize| max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let (members_max, bytes_max) = (clamp(members_max), clamp(bytes_max));
        Self {
            members: Arc::new(Semaphore::new(members_max)),
            members_max,
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// Waits until there is room. Never returns `None`, because the semaphores are never closed.
    pub(crate) async fn acquire(&self, members: usize, bytes: usize) -> Option<Permit> {
        let (members, bytes) = self.amounts(members, bytes);
        let members = Arc::clone(&self.members).acquire_many_owned(members).await.ok()?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok()?;
        Some(Permit { members, bytes })
    }

    /// Takes a share if there is room now; otherwise returns `None`.
    pub(crate) fn try_acquire(&self, members: usize, bytes: usize) -> Option<Permit> {
        let (members, bytes) = self.amounts(members, bytes);
        let members = Arc::clone(&self.members).try_acquire_many_owned(members).ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Permit { members, bytes })
    }

    fn amounts(&self, members: usize, bytes: usize) -> (u32, u32) {
        let amount = |wanted: usize, max: usize| u32::try_from(wanted.min(max)).unwrap_or(u32::MAX);
        (amount(members, self.members_max), amount(bytes, self.bytes_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_larger_than_the_budget_takes_all_of_it() {
        let budget = Budget::new(10, 1_000);
        let first = budget.try_acquire(1, 900);
        assert!(first.is_some() && budget.try_acquire(1, 900).is_none());
        let small = budget.try_acquire(1, 10);
        drop((first, small));
        let all = budget.acquire(1, 100_000).await;
        assert!(budget.try_acquire(1, 1).is_none());
        drop(all);
        assert!(budget.try_acquire(1, 1).is_some());
    }
}
