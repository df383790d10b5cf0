//! Consuming a bundle at a time: for work that is cheaper together, as the fan-out's publishing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use postrider_wire::bundle::Member;
use tokio_util::sync::CancellationToken;

use super::engine::{self, Budget, Inbound, MessageSink};
use super::{ConsumeOptions, MemberContext, Poison, dead_letter, from_panic, given_back};
use crate::broker::Broker;
use crate::depth::QueueTally;
use crate::topology::Queue;

/// What a handler made of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleOutcome {
    /// Every member is settled, but for those named by their place in the bundle, which are put aside as dead letters. Everything
    /// that the others caused is confirmed or committed.
    Settled {
        /// Destination in the bundle and reason.
        poisoned: Vec<(usize, Poison)>,
    },
    /// It could not be handled now (a publisher has ended), for this reason: the bundle goes back to its queue.
    Requeue(String),
}

impl Broker {
    /// Consumes a queue bundle by bundle until `stop`, then drains and returns. Each bundle is handled in a task of its own.
    ///
    /// The handler guards each member's work with [`catch_panic`](super::catch_panic) and reports those that cannot be processed. A panic that
    /// escapes all the same takes the bundle apart, so that the next time only one member is hit.
    pub async fn consume_bundles<H, F>(
        &self,
        queue: Queue,
        options: ConsumeOptions,
        handler: H,
        stop: CancellationToken,
    ) where
        H: Fn(Vec<Member>, MemberContext) -> F + Send + Sync + 'static,
        F: Future<Output = BundleOutcome> + Send + 'static,
    {
        let take = Bundles {
            broker: self.clone(),
            queue,
            budget: Budget::new(options),
            handler: Arc::new(handler),
            consumed: self.consumed_queues().of(queue),
        };
        engine::run(self, queue, options, take, stop).await;
    }
}

struct Bundles<H> {
    broker: Broker,
    queue: Queue,
    budget: Budget,
    handler: Arc<H>,
    consumed: Arc<QueueTally>,
}

impl<H, F> MessageSink for Bundles<H>
where
    H: Fn(Vec<Member>, MemberContext) -> F + Send + Sync + 'static,
    F: Future<Output = BundleOutcome> + Send + 'static,
{
    async fn take(&mut self, inbound: Inbound) {
        let Some((members, inbound)) = dead_letter::open(&self.broker, self.queue, inbound) else { return };
        let Some(share) = self.budget.take(members.len(), inbound.delivery.data.len()).await else { return };
        self.consumed.took(members.len(), inbound.delivery.data.len());
        let (broker, queue, handler) = (self.broker.clone(), self.queue, Arc::clone(&self.handler));
        tokio::spawn(async move {
            let _share = share;
            handle(&broker, queue, handler.as_ref(), members, inbound).await;
        });
    }
}

async fn handle<H, F>(broker: &Broker, queue: Queue, handler: &H, members: Vec<Member>, inbound: Inbound)
where
    H: Fn(Vec<Member>, MemberContext) -> F,
    F: Future<Output = BundleOutcome>,
{
    let kept = members.clone();
    let context = inbound.context;
    let work = AssertUnwindSafe(async move { handler(members, context).await });
    let poisoned = match work.catch_unwind().await {
        Ok(BundleOutcome::Settled { poisoned }) => poisoned,
        Ok(BundleOutcome::Requeue(reason)) => return given_back(queue, &reason),
        Err(panic) if kept.len() == 1 => vec![(0, from_panic(panic.as_ref()))],
        Err(panic) => {
            let poison = from_panic(panic.as_ref());
            tracing::warn!(
                queue = queue.name(),
                reason = poison.reason,
                "a bundle's handler panicked, taking it apart"
            );
            return dead_letter::explode(broker, queue, kept, inbound);
        }
    };
    for (place, poison) in poisoned {
        let Some(member) = kept.get(place) else { continue };
        if dead_letter::dead_letter(broker, queue, member, &poison).await.is_err() {
            return;
        }
    }
    inbound.settler.ack();
}
