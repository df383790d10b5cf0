//! Decides about the events of tenants with an ordered endpoint, strictly in the order in which they were accepted.
//!
//! One fan-out process at a time consumes the queue of these events. It takes a batch of events, decides about them at the same
//! time, and puts the results in the order of the events. It publishes the deliveries of ordered endpoints to the sequencer on
//! one publisher with one unconfirmed bundle, and takes the next batch when everything is confirmed. So no delivery overtakes
//! another one, even if the connection is lost. After a crash, the next process decides about the unacked events again; the
//! sequencer leaves out the deliveries that it has.
//!
//! # What it does not do
//! It does not isolate tenants from each other as the unordered fan-out does: a batch takes as long as its most expensive events,
//! and every event waits for the batches before it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use postrider_broker::{
    BatchOptions, BatchPublisher, Broker, BundleOutcome, ConsumeOptions, Poison, PublishError, Route,
};
use postrider_model::delivery::Lane;
use postrider_wire::bundle::{DecodeError, Member};
use postrider_wire::messages::AcceptedEvent;
use tracing::Span;

use crate::decide::Decided;
use crate::decider::Decider;
use crate::{Config, metrics};

/// Limits for the events in flight. A crash repeats at most this number of events.
pub(crate) const CONSUME: ConsumeOptions =
    ConsumeOptions { prefetch: 64, members_max: 512, bytes_max: 8 * 1024 * 1024, yields_to: None };

/// Decides about events in order.
pub(crate) struct OrderedHandler {
    decider: Arc<Decider>,
    lanes: [BatchPublisher; 3],
    decisions: BatchPublisher,
    /// Keeps the order.
    sequencer: BatchPublisher,
    catch_up_max: Duration,
}

impl OrderedHandler {
    pub(crate) fn new(broker: &Broker, decider: Arc<Decider>, config: &Config) -> Self {
        let publisher = |route| broker.batch_publisher(route, BatchOptions::default());
        let in_order = BatchOptions { bundles_max: 1, ..BatchOptions::default() };
        Self {
            decider,
            lanes: Lane::ALL.map(|lane| publisher(Route::Lane(lane))),
            // These decisions do not gather, because the next events wait for their confirms.
            decisions: publisher(Route::Decisions),
            sequencer: broker.batch_publisher(Route::Ordered, in_order),
            catch_up_max: config.catch_up_max,
        }
    }

    /// Decides about events in their order and publishes the results.
    pub(crate) async fn handle(&self, members: Vec<Member>) -> BundleOutcome {
        let events: Vec<_> = members.iter().map(Member::head::<AcceptedEvent>).collect();
        let newest = events.iter().flatten().map(|event| event.config_version).max().unwrap_or_default();
        self.decider.catch_up(newest, self.catch_up_max).await;
        let decided = events.into_iter().zip(&members).map(|(event, member)| self.decide(event, member));
        let (mut results, mut spans, mut poisoned) = (Results::default(), Vec::new(), Vec::new());
        for (index, decided) in join_all(decided).await.into_iter().enumerate() {
            match decided {
                Ok((decided, span)) => {
                    results.add(decided);
                    spans.push(span);
                }
                Err(poison) => poisoned.push((index, poison)),
            }
        }
        match self.publish(results).await {
            Ok(()) => BundleOutcome::Settled { poisoned },
            Err(error) => BundleOutcome::Requeue(error.to_string()),
        }
    }

    async fn decide(
        &self,
        event: Result<AcceptedEvent, DecodeError>,
        member: &Member,
    ) -> Result<(Decided, Span), Poison> {
        let event = event.map_err(|error| Poison::new(error.to_string()))?;
        self.decider.decide(event, &member.payload).await
    }

    async fn publish(&self, results: Results) -> Result<(), PublishError> {
        let Results { lanes: [live, slow, bulk], ordered, decisions } = results;
        metrics::decided(decisions.len());
        metrics::delivered(Lane::Live, live.len());
        metrics::delivered(Lane::Slow, slow.len());
        metrics::delivered(Lane::Bulk, bulk.len());
        metrics::ordered(ordered.len());
        let [to_live, to_slow, to_bulk] = &self.lanes;
        tokio::try_join!(
            self.sequencer.publish(ordered),
            to_live.publish(live),
            to_slow.publish(slow),
            to_bulk.publish(bulk),
            self.decisions.publish(decisions),
        )?;
        Ok(())
    }
}

/// The deliveries and decisions of several events, in order.
#[derive(Default)]
struct Results {
    /// Deliveries of unordered endpoints, by the index of their lane in [`Lane::ALL`].
    lanes: [Vec<Member>; 3],
    ordered: Vec<Member>,
    decisions: Vec<Member>,
}

impl Results {
    fn add(&mut self, Decided { deliveries, ordered, decision }: Decided) {
        for (lane, delivery) in deliveries {
            let of_lane = match lane {
                Lane::Live => 0,
                Lane::Slow => 1,
                Lane::Bulk => 2,
            };
            self.lanes[of_lane].push(delivery);
        }
        self.ordered.extend(ordered);
        self.decisions.push(decision);
    }
}
