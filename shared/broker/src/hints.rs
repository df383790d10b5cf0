//! Hints: messages between running services that may be lost. A fanout exchange copies each hint to one queue per listener.
//!
//! # What it promises
//! - A listener gets every hint that is sent while it is connected. It reconnects after every fault, and then asks for all
//!   current hints.
//! - Sending never waits and never fails: hints are dropped while the broker is away or blocks publishers.
//!
//! # What it does not promise
//! The broker does not confirm, store or repeat hints. Senders repeat hints at intervals, and listeners must tolerate lost
//! hints: [`BreakerStates`](crate::BreakerStates) forgets a breaker whose hint is not repeated.

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use postrider_wire::bundle::{self, Member};
use postrider_wire::messages::Hint;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::connection::{self, Connection, SupervisedConnection};
use crate::topology::{self, HINTS_EXCHANGE};

/// Maximum number of hints that wait to be sent, and maximum number of received hints that wait to be read.
const QUEUED_MAX: usize = 256;
/// The first failed try of an outage is logged, then every tenth try.
const LOG_EVERY: u32 = 10;

/// Sends hints. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct HintSender {
    queued: mpsc::Sender<Hint>,
}

impl HintSender {
    /// Sends a hint to every current listener, or drops it if that is impossible.
    pub fn send(&self, hint: Hint) {
        let _ = self.queued.try_send(hint);
    }
}

impl Broker {
    /// Starts a sender of hints with a separate channel and task.
    pub fn hint_sender(&self) -> HintSender {
        let (queued, hints) = mpsc::channel(QUEUED_MAX);
        self.tasks().spawn("hint sender", send(self.publish_connection().clone(), hints));
        HintSender { queued }
    }

    /// Receives hints until `stop`. Sends [`Hint::Ask`] after each subscription, so that other processes send their hints
    /// again.
    pub fn listen_for_hints(&self, sender: HintSender, stop: CancellationToken) -> mpsc::Receiver<Hint> {
        let (received, hints) = mpsc::channel(QUEUED_MAX);
        let connection = self.consume_connection().clone();
        self.tasks().spawn("hint listener", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listen(connection, &sender, &received) => {}
            }
        });
        hints
    }
}

async fn send(connection: SupervisedConnection, mut hints: mpsc::Receiver<Hint>) {
    let mut channel = None;
    while let Some(hint) = hints.recv().await {
        let Ok(member) = Member::new(&hint, bytes::Bytes::new()) else { continue };
        let body = bundle::encode(std::slice::from_ref(&member));
        if channel.is_none() {
            let Some(connection) = connection.current().await else { return };
            channel = connection.channel().await.inspect_err(|error| tracing::debug!(%error, "cannot send hints")).ok();
        }
        let Some(open) = &channel else { continue };
        let properties = BasicProperties::default().with_content_type(bundle::CONTENT_TYPE.into());
        let options = BasicPublishOptions::default();
        if open.basic_publish(HINTS_EXCHANGE.into(), "".into(), options, &body, properties).await.is_err() {
            channel = None;
        }
    }
}

/// Receives hints until `received` is closed.
async fn listen(connection: SupervisedConnection, sender: &HintSender, received: &mpsc::Sender<Hint>) {
    let mut backoff = connection::backoff();
    while let Some(connection) = connection.current().await {
        match subscribe(&connection).await {
            Ok((_channel, consumer)) => {
                backoff.reset();
                sender.send(Hint::Ask);
                if pass_on(consumer, received).await.is_err() {
                    return;
                }
                connection.report_failure();
            }
            Err(error) => {
                if backoff.tries().is_multiple_of(LOG_EVERY) {
                    tracing::warn!(%error, "cannot subscribe to hints; retrying");
                }
                // The exchange may have been deleted.
                if let Err(error) = connection.redeclare().await {
                    tracing::debug!(%error, "cannot declare the queues again; retrying with the next connection");
                }
            }
        }
        tokio::select! {
            () = received.closed() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

async fn subscribe(connection: &Connection) -> Result<(Channel, Consumer), lapin::Error> {
    let channel = connection.channel().await?;
    let queue = topology::declare_hints(&channel).await?;
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
    let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
    Ok((channel, consumer))
}

/// Passes hints to the receiver until the subscription ends. Returns an error if the receiver is dropped.
async fn pass_on(mut consumer: Consumer, received: &mpsc::Sender<Hint>) -> Result<(), mpsc::error::SendError<Hint>> {
    while let Some(Ok(delivery)) = consumer.next().await {
        // Hints that this build cannot read are skipped.
        let members = bundle::decode(&delivery.data).unwrap_or_default();
        for hint in members.iter().filter_map(|member| member.head().ok()) {
            received.send(hint).await?;
        }
    }
    Ok(())
}
