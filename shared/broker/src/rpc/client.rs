//! Remote calls: a request through a queue, the answer straight back to the caller (RabbitMQ's direct reply-to).
//!
//! For what must be answered now, such as a test call. Nothing here is persistent: a call that nobody answers in time is over,
//! and its request expires in its queue. The other side is [`Broker::serve_rpc`](crate::Broker::serve_rpc).

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use postrider_wire::bundle::{self, Member};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::BrokerConfig;
use crate::connection::{self, SupervisedConnection};
use crate::error::BrokerError;
use crate::tasks::BackgroundTasks;
use crate::topology::Queue;

/// The pseudo-queue that answers come through.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Calls waiting to be sent at most.
const CALLS_MAX: usize = 1_000;

/// A call without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No answer in time. The request may have been, or may still be, carried out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Too many calls wait.
    #[error("too many calls wait")]
    Overloaded,
    /// The connection broke meanwhile. The request may have been carried out.
    #[error("the connection broke before the answer came")]
    Lost,
    /// The answer is not one that this build reads.
    #[error("the answer cannot be read")]
    Unreadable,
}

struct Call {
    queue: Queue,
    request: Member,
    answer: oneshot::Sender<Result<Member, RpcError>>,
}

/// Calls services through the broker, on a connection of its own (direct reply-to consumes and publishes on one channel). From
/// [`Broker::rpc_client`](crate::Broker::rpc_client). Cheap to clone.
#[derive(Clone)]
pub struct RpcClient {
    calls: mpsc::Sender<Call>,
}

impl RpcClient {
    pub(crate) async fn start(
        config: &BrokerConfig,
        helpers: &BackgroundTasks,
        stop: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let link = SupervisedConnection::start(config, "rpc", helpers, stop).await?;
        let (calls, received) = mpsc::channel(CALLS_MAX);
        helpers.spawn("rpc", run(link, received));
        Ok(Self { calls })
    }

    /// Sends `request` to `queue` and waits for the answer.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn call(&self, queue: Queue, request: Member, timeout: Duration) -> Result<Member, RpcError> {
        let (answer, answered) = oneshot::channel();
        self.calls.try_send(Call { queue, request, answer }).map_err(|_| RpcError::Overloaded)?;
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RpcError::Lost),
            Err(_) => Err(RpcError::Timeout(timeout)),
        }
    }
}

async fn run(link: SupervisedConnection, mut calls: mpsc::Receiver<Call>) {
    let mut backoff = connection::backoff();
    // Correlation ids are not reused by the next connection: a late answer must not meet another call.
    let mut next_id = 0u64;
    while let Some(live) = link.live().await {
        match open(&live).await {
            Ok((channel, replies)) => {
                backoff.reset();
                if serve_calls(&channel, replies, &mut calls, &mut next_id).await {
                    return;
                }
                live.report();
            }
            Err(error) => tracing::debug!(%error, "cannot open the channel for calls"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn open(live: &crate::connection::Connection) -> Result<(Channel, Consumer), lapin::Error> {
    let channel = live.channel().await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let replies = channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, replies))
}

/// Sends calls and hands out answers until the channel breaks (`false`) or nobody calls any more (`true`).
async fn serve_calls(
    channel: &Channel,
    mut replies: Consumer,
    calls: &mut mpsc::Receiver<Call>,
    next_id: &mut u64,
) -> bool {
    let mut waiting: HashMap<String, oneshot::Sender<Result<Member, RpcError>>> = HashMap::new();
    loop {
        tokio::select! {
            reply = replies.next() => {
                let Some(Ok(reply)) = reply else { return false };
                let id = reply.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
                if let Some(answer) = id.and_then(|id| waiting.remove(&id)) {
                    let member = bundle::decode(&reply.data).ok().and_then(|members| members.into_iter().next());
                    let _ = answer.send(member.ok_or(RpcError::Unreadable));
                }
            }
            call = calls.recv() => {
                let Some(call) = call else { return true };
                waiting.retain(|_, answer| !answer.is_closed());
                *next_id += 1;
                let id = next_id.to_string();
                let properties = BasicProperties::default()
                    .with_content_type(bundle::CONTENT_TYPE.into())
                    .with_correlation_id(id.as_str().into())
                    .with_reply_to(REPLY_TO.into());
                waiting.insert(id, call.answer);
                let body = bundle::encode(std::slice::from_ref(&call.request));
                let publish = channel.basic_publish(
                    "".into(), call.queue.name().into(), BasicPublishOptions::default(), &body, properties,
                );
                if publish.await.is_err() {
                    return false;
                }
            }
        }
    }
}
