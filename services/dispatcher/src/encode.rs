//! Encodes the members whose heads this crate serializes.

use bytes::Bytes;
use postrider_broker::Poison;
use postrider_wire::bundle::Member;
use serde::Serialize;

/// Encodes a member. Serializing `head` never fails in practice. If it failed, the delivery would become a dead letter.
pub(crate) fn encode(head: &impl Serialize, payload: Bytes) -> Result<Member, Poison> {
    Member::new(head, payload).map_err(|error| Poison::new(format!("cannot write the head of a message: {error}")))
}
