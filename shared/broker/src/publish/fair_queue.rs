//! Members that wait for a commit, in fair order: tenants take turns, and the members of each tenant remain in order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_model::ids::TenantId;

/// Waiting members by tenant. Members without a tenant are treated as one more tenant.
pub(super) struct FairQueue<T> {
    tenants: HashMap<Option<TenantId>, VecDeque<T>>,
    /// Tenants that have members, in the order of their turns.
    turns: VecDeque<Option<TenantId>>,
    members: usize,
}

impl<T> FairQueue<T> {
    pub(super) fn new() -> Self {
        Self { tenants: HashMap::new(), turns: VecDeque::new(), members: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.members
    }

    pub(super) fn push(&mut self, tenant: Option<TenantId>, members: impl IntoIterator<Item = T>) {
        let waiting = self.tenants.entry(tenant).or_default();
        let (was_empty, before) = (waiting.is_empty(), waiting.len());
        waiting.extend(members);
        self.members += waiting.len() - before;
        if was_empty && !waiting.is_empty() {
            self.turns.push_back(tenant);
        }
    }

    /// Moves at most `count` members to the end of `to`, one member of each tenant in turn.
    pub(super) fn take(&mut self, count: usize, to: &mut VecDeque<T>) {
        for _ in 0..count {
            let Some(tenant) = self.turns.pop_front() else { break };
            let Some(waiting) = self.tenants.get_mut(&tenant) else { continue };
            let Some(member) = waiting.pop_front() else { continue };
            to.push_back(member);
            self.members -= 1;
            if waiting.is_empty() {
                self.tenants.remove(&tenant);
            } else {
                self.turns.push_back(tenant);
            }
        }
    }
}

/// The number of queued or unconfirmed members of each tenant.
#[derive(Clone)]
pub(super) struct TenantLimit {
    members: Arc<Mutex<HashMap<TenantId, usize>>>,
    each_max: usize,
}

/// A tenant's share of the room. Dropping it frees the share.
pub(super) struct TenantPermit {
    limit: TenantLimit,
    tenant: TenantId,
    members: usize,
}

impl TenantLimit {
    /// `each_max` is the maximum number of members of one tenant.
    pub(super) fn new(each_max: usize) -> Self {
        Self { members: Arc::default(), each_max }
    }

    /// Adds to the members of a tenant. Returns `None` if the tenant would have too many members. A tenant without members may
    /// add any number.
    pub(super) fn charge(&self, tenant: TenantId, members: usize) -> Option<TenantPermit> {
        let mut all = self.members.lock();
        let held = all.entry(tenant).or_default();
        if *held > 0 && *held + members > self.each_max {
            return None;
        }
        *held += members;
        Some(TenantPermit { limit: self.clone(), tenant, members })
    }
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        let mut all = self.limit.members.lock();
        if let Some(held) = all.get_mut(&self.tenant) {
            *held = held.saturating_sub(self.members);
            if *held == 0 {
                all.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_and_keep_their_own_order() {
        let (mut queue, mut taken) = (FairQueue::new(), VecDeque::new());
        let [a, b] = [Some(TenantId::generate()), Some(TenantId::generate())];
        queue.push(a, ["a1", "a2", "a3", "a4"]);
        queue.push(b, ["b1"]);
        queue.push(None, ["c1", "c2"]);
        queue.take(5, &mut taken);
        assert_eq!(taken, ["a1", "b1", "c1", "a2", "c2"]);
        queue.push(b, ["b2"]);
        queue.take(9, &mut taken);
        assert_eq!((taken.split_off(5), queue.len()), (VecDeque::from(["a3", "b2", "a4"]), 0));
        assert!(queue.tenants.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn a_tenant_with_its_share_of_the_room_gets_no_more() {
        let (limit, a, b) = (TenantLimit::new(10), TenantId::generate(), TenantId::generate());
        let first = limit.charge(a, 8);
        assert!(first.is_some() && limit.charge(a, 3).is_none() && limit.charge(b, 10).is_some());
        assert!(limit.charge(a, 2).is_some());
        drop(first);
        assert!(limit.charge(a, 1_000).is_some(), "one call may be larger than the share");
        assert!(limit.members.lock().is_empty());
    }
}
