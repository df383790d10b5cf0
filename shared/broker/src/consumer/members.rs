//! Consumers that handle each member in its own task. A bundle is acked when all of its members are settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use postrider_wire::bundle::Member;
use tokio_util::sync::CancellationToken;

use super::engine::{Inbound, Settler};
use super::source::Source;
use super::task_per_message::{Work, consume};
use super::{ConsumeOptions, Handled, MemberContext, Unsettled, run_handler};
use crate::broker::Broker;
use crate::budget::Permit;
use crate::topology::Queue;

impl Broker {
    /// Consumes a queue member by member until `stop`, then drains and returns.
    ///
    /// The handler runs in one task per member: a slow member delays no other member, but occupies its share of the budget.
    /// `Ok` settles the member: all of its effects must already be confirmed or committed. After [`Unsettled::Poison`] or a
    /// panic only this member becomes a dead letter. After [`Unsettled::Requeue`] its whole message returns to the queue.
    pub async fn consume_members<H, F>(
        &self,
        queue: Queue,
        options: ConsumeOptions,
        handler: H,
        stop: CancellationToken,
    ) where
        H: Fn(Member, MemberContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Unsettled>> + Send + 'static,
    {
        consume(self, queue, options, Members(Arc::new(handler)), stop).await;
    }
}

struct Members<H>(Arc<H>);

/// A message whose members are being handled.
struct Pending {
    remaining: AtomicUsize,
    requeue: AtomicBool,
    settler: Mutex<Option<Settler>>,
}

impl Pending {
    fn settle_one(&self, is_settled: bool) {
        if !is_settled {
            self.requeue.store(true, Ordering::Relaxed);
        }
        if self.remaining.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // Dropping the settler requeues the message.
        if let Some(settler) = self.settler.lock().take()
            && !self.requeue.load(Ordering::Relaxed)
        {
            settler.ack();
        }
    }
}

impl<H, F> Work for Members<H>
where
    H: Fn(Member, MemberContext) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Unsettled>> + Send + 'static,
{
    type Item = Vec<Member>;

    fn decode(&self, source: &Source, inbound: Inbound) -> Option<(Vec<Member>, Inbound)> {
        source.decode(inbound)
    }

    fn members(item: &Vec<Member>) -> usize {
        item.len()
    }

    fn start(&self, source: &Source, members: Vec<Member>, inbound: Inbound, mut permit: Permit) {
        let Inbound { context, settler, .. } = inbound;
        if members.is_empty() {
            return settler.ack();
        }
        let bytes_each = permit.bytes.num_permits() / members.len();
        let pending = Arc::new(Pending {
            remaining: AtomicUsize::new(members.len()),
            requeue: AtomicBool::new(false),
            settler: Mutex::new(Some(settler)),
        });
        for member in members {
            let permits = (permit.members.split(1), permit.bytes.split(bytes_each));
            let (source, handler, pending) = (source.clone(), Arc::clone(&self.0), Arc::clone(&pending));
            tokio::spawn(async move {
                let _permits = permits;
                let is_settled = handle(&source, handler.as_ref(), member, context).await;
                pending.settle_one(is_settled);
            });
        }
    }
}

/// Handles one member. Returns whether the member is settled.
async fn handle<H, F>(source: &Source, handler: &H, member: Member, context: MemberContext) -> bool
where
    H: Fn(Member, MemberContext) -> F,
    F: Future<Output = Result<(), Unsettled>>,
{
    let kept = member.clone();
    match run_handler(source.queue, async move { handler(member, context).await }).await {
        Handled::Settled => true,
        Handled::Requeue => false,
        Handled::Poison(poison) => Box::pin(source.dead_letter(&kept, &poison)).await.is_ok(),
    }
}
