//! Consuming member by member: a task each, a panic caught, the bundle acked when all are settled.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt;
use postrider_wire::bundle::Member;
use tokio::sync::Mutex as AsyncMutex;
use tokio_util::sync::CancellationToken;

use super::engine::{self, Budget, Inbound, MessageSink, Settler};
use super::priority::PriorityYield;
use super::{ConsumeOptions, MemberContext, Unsettled, dead_letter, from_panic, given_back};
use crate::broker::Broker;
use crate::depth::QueueTally;
use crate::topology::Queue;

impl Broker {
    /// Consumes a queue member by member until `stop`, then drains and returns.
    ///
    /// The handler runs in a task per member, so a slow one holds up nobody (but takes its share of the budget). `Ok` settles
    /// the member: everything it caused must be confirmed or committed by then. [`Unsettled::Poison`] and a panic put it aside
    /// alone; [`Unsettled::Requeue`] returns its whole message to the queue.
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
        let take = Members {
            broker: self.clone(),
            queue,
            budget: Budget::new(options),
            handler: Arc::new(handler),
            consumed: self.consumed_queues().of(queue),
            gives_way: options.yields_to.map(|urgent| PriorityYield::to(self.consumed_queues().of(urgent))),
        };
        engine::run(self, queue, options, take, stop).await;
    }
}

struct Members<H> {
    broker: Broker,
    queue: Queue,
    budget: Budget,
    handler: Arc<H>,
    consumed: Arc<QueueTally>,
    gives_way: Option<PriorityYield>,
}

/// A message whose members are being handled.
struct InFlight {
    remaining: AtomicUsize,
    give_back: AtomicBool,
    settler: AsyncMutex<Option<Settler>>,
}

impl InFlight {
    fn settle_one(&self, give_back: bool) {
        if give_back {
            self.give_back.store(true, Ordering::Relaxed);
        }
        if self.remaining.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        // Only the last member comes here, so the lock is free; a settler that is dropped gives its message back.
        let settler = self.settler.try_lock().ok().and_then(|mut settler| settler.take());
        if let Some(settler) = settler
            && !self.give_back.load(Ordering::Relaxed)
        {
            settler.ack();
        }
    }
}

impl<H, F> MessageSink for Members<H>
where
    H: Fn(Member, MemberContext) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Unsettled>> + Send + 'static,
{
    async fn take(&mut self, inbound: Inbound) {
        let Some((members, inbound)) = dead_letter::open(&self.broker, self.queue, inbound) else { return };
        let Some(mut share) = self.budget.take(members.len(), inbound.delivery.data.len()).await else { return };
        self.consumed.took(members.len(), inbound.delivery.data.len());
        let Inbound { context, settler, .. } = inbound;
        if members.is_empty() {
            return settler.ack();
        }
        let in_hand = Arc::new(InFlight {
            remaining: AtomicUsize::new(members.len()),
            give_back: AtomicBool::new(false),
            settler: AsyncMutex::new(Some(settler)),
        });
        let bytes_each = share.bytes.num_permits() / members.len();
        let taken = members.len();
        for member in members {
            let permits = (share.members.split(1), share.bytes.split(bytes_each));
            let (broker, queue, handler) = (self.broker.clone(), self.queue, Arc::clone(&self.handler));
            let in_hand = Arc::clone(&in_hand);
            tokio::spawn(async move {
                let _permits = permits;
                let give_back = !handle(&broker, queue, handler.as_ref(), member, context).await;
                in_hand.settle_one(give_back);
            });
        }
        if let Some(gives_way) = &mut self.gives_way {
            gives_way.took(taken).await;
        }
    }
}

/// Handles one member; tells whether it is settled.
async fn handle<H, F>(broker: &Broker, queue: Queue, handler: &H, member: Member, context: MemberContext) -> bool
where
    H: Fn(Member, MemberContext) -> F,
    F: Future<Output = Result<(), Unsettled>>,
{
    let kept = member.clone();
    // One expression: a future that is moved from one variable to another takes the room of both.
    let work = AssertUnwindSafe(async move { handler(member, context).await }).catch_unwind();
    let poison = match work.await {
        Ok(Ok(())) => return true,
        Ok(Err(Unsettled::Requeue(reason))) => {
            given_back(queue, &reason);
            return false;
        }
        Ok(Err(Unsettled::Poison(poison))) => poison,
        Err(panic) => from_panic(panic.as_ref()),
    };
    Box::pin(dead_letter::dead_letter(broker, queue, &kept, &poison)).await.is_ok()
}
