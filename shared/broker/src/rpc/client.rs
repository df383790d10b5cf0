//! The client of remote calls.

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
use crate::connection::{self, Connection, SupervisedConnection};
use crate::error::BrokerError;
use crate::tasks::BackgroundTasks;
use crate::topology::Queue;

/// The pseudo-queue for answers.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Maximum number of calls that wait to be sent.
const CALLS_MAX: usize = 1_000;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No answer arrived in time. The request may have been carried out already, or may be carried out later.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// Too many calls are queued.
    #[error("too many calls are queued")]
    Overloaded,
    /// The connection broke before the answer arrived. The request may have been carried out.
    #[error("the connection broke before the answer arrived")]
    Lost,
    /// This build cannot read the answer.
    #[error("the answer cannot be read")]
    Unreadable,
}

struct Call {
    queue: Queue,
    request: Member,
    answer: oneshot::Sender<Result<Member, RpcError>>,
}

/// Calls services through the broker. It has a separate connection, because direct reply-to consumes and publishes on one
/// channel. [`Broker::rpc_client`](crate::Broker::rpc_client) returns it. Cheap to clone.
#[derive(Clone)]
pub struct RpcClient {
    calls: mpsc::Sender<Call>,
}

impl RpcClient {
    pub(crate) async fn start(
        config: &BrokerConfig,
        tasks: &BackgroundTasks,
        stop: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let connection = SupervisedConnection::start(config, "rpc", tasks, stop).await?;
        let (calls, received) = mpsc::channel(CALLS_MAX);
        tasks.spawn("rpc", run(connection, received));
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

async fn run(connection: SupervisedConnection, mut calls: mpsc::Receiver<Call>) {
    let mut backoff = connection::backoff();
    // The next connection does not reuse correlation ids, so that a late answer never matches another call.
    let mut next_id = 0u64;
    while let Some(connection) = connection.current().await {
        match open(&connection).await {
            Ok((channel, replies)) => {
                backoff.reset();
                match exchange(&channel, replies, &mut calls, &mut next_id).await {
                    End::Unused => return,
                    End::Broken => connection.report_failure(),
                }
            }
            Err(error) => tracing::debug!(%error, "cannot open the channel for calls"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

async fn open(connection: &Connection) -> Result<(Channel, Consumer), lapin::Error> {
    let channel = connection.channel().await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let replies = channel.basic_consume(REPLY_TO.into(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, replies))
}

/// Why an exchange of calls and answers ended.
enum End {
    Broken,
    /// No client is left.
    Unused,
}

/// Sends calls and passes answers to the callers.
async fn exchange(
    channel: &Channel,
    mut replies: Consumer,
    calls: &mut mpsc::Receiver<Call>,
    next_id: &mut u64,
) -> End {
    let mut waiting: HashMap<String, oneshot::Sender<Result<Member, RpcError>>> = HashMap::new();
    loop {
        tokio::select! {
            reply = replies.next() => {
                let Some(Ok(reply)) = reply else { return End::Broken };
                let id = reply.properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
                if let Some(answer) = id.and_then(|id| waiting.remove(&id)) {
                    let member = bundle::decode(&reply.data).ok().and_then(|members| members.into_iter().next());
                    let _ = answer.send(member.ok_or(RpcError::Unreadable));
                }
            }
            call = calls.recv() => {
                let Some(call) = call else { return End::Unused };
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
                    return End::Broken;
                }
            }
        }
    }
}
