//! Dead letters and exploded bundles: what keeps one bad member from its neighbours.

use postrider_wire::bundle::{self, Member};

use super::engine::Inbound;
use super::{EXPLODE_AT, GIVE_UP_AT, Poison};
use crate::broker::Broker;
use crate::error::PublishError;
use crate::metrics;
use crate::publish::message::MessageRoute;
use crate::topology::Queue;

/// Puts one member aside, confirmed.
pub(super) async fn dead_letter(
    broker: &Broker,
    queue: Queue,
    member: &Member,
    poison: &Poison,
) -> Result<(), PublishError> {
    metrics::count(metrics::DEAD_LETTERS, "queue", queue.name().to_owned(), 1);
    tracing::warn!(queue = queue.name(), reason = poison.reason, "put a message aside as a dead letter");
    let to = MessageRoute::DeadLetter { source: queue.name(), reason: &poison.reason };
    broker.own_publisher().publish(to, std::slice::from_ref(member)).await
}

/// Decodes a message that can be handled now. Anything else is dealt with in a task of its own, and `None`: bytes that are
/// no bundle, a single that was returned too often, a bundle that must be taken apart.
pub(super) fn open(broker: &Broker, queue: Queue, inbound: Inbound) -> Option<(Vec<Member>, Inbound)> {
    let count = inbound.context.delivery_count;
    let members = match bundle::decode(&inbound.delivery.data) {
        Ok(members) => members,
        Err(error) => {
            let reason = error.to_string();
            let broker = broker.clone();
            tokio::spawn(async move {
                metrics::count(metrics::DEAD_LETTERS, "queue", queue.name().to_owned(), 1);
                tracing::warn!(queue = queue.name(), reason, "put a message aside as a dead letter");
                let Inbound { delivery, settler, .. } = inbound;
                let put = broker.own_publisher().dead_letter_bytes(delivery.data.into(), queue.name(), &reason).await;
                if put.is_ok() {
                    settler.ack();
                }
            });
            return None;
        }
    };
    if members.len() > 1 && count >= EXPLODE_AT {
        explode(broker, queue, members, inbound);
        return None;
    }
    if let [member] = members.as_slice()
        && count >= GIVE_UP_AT
    {
        let (member, broker) = (member.clone(), broker.clone());
        tokio::spawn(async move {
            let poison = Poison::new(format!("seen {count} times without being settled"));
            if dead_letter(&broker, queue, &member, &poison).await.is_ok() {
                inbound.settler.ack();
            }
        });
        return None;
    }
    Some((members, inbound))
}

/// Republishes each member alone to the queue it came from, then acks the bundle.
pub(super) fn explode(broker: &Broker, queue: Queue, members: Vec<Member>, inbound: Inbound) {
    metrics::count(metrics::EXPLODED, "queue", queue.name().to_owned(), 1);
    let broker = broker.clone();
    tokio::spawn(async move {
        let publishes = members.iter().map(|member| {
            broker.own_publisher().publish(MessageRoute::Queue(queue.name()), std::slice::from_ref(member))
        });
        if futures::future::try_join_all(publishes).await.is_ok() {
            inbound.settler.ack();
        }
    });
}
