//! Publishes deliveries that wait on the ladder, for a retry or until their slot, or that change lanes.
//!
//! Deliveries for the same destination share messages if they arrive within [`Destination::gather`]. An endpoint that is down,
//! or has a backlog, sends thousands of deliveries to the same few rungs. As separate messages they would cost the broker many
//! times as much on the way to the rung, from the rung to the lane, and to the consumer.
//!
//! Messages are sent again until they are confirmed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lapin::types::ShortString;
use postrider_model::delivery::Lane;
use postrider_model::limits::BUNDLE_MEMBERS_MAX;
use postrider_wire::bundle::Member;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Done;
use super::bundling::next_bundle;
use super::confirm_channel::{Closed, ConfirmChannel, ResendPolicy};
use super::outgoing::Outgoing;
use crate::connection::SupervisedConnection;
use crate::error::PublishError;
use crate::ladder::Rung;
use crate::topology::{DELAY_EXCHANGE, LANES_EXCHANGE, lane_key};

/// How long the first member for a destination waits for others. A rung or a change of lanes needs no higher precision. A change
/// of lanes waits only this long, because the live messages behind it cannot be acked until it is published.
const GATHER: Duration = Duration::from_millis(10);
/// How long the first member for a rung of the slow lane waits for others: longer than [`GATHER`], because retries to an
/// endpoint that does not answer arrive one by one.
const GATHER_SLOW: Duration = Duration::from_millis(100);
/// Maximum number of unconfirmed members. Above it, [`DelayPublisher::publish`] waits.
const UNCONFIRMED_MAX: usize = 1_024;

/// The destination of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To a lane, now.
    Lane(Lane),
    /// To a lane, after the rung's delay.
    Rung {
        /// From [`ladder::rung_at_least`](crate::ladder::rung_at_least) or [`ladder::rung_at_most`](crate::ladder::rung_at_most).
        rung: Rung,
        /// The lane to which the delivery returns.
        lane: Lane,
    },
}

impl Destination {
    /// How long the first member waits for other members.
    fn gather(self) -> Duration {
        match self {
            Self::Rung { lane: Lane::Slow, .. } => GATHER_SLOW,
            Self::Rung { .. } | Self::Lane(_) => GATHER,
        }
    }

    fn address(self) -> (&'static str, ShortString, Option<Rung>) {
        match self {
            Self::Lane(lane) => (LANES_EXCHANGE, lane_key(lane).into(), None),
            Self::Rung { rung, lane } => (DELAY_EXCHANGE, format!("{rung}.{}", lane_key(lane)).into(), Some(rung)),
        }
    }
}

type Job = (Destination, Member, Done);

/// A publisher of deliveries that wait or change lanes. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct DelayPublisher {
    jobs: mpsc::Sender<Job>,
}

impl DelayPublisher {
    pub(crate) fn start(connection: SupervisedConnection) -> Self {
        let (jobs, received) = mpsc::channel(UNCONFIRMED_MAX);
        let tasks = connection.tasks().clone();
        let gatherer = Gatherer {
            waiting: HashMap::new(),
            outstanding: 0,
            channel: ConfirmChannel::new(connection, "delay", ResendPolicy::UntilConfirmed),
        };
        tasks.spawn("delay", gatherer.run(received));
        Self { jobs }
    }

    /// Publishes a member and returns when it is confirmed. If the future is dropped, the member may or may not be published.
    ///
    /// # Errors
    /// [`PublishError::Stopped`], at shutdown only.
    pub async fn publish(&self, to: Destination, member: Member) -> Result<(), PublishError> {
        let (done, confirmed) = oneshot::channel();
        self.jobs.send((to, member, done)).await.map_err(|_| PublishError::Stopped)?;
        confirmed.await.unwrap_or(Err(PublishError::Stopped))
    }
}

/// Members that gather for one destination.
struct Waiting {
    members: VecDeque<(Member, Done)>,
    /// The latest time at which the members are sent.
    until: Instant,
}

/// The publisher's task: it gathers members by destination, sends them and answers the callers.
struct Gatherer {
    waiting: HashMap<Destination, Waiting>,
    /// The number of members that gather or are unconfirmed.
    outstanding: usize,
    channel: ConfirmChannel<Vec<Done>>,
}

impl Gatherer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open || self.outstanding > 0 {
            let first = self.waiting.values().map(|waiting| waiting.until).min();
            tokio::select! {
                answered = self.channel.confirms() => {
                    for done in answered.into_iter().flat_map(|(members, _)| members) {
                        self.outstanding -= 1;
                        let _ = done.send(Ok(()));
                    }
                }
                job = jobs.recv(), if open && self.outstanding < UNCONFIRMED_MAX => match job {
                    Some(job) => {
                        self.take(job);
                        while self.outstanding < UNCONFIRMED_MAX && let Ok(job) = jobs.try_recv() {
                            self.take(job);
                        }
                    }
                    None => open = false,
                },
                () = tokio::time::sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => {}
            }
            self.commit();
            // This call also sends again the messages that a lost connection left unconfirmed.
            if matches!(self.channel.send_pending().await, Err(Closed)) {
                return;
            }
        }
    }

    fn take(&mut self, (to, member, done): Job) {
        self.outstanding += 1;
        let waiting = self
            .waiting
            .entry(to)
            .or_insert_with(|| Waiting { members: VecDeque::new(), until: Instant::now() + to.gather() });
        waiting.members.push_back((member, done));
    }

    /// Queues the members of each destination that has waited long enough or fills a bundle. If `UNCONFIRMED_MAX` is reached,
    /// queues all members.
    fn commit(&mut self) {
        let (now, full) = (Instant::now(), self.outstanding >= UNCONFIRMED_MAX);
        let is_due = |_: &Destination, waiting: &mut Waiting| {
            full || waiting.until <= now || waiting.members.len() >= BUNDLE_MEMBERS_MAX
        };
        for (to, Waiting { mut members, .. }) in self.waiting.extract_if(is_due) {
            while let Some((members, token)) = next_bundle(&mut members) {
                self.channel.metrics().members.record(members.len() as f64);
                let (exchange, routing_key, rung) = to.address();
                self.channel.push(Outgoing { rung, ..Outgoing::bundle(exchange, routing_key, &members, token) });
            }
        }
    }
}
