//! Limits on the number of heavy operations that run at the same time: for each owner (a tenant), and in this process.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of owners that are kept before idle owners are removed.
const IDLE_MAX: usize = 1_024;

/// Slots for heavy operations, limited for each owner and for the process.
#[derive(Debug)]
pub struct Slots<K> {
    each: usize,
    all: Arc<Semaphore>,
    owners: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// A slot in use. Dropping it frees the slot.
#[derive(Debug)]
pub struct Slot {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// No slot is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The owner uses all of its slots.
    #[error("all slots of this owner are taken")]
    Owner,
    /// The process uses all of its slots.
    #[error("all slots of this process are taken")]
    Process,
}

impl<K: Eq + Hash + Copy> Slots<K> {
    /// `each` is the number of slots for an owner, `all` for the process. Both are at least one.
    pub fn new(each: usize, all: usize) -> Self {
        let all = Arc::new(Semaphore::new(all.max(1)));
        Self { each: each.max(1), all, owners: Mutex::default() }
    }

    /// Takes a slot; waits for a free slot for at most `wait`.
    ///
    /// # Errors
    /// No slot became free.
    pub async fn enter(&self, owner: K, wait: Duration) -> Result<Slot, Full> {
        let until = tokio::time::Instant::now() + wait;
        let own = acquire(self.of(owner), until).await.ok_or(Full::Owner)?;
        let all = acquire(Arc::clone(&self.all), until).await.ok_or(Full::Process)?;
        Ok(Slot { _own: own, _all: all })
    }

    fn of(&self, owner: K) -> Arc<Semaphore> {
        let mut owners = self.owners.lock();
        if owners.len() >= IDLE_MAX {
            // An owner is idle if no slot and no waiting caller holds its semaphore.
            owners.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        Arc::clone(owners.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(self.each))))
    }
}

async fn acquire(slots: Arc<Semaphore>, until: tokio::time::Instant) -> Option<OwnedSemaphorePermit> {
    if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
        return Some(slot);
    }
    tokio::time::timeout_at(until, slots.acquire_owned()).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owner_takes_its_own_slots_and_leaves_the_others() {
        let slots = Slots::new(2, 3);
        let now = Duration::ZERO;
        let first = slots.enter("a", now).await.unwrap();
        let _second = slots.enter("a", now).await.unwrap();
        assert_eq!(slots.enter("a", now).await.unwrap_err(), Full::Owner);
        let _other = slots.enter("b", now).await.unwrap();
        assert_eq!(slots.enter("b", now).await.unwrap_err(), Full::Process);
        drop(first);
        assert!(slots.enter("a", now).await.is_ok());
    }

    #[tokio::test]
    async fn a_freed_slot_goes_to_the_owner_that_waits() {
        let slots = Arc::new(Slots::new(1, 9));
        let first = slots.enter(1, Duration::ZERO).await.unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.enter(1, Duration::from_secs(60)).await.is_ok() }
        });
        drop(first);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn idle_owners_are_removed() {
        let slots = Slots::new(1, 9);
        let _held = slots.enter(0, Duration::ZERO).await.unwrap();
        for owner in 1..=2 * IDLE_MAX {
            drop(slots.enter(owner, Duration::ZERO).await.unwrap());
        }
        assert!(slots.owners.lock().len() <= IDLE_MAX);
        assert_eq!(slots.enter(0, Duration::ZERO).await.unwrap_err(), Full::Owner);
    }
}
