//! Connections to the broker, and the lengths of queues.

use anyhow::Context as _;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// Connects to the broker. RabbitMQ's management interface shows `name`.
pub(crate) async fn connect(amqp_url: &str, name: &str) -> anyhow::Result<Connection> {
    let options = ConnectionProperties::default().with_connection_name(name.into());
    Connection::connect(amqp_url, options).await.context("connect to RabbitMQ")
}

/// Reads the lengths of queues by passive declares, on its own connection.
#[derive(Debug)]
pub(crate) struct Depths {
    channel: Channel,
    _connection: Connection,
}

impl Depths {
    /// Opens the connection.
    pub(crate) async fn connect(amqp_url: &str) -> anyhow::Result<Self> {
        let connection = connect(amqp_url, "postrider-bench depths").await?;
        Ok(Self { channel: connection.create_channel().await?, _connection: connection })
    }

    /// Returns the number of ready messages in `queue`, which excludes unacked messages.
    pub(crate) async fn ready(&self, queue: &str) -> anyhow::Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        Ok(declared.with_context(|| format!("the depth of {queue}"))?.message_count())
    }
}
