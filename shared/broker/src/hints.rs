//! HintSender: what services tell each other while they run. A fanout exchange, and a queue of its own for each listener.
//!
//! # What it promises
//! - Whoever listens gets what is told from then on, until its connection breaks; it listens again for ever, and asks for
//!   everything each time.
//! - Telling never waits and never fails: while the broker is away, or blocks publishers, hints are dropped.
//!
//! # What it does not
//! Nothing here is confirmed, kept on disk or repeated. Whoever tells must tell again now and then, and whoever listens must
//! do without what it missed: [`BreakerStates`] forgets what is not repeated.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use parking_lot::RwLock;
use postrider_model::breaker::{BreakerBoard, BreakerState, BreakerStatement};
use postrider_model::ids::EndpointId;
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::Hint;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::connection::{self, SupervisedConnection};
use crate::topology::{self, HINTS_EXCHANGE};

/// HintSender waiting to be told, or to be listened to, at most.
const WAITING_MAX: usize = 256;
/// How often a listener looks for what was not repeated.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// Tells hints. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct HintSender {
    waiting: mpsc::Sender<Hint>,
}

impl HintSender {
    /// Tells everybody who listens now. Dropped when that is impossible.
    pub fn send(&self, hint: Hint) {
        let _ = self.waiting.try_send(hint);
    }
}

impl Broker {
    /// A teller of hints, with a channel and a task of its own.
    pub fn hint_sender(&self) -> HintSender {
        let (waiting, told) = mpsc::channel(WAITING_MAX);
        let link = self.publish_link().clone();
        self.helpers().spawn("hints told", tell(link, told));
        HintSender { waiting }
    }

    /// Listens to hints until `stop`. Whenever listening begins, [`Hint::Ask`] is told.
    pub fn listen_for_hints(&self, hints: HintSender, stop: CancellationToken) -> mpsc::Receiver<Hint> {
        let (heard, hints_heard) = mpsc::channel(WAITING_MAX);
        let link = self.consume_link().clone();
        self.helpers().spawn("hints heard", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listen(link, &hints, &heard) => {}
            }
        });
        hints_heard
    }
}

async fn tell(link: SupervisedConnection, mut told: mpsc::Receiver<Hint>) {
    let mut channel = None;
    while let Some(hint) = told.recv().await {
        let Ok(member) = Member::new(&hint, bytes::Bytes::new()) else { continue };
        let body = bundle::encode(std::slice::from_ref(&member));
        if channel.is_none() {
            let Some(live) = link.live().await else { return };
            channel = live.channel().await.inspect_err(|error| tracing::debug!(%error, "cannot tell hints")).ok();
        }
        let Some(open) = &channel else { continue };
        let properties = BasicProperties::default().with_content_type(bundle::CONTENT_TYPE.into());
        let options = BasicPublishOptions::default();
        if open.basic_publish(HINTS_EXCHANGE.into(), "".into(), options, &body, properties).await.is_err() {
            channel = None;
        }
    }
}

/// Listens, again after every fault, until nobody wants to hear any more or the link is closed.
async fn listen(link: SupervisedConnection, hints: &HintSender, heard: &mpsc::Sender<Hint>) {
    let mut backoff = connection::backoff();
    while let Some(live) = link.live().await {
        let subscribed: Result<(Channel, Consumer), lapin::Error> = async {
            let channel = live.channel().await?;
            let queue = topology::declare_hints(&channel).await?;
            let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
            let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
            Ok((channel, consumer))
        }
        .await;
        match subscribed {
            Ok((_channel, mut consumer)) => {
                backoff.reset();
                hints.send(Hint::Ask);
                while let Some(Ok(delivery)) = consumer.next().await {
                    // What a newer version tells, this one cannot hear.
                    let members = bundle::decode(&delivery.data).unwrap_or_default();
                    for hint in members.iter().filter_map(|member| member.head().ok()) {
                        if heard.send(hint).await.is_err() {
                            return;
                        }
                    }
                }
                live.report();
            }
            Err(error) => {
                if backoff.tries().is_multiple_of(10) {
                    tracing::warn!(%error, "cannot listen to hints, trying on");
                }
                // Somebody may have deleted the exchange.
                if let Err(error) = live.redeclare().await {
                    tracing::debug!(%error, "cannot redeclare");
                }
            }
        }
        tokio::select! {
            () = heard.closed() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// What dispatchers say about breakers, for those who only listen. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct BreakerStates {
    board: Arc<RwLock<BreakerBoard>>,
}

impl BreakerStates {
    /// Listens on this broker until `stop`.
    pub fn follow(broker: &Broker, stop: CancellationToken) -> Self {
        let breakers = Self::default();
        let mut heard = broker.listen_for_hints(broker.hint_sender(), stop);
        let board = Arc::clone(&breakers.board);
        broker.helpers().spawn("breakers", async move {
            let mut forget = tokio::time::interval(FORGET_EVERY);
            loop {
                let hint = tokio::select! {
                    hint = heard.recv() => hint,
                    _ = forget.tick() => Some(Hint::Breakers(Vec::new())),
                };
                let Some(hint) = hint else { return };
                let Hint::Breakers(statements) = hint else { continue };
                let now = UnixMillis::now();
                let mut board = board.write();
                for statement in statements {
                    board.record(statement, now);
                }
                board.forget_unrepeated(now);
            }
        });
        breakers
    }

    /// Whether deliveries to an endpoint belong to the slow lane.
    pub fn is_open(&self, endpoint: EndpointId) -> bool {
        self.board.read().is_open(endpoint)
    }

    /// What was said about an endpoint last; `None`: nothing for a minute, so it is closed.
    pub fn get(&self, endpoint: EndpointId) -> Option<BreakerStatement> {
        self.board.read().get(endpoint).copied()
    }

    /// BreakerStates in this state.
    pub fn count(&self, state: BreakerState) -> usize {
        self.board.read().count(state)
    }
}
