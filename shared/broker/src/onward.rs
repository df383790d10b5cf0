//! Deliveries that go on: to the ladder for a retry or until their turn, or to another lane.
//!
//! Those for the same place that are handed over within [`GATHER`] share messages. An endpoint that is down, or that many wait
//! for, sends thousands to the same few rungs: alone in their messages they would cost the broker many times as much,
//! on the way to the rung, from there to the lane, and to the consumer.
//!
//! Pipelined, and sent again until confirmed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use lapin::types::ShortString;
use postrider_model::delivery::Lane;
use postrider_wire::bundle::Member;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::bundler::next_bundle;
use crate::connection::Link;
use crate::error::PublishError;
use crate::ladder::Rung;
use crate::pipeline::{Closed, Outgoing, Pipeline, Policy};
use crate::topology::{DELAY_EXCHANGE, LANES_EXCHANGE, lane_key};

/// How long the first of those that go on waits for company. Nobody waits for a rung's least delay to be kept to the millisecond,
/// and a lane that it moves to is no faster.
const GATHER: Duration = Duration::from_millis(10);
/// Members not confirmed at most; beyond, [`Onward::publish`] waits.
const UNCONFIRMED_MAX: usize = 1_024;

/// Where a delivery goes on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
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

impl Place {
    fn address(self) -> (&'static str, ShortString, Option<Rung>) {
        match self {
            Self::Lane(lane) => (LANES_EXCHANGE, lane_key(lane).into(), None),
            Self::Rung { rung, lane } => (DELAY_EXCHANGE, format!("{rung}.{}", lane_key(lane)).into(), Some(rung)),
        }
    }
}

type Done = oneshot::Sender<Result<(), PublishError>>;
type Job = (Place, Member, Done);

/// A publisher of deliveries that go on. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct Onward {
    jobs: mpsc::Sender<Job>,
}

impl Onward {
    pub(crate) fn start(link: Link) -> Self {
        let (jobs, received) = mpsc::channel(UNCONFIRMED_MAX);
        let gathering = Gathering {
            waiting: HashMap::new(),
            since: None,
            outstanding: 0,
            pipeline: Pipeline::new(link, "onward", Policy::Persist),
        };
        tokio::spawn(gathering.run(received));
        Self { jobs }
    }

    /// Publishes a member and returns when it is confirmed. Dropping the future leaves it unknown.
    ///
    /// # Errors
    /// [`PublishError::Stopped`] at shutdown only; everything else is tried again.
    pub async fn publish(&self, to: Place, member: Member) -> Result<(), PublishError> {
        let (done, confirmed) = oneshot::channel();
        self.jobs.send((to, member, done)).await.map_err(|_| PublishError::Stopped)?;
        confirmed.await.unwrap_or(Err(PublishError::Stopped))
    }
}

/// The task: gathers by place, sends, settles.
struct Gathering {
    waiting: HashMap<Place, VecDeque<(Member, Done)>>,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// Members that wait or are not confirmed.
    outstanding: usize,
    pipeline: Pipeline<Vec<Done>>,
}

impl Gathering {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open || self.outstanding > 0 {
            let gathered = self.since.map(|since| since + GATHER);
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
                () = tokio::time::sleep_until(gathered.unwrap_or_else(Instant::now)), if gathered.is_some() => self.commit(),
            }
            // What a lost connection left unconfirmed is sent again here, too.
            if matches!(self.pipeline.advance().await, Err(Closed)) {
                return;
            }
        }
    }

    fn take(&mut self, (place, member, done): Job) {
        self.since.get_or_insert_with(Instant::now);
        self.outstanding += 1;
        self.waiting.entry(place).or_default().push_back((member, done));
    }

    fn commit(&mut self) {
        self.since = None;
        for (place, mut waiting) in self.waiting.drain() {
            while let Some((members, token)) = next_bundle(&mut waiting) {
                self.pipeline.metrics().members.record(members.len() as f64);
                let (exchange, routing_key, rung) = place.address();
                self.pipeline.push(Outgoing { rung, ..Outgoing::bundle(exchange, routing_key, &members, token) });
            }
        }
    }
}
