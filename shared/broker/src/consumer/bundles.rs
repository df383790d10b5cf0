//! Consumers that handle a whole bundle at a time, because handling its members together is cheaper.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use postrider_wire::bundle::Member;
use tokio_util::sync::CancellationToken;

use super::engine::Inbound;
use super::source::Source;
use super::task_per_message::{Work, consume};
use super::{ConsumeOptions, MemberContext, Poison};
use crate::broker::Broker;
use crate::budget::Permit;
use crate::metrics;
use crate::topology::Queue;

/// The result of handling a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleOutcome {
    /// The poisoned members become dead letters. The other members are handled, and all of their effects are confirmed or
    /// committed.
    Settled {
        /// The index in the bundle of each poisoned member, and why the member is poisoned.
        poisoned: Vec<(usize, Poison)>,
    },
    /// The bundle cannot be handled now, for the given reason (such as a publisher that has ended). It returns to its queue.
    Requeue(String),
}

impl Broker {
    /// Consumes a queue bundle by bundle until `stop`, then drains and returns. Each bundle is handled in a separate task.
    ///
    /// The handler must wrap each member's work in [`catch_panic`](super::catch_panic) and report the members that cannot be
    /// processed. If the handler panics nevertheless, the bundle is split into single messages, so that the next panic affects
    /// one member only.
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
        consume(self, queue, options, Bundles(Arc::new(handler)), stop).await;
    }
}

struct Bundles<H>(Arc<H>);

impl<H, F> Work for Bundles<H>
where
    H: Fn(Vec<Member>, MemberContext) -> F + Send + Sync + 'static,
    F: Future<Output = BundleOutcome> + Send + 'static,
{
    type Item = Vec<Member>;

    fn decode(&self, source: &Source, inbound: Inbound) -> Option<(Vec<Member>, Inbound)> {
        source.decode(inbound)
    }

    fn members(item: &Vec<Member>) -> usize {
        item.len()
    }

    fn start(&self, source: &Source, members: Vec<Member>, inbound: Inbound, permit: Permit) {
        let (source, handler) = (source.clone(), Arc::clone(&self.0));
        tokio::spawn(async move {
            let _permit = permit;
            handle(&source, handler.as_ref(), members, inbound).await;
        });
    }
}

async fn handle<H, F>(source: &Source, handler: &H, members: Vec<Member>, inbound: Inbound)
where
    H: Fn(Vec<Member>, MemberContext) -> F,
    F: Future<Output = BundleOutcome>,
{
    let kept = members.clone();
    let context = inbound.context;
    let work = AssertUnwindSafe(async move { handler(members, context).await });
    let poisoned = match work.catch_unwind().await {
        Ok(BundleOutcome::Settled { poisoned }) => poisoned,
        Ok(BundleOutcome::Requeue(reason)) => return metrics::requeued(source.queue, &reason),
        Err(panic) => {
            let poison = Poison::from_panic(panic.as_ref());
            if kept.len() > 1 {
                let queue = source.queue.name();
                tracing::warn!(queue, reason = poison.reason, "a bundle's handler panicked; splitting the bundle");
                return source.split(kept, inbound);
            }
            vec![(0, poison)]
        }
    };
    for (index, poison) in poisoned {
        let Some(member) = kept.get(index) else { continue };
        if source.dead_letter(member, &poison).await.is_err() {
            return;
        }
    }
    inbound.settler.ack();
}
