//! The queue from which a consumer takes messages. Decodes and splits bundles, and publishes dead letters.

use postrider_wire::bundle::{self, Member};

use super::engine::Inbound;
use super::{GIVE_UP_AT, Poison, SPLIT_AT};
use crate::broker::Broker;
use crate::error::PublishError;
use crate::metrics;
use crate::publish::message::MessageRoute;
use crate::topology::Queue;

/// A queue and its broker. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) broker: Broker,
    pub(super) queue: Queue,
}

impl Source {
    /// Publishes a member as a separate dead letter, and waits for the confirm.
    pub(super) async fn dead_letter(&self, member: &Member, poison: &Poison) -> Result<(), PublishError> {
        metrics::dead_letter(self.queue, &poison.reason);
        let to = MessageRoute::DeadLetter { source: self.queue.name(), reason: &poison.reason };
        self.broker.own_publisher().publish(to, std::slice::from_ref(member)).await
    }

    /// Decodes a bundle. Returns `None` if the bundle must not be handled; a task then settles the message. Bytes that are not
    /// a bundle, and single members that have returned too often, become dead letters. Bundles that have returned too often are
    /// split.
    pub(super) fn decode(&self, inbound: Inbound) -> Option<(Vec<Member>, Inbound)> {
        let count = inbound.context.delivery_count;
        match bundle::decode(&inbound.delivery.data) {
            Err(error) => self.dead_letter_bytes(inbound, error.to_string()),
            Ok(members) if members.len() > 1 && count >= SPLIT_AT => self.split(members, inbound),
            Ok(mut members) if members.len() == 1 && count >= GIVE_UP_AT => {
                let (source, member) = (self.clone(), members.remove(0));
                tokio::spawn(async move {
                    if source.dead_letter(&member, &Poison::returned(count)).await.is_ok() {
                        inbound.settler.ack();
                    }
                });
            }
            Ok(members) => return Some((members, inbound)),
        }
        None
    }

    fn dead_letter_bytes(&self, inbound: Inbound, reason: String) {
        let Self { broker, queue } = self.clone();
        tokio::spawn(async move {
            metrics::dead_letter(queue, &reason);
            let Inbound { delivery, settler, .. } = inbound;
            let body = delivery.data.into();
            if broker.own_publisher().dead_letter_bytes(body, queue.name(), &reason).await.is_ok() {
                settler.ack();
            }
        });
    }

    /// Publishes each member as a single message to the same queue, then acks the bundle.
    pub(super) fn split(&self, members: Vec<Member>, inbound: Inbound) {
        metrics::count(metrics::SPLIT_BUNDLES, "queue", self.queue.name().to_owned(), 1);
        let Self { broker, queue } = self.clone();
        tokio::spawn(async move {
            let to = MessageRoute::Queue(queue.name());
            let publishes =
                members.iter().map(|member| broker.own_publisher().publish(to, std::slice::from_ref(member)));
            if futures::future::try_join_all(publishes).await.is_ok() {
                inbound.settler.ack();
            }
        });
    }
}
