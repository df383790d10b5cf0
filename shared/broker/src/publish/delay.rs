//! Deliveries that go on: to the ladder for a retry or until their turn, or to another lane.
//!
//! Those for the same place that are handed over within some milliseconds ([`Destination::gather`]) share messages. An endpoint that
//! is down, or that many wait for, sends thousands to the same few rungs: alone in their messages they would cost the broker
//! many times as much, on the way to the rung, from there to the lane, and to the consumer.
//!
//! Pipelined, and sent again until confirmed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lapin::types::ShortString;
use postrider_model::delivery::Lane;
use postrider_model::limits::BUNDLE_MEMBERS_MAX;
use postrider_wire::bundle::Member;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::connection::SupervisedConnection;
use crate::error::PublishError;
use crate::ladder::Rung;
use crate::publish::batch::next_bundle;
use crate::publish::confirm_channel::{Closed, ConfirmChannel, Outgoing, Policy};
use crate::topology::{DELAY_EXCHANGE, LANES_EXCHANGE, lane_key};

/// How long the first of those that go on waits for company. Nobody waits for a rung's least delay to be kept to the millisecond,
/// and a lane that it moves to is no faster.
const GATHER: Duration = Duration::from_millis(10);
/// The same where they come back to the slow lane after a while: those of an endpoint that does not answer come one by one, and go
/// round again and again. Not so on the way from the live lane to the slow one: live messages behind them cannot be
/// acknowledged together meanwhile.
const GATHER_SLOW: Duration = Duration::from_millis(100);
/// Members not confirmed at most; beyond, [`DelayPublisher::publish`] waits.
const UNCONFIRMED_MAX: usize = 1_024;

/// Where a delivery goes on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To a lane, now.
    Lane(Lane),
    /// To a lane, after the rung's delay.
    Rung {
        /// From [`ladder::rung_at_least`](crate::ladder::rung_at_least) or [`ladder::rung_at_most`](crate::ladder::rung_at_most).
        rung: Rung,
        /// The lane it surfaces in.
        lane: Lane,
    },
}

impl Destination {
    /// How long the first that goes there waits for company.
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

type Done = oneshot::Sender<Result<(), PublishError>>;
type Job = (Destination, Member, Done);

/// A publisher of deliveries that go on. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct DelayPublisher {
    jobs: mpsc::Sender<Job>,
}

impl DelayPublisher {
    pub(crate) fn start(link: SupervisedConnection) -> Self {
        let (jobs, received) = mpsc::channel(UNCONFIRMED_MAX);
        let helpers = link.helpers().clone();
        let gathering = Gathering {
            waiting: HashMap::new(),
            outstanding: 0,
            pipeline: ConfirmChannel::new(link, "onward", Policy::Persist),
        };
        helpers.spawn("onward", gathering.run(received));
        Self { jobs }
    }

    /// Publishes a member and returns when it is confirmed. Dropping the future leaves it unknown.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] at shutdown only; everything else is tried again.
    pub async fn publish(&self, to: Destination, member: Member) -> Result<(), PublishError> {
        let (done, confirmed) = oneshot::channel();
        self.jobs.send((to, member, done)).await.map_err(|_| PublishError::Stopped)?;
        confirmed.await.unwrap_or(Err(PublishError::Stopped))
    }
}

/// Those that wait for company on their way to the same place.
struct Waiting {
    members: VecDeque<(Member, Done)>,
    /// When they go, however few they are.
    until: Instant,
}

/// The task: gathers by place, sends, settles.
struct Gathering {
    waiting: HashMap<Destination, Waiting>,
    /// Members that wait or are not confirmed.
    outstanding: usize,
    pipeline: ConfirmChannel<Vec<Done>>,
}

impl Gathering {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open || self.outstanding > 0 {
            let first = self.waiting.values().map(|waiting| waiting.until).min();
            tokio::select! {
                settled = self.pipeline.confirms() => {
                    for done in settled.into_iter().flat_map(|(members, _)| members) {
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
            // What a lost connection left unconfirmed is sent again here, too.
            if matches!(self.pipeline.advance().await, Err(Closed)) {
                return;
            }
        }
    }

    fn take(&mut self, (place, member, done): Job) {
        self.outstanding += 1;
        let waiting = self
            .waiting
            .entry(place)
            .or_insert_with(|| Waiting { members: VecDeque::new(), until: Instant::now() + place.gather() });
        waiting.members.push_back((member, done));
    }

    /// Sends what has waited long enough, or fills a message; everything when no more may be taken before it is sent.
    fn commit(&mut self) {
        let (now, full) = (Instant::now(), self.outstanding >= UNCONFIRMED_MAX);
        let goes = |_: &Destination, waiting: &mut Waiting| {
            full || waiting.until <= now || waiting.members.len() >= BUNDLE_MEMBERS_MAX
        };
        for (place, Waiting { mut members, .. }) in self.waiting.extract_if(goes) {
            while let Some((members, token)) = next_bundle(&mut members) {
                self.pipeline.metrics().members.record(members.len() as f64);
                let (exchange, routing_key, rung) = place.address();
                self.pipeline.push(Outgoing { rung, ..Outgoing::bundle(exchange, routing_key, &members, token) });
            }
        }
    }
}
