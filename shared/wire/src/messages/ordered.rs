//! Messages about the deliveries of ordered endpoints.

use bytes::{Bytes, BytesMut};
use postrider_model::ids::{DeliveryId, EndpointId};
use serde::{Deserialize, Serialize};

use super::DeliveryTask;

/// Identifies a line: the deliveries of an ordered endpoint that have the same key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The key, such as a subscriber's id. The deliveries of a replay have the replay's id before their key.
    pub key: String,
}

/// Fan-out and replays -> sequencer: a delivery at the end of its line. Payload: the rendered body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enqueued {
    /// The key of its line.
    pub key: String,
    /// The generation of the endpoint's ordering, which grows when the key's field is edited. Lines of a generation wait for
    /// all lines of earlier generations.
    pub generation: u32,
    /// Its first attempt.
    pub task: Box<DeliveryTask>,
}

/// The right of a delivery to be attempted: it belongs to the current run of its line. Every copy of the delivery contains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The key of its line.
    pub key: String,
    /// The number of the run.
    pub run: i64,
}

/// Sequencer -> lane: the first deliveries of a line, to be attempted one after the other. Payload: their bodies, one after the
/// other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The turn of its deliveries.
    pub turn: Turn,
    /// The attempts to make, in order.
    pub tasks: Vec<DeliveryTask>,
    /// The number of bytes of each body.
    pub body_bytes: Vec<u32>,
}

impl Run {
    /// A run of these attempts and bodies, and its payload.
    pub fn new(turn: Turn, deliveries: impl IntoIterator<Item = (DeliveryTask, Bytes)>) -> (Self, Bytes) {
        let (mut tasks, mut body_bytes, mut payload) = (Vec::new(), Vec::new(), BytesMut::new());
        for (task, body) in deliveries {
            tasks.push(task);
            body_bytes.push(u32::try_from(body.len()).unwrap_or(u32::MAX));
            payload.extend_from_slice(&body);
        }
        (Self { turn, tasks, body_bytes }, payload.freeze())
    }

    /// Divides the run into its deliveries, which contain their turn. `None` if the lengths do not fit the payload.
    pub fn into_deliveries(self, mut payload: Bytes) -> Option<Vec<(DeliveryTask, Bytes)>> {
        let Self { turn, tasks, body_bytes } = self;
        if tasks.len() != body_bytes.len() {
            return None;
        }
        let mut deliveries = Vec::with_capacity(tasks.len());
        for (task, bytes) in tasks.into_iter().zip(body_bytes) {
            let bytes = bytes as usize;
            if bytes > payload.len() {
                return None;
            }
            deliveries.push((DeliveryTask { turn: Some(turn.clone()), ..task }, payload.split_to(bytes)));
        }
        payload.is_empty().then_some(deliveries)
    }
}

/// Dispatcher -> sequencer: the end of a run, or of a delivery that was the last of its run. No payload. Deliveries of the run
/// that the report does not name were not attempted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The line.
    pub line: Line,
    /// The number of the run.
    pub run: i64,
    /// The deliveries that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<DeliveryId>,
    /// The delivery that waits for a retry or a slot. The line waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<DeliveryId>,
    /// The delivery that failed for good, if the endpoint then holds the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<DeliveryId>,
}

/// A member of the sequencer's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sequenced {
    /// A delivery at the end of its line.
    Enqueued(Enqueued),
    /// The end of a run.
    Report(RunReport),
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use postrider_model::ids::TenantId;
    use postrider_model::time::UnixMillis;

    use super::*;
    use crate::testing::{accepted, first_task};

    fn task() -> DeliveryTask {
        let event = accepted(TenantId::generate(), "a.b".parse().unwrap(), UnixMillis(1_000));
        first_task(&event, EndpointId::generate())
    }

    #[test]
    fn a_run_returns_its_deliveries_with_their_bodies_and_turn() {
        let turn = Turn { key: "k".into(), run: 7 };
        let deliveries =
            vec![(task(), Bytes::from_static(b"one")), (task(), Bytes::new()), (task(), Bytes::from_static(b"3"))];
        let (run, payload) = Run::new(turn.clone(), deliveries.clone());
        let expected: Vec<_> = deliveries
            .into_iter()
            .map(|(task, body)| (DeliveryTask { turn: Some(turn.clone()), ..task }, body))
            .collect();
        assert_eq!(run.clone().into_deliveries(payload.clone()), Some(expected));
        assert_eq!(run.clone().into_deliveries(payload.slice(1..)), None);
        assert_eq!(Run { body_bytes: vec![4], ..run }.into_deliveries(payload), None);
    }

    #[test]
    fn a_delivery_or_a_run_is_not_mistaken_for_the_other() {
        let (run, payload) = Run::new(Turn { key: "k".into(), run: 7 }, [(task(), Bytes::new())]);
        let run = crate::bundle::Member::new(&run, payload).unwrap();
        assert!(run.head::<DeliveryTask>().is_err());
        let one = crate::bundle::Member::new(&task(), Bytes::new()).unwrap();
        assert!(one.head::<Run>().is_err());
    }
}
