//! The consumer that handles messages in tasks: it decodes a message, waits for room in the budget, and starts the tasks.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::ConsumeOptions;
use super::engine::{self, Inbound, MessageSink};
use super::priority::PriorityYield;
use super::source::Source;
use crate::broker::Broker;
use crate::budget::{Budget, Permit};
use crate::depth::QueueTally;
use crate::topology::Queue;

/// How to decode and handle a queue's messages.
pub(super) trait Work: Send {
    /// A decoded message.
    type Item: Send;

    /// Decodes a message; `None` if the message must not be handled. A task then settles the message.
    fn decode(&self, source: &Source, inbound: Inbound) -> Option<(Self::Item, Inbound)>;

    /// The number of members in a message.
    fn members(item: &Self::Item) -> usize;

    /// Starts the tasks that handle and settle a message. They release the permit as they end.
    fn start(&self, source: &Source, item: Self::Item, inbound: Inbound, permit: Permit);
}

/// Consumes a queue until `stop`, then drains and returns.
pub(super) async fn consume(
    broker: &Broker,
    queue: Queue,
    options: ConsumeOptions,
    work: impl Work,
    stop: CancellationToken,
) {
    let tallies = broker.tallies();
    let sink = TaskPerMessage {
        source: Source { broker: broker.clone(), queue },
        budget: Budget::new(options.members_max, options.bytes_max),
        tally: tallies.of(queue),
        priority: options.yields_to.map(|urgent| PriorityYield::to(tallies.of(urgent))),
        work,
    };
    engine::run(broker, queue, options.prefetch, sink, stop).await;
}

struct TaskPerMessage<W> {
    source: Source,
    budget: Budget,
    tally: Arc<QueueTally>,
    priority: Option<PriorityYield>,
    work: W,
}

impl<W: Work> MessageSink for TaskPerMessage<W> {
    async fn take(&mut self, inbound: Inbound) {
        let Some((item, inbound)) = self.work.decode(&self.source, inbound) else { return };
        let (members, bytes) = (W::members(&item), inbound.delivery.data.len());
        let Some(permit) = self.budget.acquire(members, bytes).await else { return };
        self.tally.record(members, bytes);
        self.work.start(&self.source, item, inbound, permit);
        if let Some(priority) = &mut self.priority {
            priority.after(members).await;
        }
    }
}
