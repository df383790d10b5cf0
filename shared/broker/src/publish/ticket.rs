//! One call of the batch publisher, shared by the members of the call. The call ends when all of them are confirmed or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Done;
use super::confirm_channel::Verdict;
use super::fair_queue::TenantPermit;
use crate::budget::Permit;
use crate::error::PublishError;

/// The room that the members of a call occupy, and the tenant's share of that room if the call has a tenant.
pub(super) type TicketPermit = (Permit, Option<TenantPermit>);

pub(super) struct Ticket {
    remaining: AtomicUsize,
    refused: AtomicBool,
    /// The channel for the caller's answer, and the occupied room; `None` once the call has ended.
    open: Mutex<Option<(Done, TicketPermit)>>,
}

/// The tickets of the members of one bundle, each with the number of its members in the bundle.
pub(super) type Tickets = Vec<(Arc<Ticket>, usize)>;

impl Ticket {
    pub(super) fn new(members: usize, done: Done, permit: TicketPermit) -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicUsize::new(members),
            refused: AtomicBool::new(false),
            open: Mutex::new(Some((done, permit))),
        })
    }

    pub(super) fn resolve(&self, members: usize, verdict: Verdict) {
        if verdict != Verdict::Confirmed {
            self.refused.store(true, Ordering::Relaxed);
        }
        if self.remaining.fetch_sub(members, Ordering::AcqRel) > members {
            return;
        }
        let result = if self.refused.load(Ordering::Relaxed) { Err(PublishError::Refused) } else { Ok(()) };
        let open = self.open.lock().take();
        if let Some((done, permit)) = open {
            // Frees the room before it sends the answer, so that the room is free at the caller's next call.
            drop(permit);
            let _ = done.send(result);
        }
    }

    /// Whether the caller still waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.open.lock().as_ref().is_some_and(|(done, _)| !done.is_closed())
    }
}

/// Replaces neighbouring equal tickets by one ticket with their number. Members of one call are usually neighbours.
pub(super) fn counted(tickets: Vec<Arc<Ticket>>) -> Tickets {
    let mut counted: Tickets = Vec::new();
    for ticket in tickets {
        match counted.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, &ticket) => *count += 1,
            _ => counted.push((ticket, 1)),
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::TenantId;

    use super::super::fair_queue::TenantLimit;
    use super::*;
    use crate::budget::Budget;

    #[test]
    fn an_answered_call_has_freed_its_room() {
        let (budget, limit, tenant) = (Budget::new(1, 10), TenantLimit::new(1), TenantId::generate());
        let permit = (budget.try_acquire(1, 10).unwrap(), limit.charge(tenant, 1));
        let (done, mut answer) = tokio::sync::oneshot::channel();
        let ticket = Ticket::new(1, done, permit);
        ticket.resolve(1, Verdict::Confirmed);
        assert_eq!(answer.try_recv(), Ok(Ok(())));
        assert!(budget.try_acquire(1, 10).is_some() && limit.charge(tenant, 1).is_some());
    }
}
