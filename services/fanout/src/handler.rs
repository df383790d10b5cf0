//! Handles bundles of events: decides about each event, and publishes the deliveries and decisions.
//!
//! Events for ordered endpoints are decided by one process at a time ([`crate::ordered`]). Ingest routes them there. An event
//! that arrives here nevertheless, because ingest did not have the newest configuration, is forwarded.

use std::sync::Arc;
use std::time::Duration;

use postrider_broker::{BatchOptions, BatchPublisher, Broker, BundleOutcome, Poison, PublishError, Route};
use postrider_model::delivery::Lane;
use postrider_wire::bundle::{DecodeError, Member};
use postrider_wire::messages::AcceptedEvent;
use tracing::Span;

use crate::Config;
use crate::decide::Decided;
use crate::decider::{Decider, Weight};
use crate::metrics;

pub(crate) struct Handler {
    decider: Arc<Decider>,
    publishers: Publishers,
    catch_up_max: Duration,
}

/// The index of an event in its bundle, the event, and the member that contains it.
type Indexed<'a> = (usize, AcceptedEvent, &'a Member);
/// Events that cannot be processed, with their indexes in the bundle.
type Poisoned = Vec<(usize, Poison)>;

impl Handler {
    pub(crate) fn new(broker: &Broker, decider: Arc<Decider>, config: &Config) -> Self {
        Self { decider, publishers: Publishers::new(broker, config), catch_up_max: config.catch_up_max }
    }

    /// Handles a bundle. Light events do not wait for heavy events.
    pub(crate) async fn handle(&self, members: Vec<Member>) -> BundleOutcome {
        let events: Vec<_> = members.iter().map(Member::head::<AcceptedEvent>).collect();
        // There is one wait per bundle. With one wait per event, a configuration version that does not arrive would delay the
        // bundle many times as long.
        let newest = events.iter().flatten().map(|event| event.config_version).max().unwrap_or_default();
        self.decider.catch_up(newest, self.catch_up_max).await;
        let Sorted { light, heavy, mut poisoned } = self.sort(events, &members);
        match tokio::try_join!(self.publish_results(light), self.publish_results(heavy)) {
            Ok((of_light, of_heavy)) => {
                poisoned.extend(of_light.into_iter().chain(of_heavy));
                BundleOutcome::Settled { poisoned }
            }
            Err(error) => BundleOutcome::Requeue(error.to_string()),
        }
    }

    fn sort<'a>(&self, events: Vec<Result<AcceptedEvent, DecodeError>>, members: &'a [Member]) -> Sorted<'a> {
        let mut sorted = Sorted::default();
        for (index, (event, member)) in events.into_iter().zip(members).enumerate() {
            match event.map(|event| (self.decider.weight(&event, &member.payload), event)) {
                Ok((Weight::Light, event)) => sorted.light.push((index, event, member)),
                Ok((Weight::Heavy, event)) => sorted.heavy.push((index, event, member)),
                Err(error) => sorted.poisoned.push((index, Poison::new(error.to_string()))),
            }
        }
        sorted
    }

    /// Decides about events and publishes the results. After the broker has confirmed the results, returns the events that
    /// cannot be processed.
    async fn publish_results(&self, events: Vec<Indexed<'_>>) -> Result<Poisoned, PublishError> {
        let (mut results, mut poisoned) = (Results::default(), Vec::new());
        for (index, event, member) in events {
            match self.decider.decide(event, &member.payload).await {
                Ok((decided, _)) if !decided.ordered.is_empty() => results.forwarded.push(member.clone()),
                Ok((decided, span)) => results.add(decided, span),
                Err(poison) => poisoned.push((index, poison)),
            }
        }
        self.publishers.publish(results).await?;
        Ok(poisoned)
    }
}

/// The readable events of a bundle, by weight, and the members that cannot be read.
#[derive(Default)]
struct Sorted<'a> {
    light: Vec<Indexed<'a>>,
    heavy: Vec<Indexed<'a>>,
    poisoned: Poisoned,
}

/// The deliveries of several events, by lane, and the decisions.
#[derive(Default)]
struct Results {
    live: Vec<Member>,
    slow: Vec<Member>,
    bulk: Vec<Member>,
    decisions: Vec<Member>,
    /// Events to be decided in order.
    forwarded: Vec<Member>,
    /// The spans of the events, unless spans are disabled. The spans end when the broker has confirmed all results.
    spans: Vec<Span>,
}

impl Results {
    fn add(&mut self, Decided { deliveries, decision, .. }: Decided, span: Span) {
        for (lane, delivery) in deliveries {
            match lane {
                Lane::Live => self.live.push(delivery),
                Lane::Slow => self.slow.push(delivery),
                Lane::Bulk => self.bulk.push(delivery),
            }
        }
        self.decisions.push(decision);
        if !span.is_none() {
            self.spans.push(span);
        }
    }
}

struct Publishers {
    live: BatchPublisher,
    slow: BatchPublisher,
    bulk: BatchPublisher,
    decisions: BatchPublisher,
    forwarded: BatchPublisher,
}

impl Publishers {
    fn new(broker: &Broker, config: &Config) -> Self {
        let lane = |lane| broker.batch_publisher(Route::Lane(lane), BatchOptions::default());
        let gathered = BatchOptions { gather: config.decision_gather, ..BatchOptions::default() };
        Self {
            live: lane(Lane::Live),
            slow: lane(Lane::Slow),
            bulk: lane(Lane::Bulk),
            decisions: broker.batch_publisher(Route::Decisions, gathered),
            forwarded: broker.batch_publisher(Route::FanoutOrdered, BatchOptions::default()),
        }
    }

    /// Publishes all results. Returns after the broker has confirmed them.
    async fn publish(&self, results: Results) -> Result<(), PublishError> {
        let Results { live, slow, bulk, decisions, forwarded, spans: _until_confirmed } = results;
        metrics::decided(decisions.len());
        metrics::delivered(Lane::Live, live.len());
        metrics::delivered(Lane::Slow, slow.len());
        metrics::delivered(Lane::Bulk, bulk.len());
        tokio::try_join!(
            self.live.publish(live),
            self.slow.publish(slow),
            self.bulk.publish(bulk),
            self.decisions.publish(decisions),
            self.forwarded.publish(forwarded),
        )?;
        Ok(())
    }
}
