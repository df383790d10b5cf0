//! A producer with only an AMQP client.

use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// A message for the public exchange.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) routing_key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) message_id: Option<&'static str>,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

/// A connection that publishes and awaits confirms.
pub(crate) struct Producer {
    channel: Channel,
    _connection: Connection,
}

impl Message {
    pub(crate) fn new(routing_key: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { routing_key: routing_key.into(), body: body.into(), ..Self::default() }
    }
}

impl Producer {
    pub(crate) async fn connect(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { channel, _connection: connection }
    }

    /// Publishes and expects the broker's confirm.
    pub(crate) async fn publish(&self, message: Message) {
        let said = self.try_publish(message).await;
        assert_eq!(said, Ok(true), "the broker confirms");
    }

    /// Publishes. Returns whether the broker confirmed it, or why it closed the channel.
    pub(crate) async fn try_publish(&self, message: Message) -> Result<bool, String> {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(content_type) = message.content_type {
            properties = properties.with_content_type(content_type.into());
        }
        if let Some(id) = message.message_id {
            properties = properties.with_message_id(id.into());
        }
        let mut headers = FieldTable::default();
        for (name, value) in message.headers {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let (key, options) = (message.routing_key, BasicPublishOptions { mandatory: true, ..Default::default() });
        let published = self
            .channel
            .basic_publish(
                "postrider.events".into(),
                key.into(),
                options,
                &message.body,
                properties.with_headers(headers),
            )
            .await
            .map_err(|error| error.to_string())?;
        let confirmation = published.await.map_err(|error| error.to_string())?;
        Ok(confirmation.is_ack() && confirmation.take_message().is_none())
    }

    /// Tries to declare a queue and to read the queue `name`. Returns the broker's two responses.
    pub(crate) async fn try_reading(url: &str, name: &str) -> String {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the broker");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare("".into(), options, FieldTable::default()).await;
        let reader = connection.create_channel().await.expect("a channel");
        let got = reader.basic_get(name.into(), BasicGetOptions::default()).await;
        match (declared, got) {
            (Err(declared), Err(got)) => format!("{declared}; {got}"),
            (declared, got) => format!("allowed: {declared:?}, {got:?}"),
        }
    }
}
