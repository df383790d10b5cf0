//! Connections to RabbitMQ, and the depth of queues.

use anyhow::Context as _;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// Connects. RabbitMQ's management shows `name`.
pub(crate) async fn connect(amqp_url: &str, name: &str) -> anyhow::Result<Connection> {
    let options = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(amqp_url, options).await.context("connect to RabbitMQ")
}

/// Reads queue depths by passive declares on a connection of its own.
#[derive(Debug)]
pub(crate) struct Depths {
    channel: Channel,
    _connection: Connection,
}

impl Depths {
    /// Connects.
    pub(crate) async fn connect(amqp_url: &str) -> anyhow::Result<Self> {
        let connection = connect(amqp_url, "postrider-bench depths").await?;
        Ok(Self { channel: connection.create_channel().await?, _connection: connection })
    }

    /// Ready messages in `queue`, without unacked ones.
    pub(crate) async fn ready(&self, queue: &str) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(declared.with_context(|| format!("the depth of {queue}"))?.message_count())
    }
}
