//! The room of each tenant in its lines. The numbers are counted in the database every few seconds, and estimated in between.

use std::collections::HashMap;

use postrider_model::ids::TenantId;
use postrider_model::limits::{IN_LINES_BYTES_PER_TENANT_MAX, IN_LINES_PER_TENANT_MAX};
use postrider_store::lines::InLines;

/// What each tenant has in its lines: deliveries and bytes.
#[derive(Default)]
pub(crate) struct Room(HashMap<TenantId, (u64, u64)>);

impl Room {
    /// Replaces the estimates by a count.
    pub(super) fn counted(&mut self, counted: &[InLines]) {
        self.0 = counted.iter().map(|of| (of.tenant, (of.deliveries, of.bytes))).collect();
    }

    /// Whether a tenant has used half of its room. A replay then pauses, so that it leaves room for new events.
    pub(crate) fn is_half_full(&self, tenant: TenantId) -> bool {
        self.0.get(&tenant).is_some_and(|(deliveries, bytes)| {
            *deliveries >= IN_LINES_PER_TENANT_MAX / 2 || *bytes >= IN_LINES_BYTES_PER_TENANT_MAX / 2
        })
    }

    /// Takes room for a delivery with a body of `bytes`. Returns `false` if there is none. Room that becomes free is known at the
    /// next count.
    pub(super) fn take(&mut self, tenant: TenantId, bytes: usize) -> bool {
        let (deliveries, total) = self.0.entry(tenant).or_default();
        if *deliveries >= IN_LINES_PER_TENANT_MAX || *total >= IN_LINES_BYTES_PER_TENANT_MAX {
            return false;
        }
        *deliveries += 1;
        *total += bytes as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_at_a_limit_has_no_room_and_others_do() {
        let (mut room, one, other) = (Room::default(), TenantId::generate(), TenantId::generate());
        let full = |deliveries, bytes| vec![InLines { tenant: one, deliveries, bytes }];
        room.counted(&full(IN_LINES_PER_TENANT_MAX - 1, 0));
        assert!(room.take(one, 1) && !room.take(one, 1) && room.take(other, 1));
        room.counted(&full(0, IN_LINES_BYTES_PER_TENANT_MAX));
        assert!(!room.take(one, 1));
        room.counted(&[]);
        assert!(room.take(one, 1));
    }
}
