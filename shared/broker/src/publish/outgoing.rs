//! A message on its way to the broker, and its properties.

use bytes::Bytes;
use lapin::options::BasicPublishOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use postrider_wire::bundle::{self, Member};

use crate::ladder::Rung;

const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// A message to publish. Its headers are new: headers that the broker added (such as `x-death`) are never sent back.
pub(crate) struct Outgoing<T> {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) body: Bytes,
    /// If the content type is empty, it is not sent.
    pub(crate) content_type: ShortString,
    /// The producer's AMQP message id, if the producer's message is forwarded unchanged.
    pub(crate) message_id: Option<ShortString>,
    pub(crate) headers: Option<FieldTable>,
    /// The rung to which the message is published. The rung is declared before the message is sent.
    pub(crate) rung: Option<Rung>,
    /// The correlation id of the call that the message answers. An answer is neither stored on disk nor required to be
    /// routable.
    pub(crate) answers: Option<ShortString>,
    /// A value that the publisher gets back when the message is confirmed or refused.
    pub(crate) token: T,
}

impl<T> Outgoing<T> {
    /// A message without optional properties.
    pub(crate) fn new(exchange: impl Into<ShortString>, routing_key: ShortString, body: Bytes, token: T) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key,
            body,
            content_type: "".into(),
            message_id: None,
            headers: None,
            rung: None,
            answers: None,
            token,
        }
    }

    /// A bundle of these members.
    pub(crate) fn bundle(exchange: &'static str, routing_key: ShortString, members: &[Member], token: T) -> Self {
        let body = bundle::encode(members).into();
        Self { content_type: bundle::CONTENT_TYPE.into(), ..Self::new(exchange, routing_key, body, token) }
    }

    /// Publishes the message on `channel` and waits for the confirm. `id` identifies the message if the broker returns it.
    pub(super) fn publish(
        &self,
        channel: Channel,
        id: u64,
        user_id: Option<ShortString>,
    ) -> impl Future<Output = Result<Confirmation, lapin::Error>> + Send + 'static {
        let properties = self.properties(id, user_id);
        let options = BasicPublishOptions { mandatory: self.answers.is_none(), ..Default::default() };
        let (exchange, key, body) = (self.exchange.clone(), self.routing_key.clone(), self.body.clone());
        async move { channel.basic_publish(exchange, key, options, &body, properties).await?.await }
    }

    fn properties(&self, id: u64, user_id: Option<ShortString>) -> BasicProperties {
        // An answer has the correlation id of its caller. It is not mandatory, so it is never returned and does not need `id`.
        let correlation = self.answers.clone().unwrap_or_else(|| id.to_string().into());
        let mut properties = BasicProperties::default()
            .with_correlation_id(correlation)
            .with_delivery_mode(if self.answers.is_some() { TRANSIENT } else { PERSISTENT });
        if let Some(user_id) = user_id {
            properties = properties.with_user_id(user_id);
        }
        if !self.content_type.as_str().is_empty() {
            properties = properties.with_content_type(self.content_type.clone());
        }
        if let Some(message_id) = &self.message_id {
            properties = properties.with_message_id(message_id.clone());
        }
        if let Some(headers) = &self.headers {
            properties = properties.with_headers(headers.clone());
        }
        properties
    }
}
