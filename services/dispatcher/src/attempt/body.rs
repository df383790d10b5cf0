//! The body of an attempt. The message of a delivery contains the body, or the dispatcher renders it again from the recorded
//! event.
//!
//! A large body does not wait on the delay ladder, because the broker would store a copy for every endpoint for days. Instead,
//! the message contains the body's length and SHA-256 ([`ParkedTask`]), and the dispatcher renders the body again before the
//! attempt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_broker::Poison;
use postrider_model::delivery::BodyKind;
use postrider_model::ids::Generation;
use postrider_model::limits::PARKED_BODY_BYTES_MAX;
use postrider_model::time::UnixMillis;
use postrider_store::Store;
use postrider_store::history::EventRow;
use postrider_wire::bundle::Member;
use postrider_wire::messages::{BodyReference, DeliveryTask, ParkedTask, Run};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::encode::encode;
use crate::endpoint::PreparedEndpoint;
use crate::metrics::Metrics;

/// Maximum bytes of rendered bodies in memory. The consumers' budgets limit the bodies that arrive in messages.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Maximum time that an attempt waits for its share of [`BYTES_MAX`].
const MEMORY_WAIT_MAX: Duration = Duration::from_millis(250);
/// Maximum time to read an event.
const READ_MAX: Duration = Duration::from_secs(2);
/// Time after a failed read during which no event is read.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(1);
/// Time that a delivery waits on the ladder when its body is unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Time that a delivery waits on the ladder when its event is not recorded within [`RECORDED_WITHIN`].
const RETRY_AFTER_LATE: Duration = Duration::from_secs(60);
/// Time from the acceptance of an event after which its missing record counts as late.
const RECORDED_WITHIN: Duration = Duration::from_secs(600);

/// The body of a delivery.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The message contains the body.
    Whole(Bytes),
    /// The message contains the body's length and hash. The body must be rendered again.
    Reference(BodyReference),
}

/// A body that is ready to be sent. A body that was rendered again occupies a share of the memory budget until it is dropped.
#[derive(Debug)]
pub(crate) struct ReadyBody {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// Why an attempt has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyUnavailable {
    /// The event's payload was expunged.
    Expunged,
    /// The event is not recorded yet, the database is unavailable, or the memory budget is used up. Contains the time after
    /// which to try again.
    RetryAfter(Duration),
}

/// A member of a lane.
pub(crate) enum LaneMember {
    /// One delivery and its body.
    Delivery(Box<DeliveryTask>, Body),
    /// Deliveries of an ordered endpoint, to be attempted one after the other, with their bodies.
    Run(Vec<(DeliveryTask, Bytes)>),
}

impl LaneMember {
    /// Decodes a member of a lane.
    pub(crate) fn read(member: Member) -> Result<Self, Poison> {
        let error = match member.head::<Box<DeliveryTask>>() {
            Ok(task) => return Ok(Self::Delivery(task, Body::Whole(member.payload))),
            Err(error) => error,
        };
        if let Ok(ParkedTask { task, body }) = member.head() {
            return Ok(Self::Delivery(task, Body::Reference(body)));
        }
        match member.head::<Run>() {
            Ok(run) => match run.into_deliveries(member.payload) {
                Some(deliveries) => Ok(Self::Run(deliveries)),
                None => Err(Poison::new("the bodies of a run do not fit their lengths")),
            },
            Err(_) => Err(Poison::new(format!("cannot read the head of a delivery: {error}"))),
        }
    }
}

impl Body {
    /// The number of bytes.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Whole(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Reference(body) => body.bytes,
        }
    }

    /// Encodes a delivery for a lane.
    pub(crate) fn to_lane(&self, task: &DeliveryTask) -> Result<Member, Poison> {
        match self {
            Self::Whole(bytes) => encode(task, bytes.clone()),
            Self::Reference(body) => by_reference(task, body.clone()),
        }
    }

    /// Encodes a delivery for the ladder. A large body is replaced by a reference, except in a test, whose event is not
    /// recorded.
    pub(crate) fn to_ladder(&self, task: &DeliveryTask) -> Result<Member, Poison> {
        let is_test = matches!(task.delivery.generation, Generation::Test(_));
        match self {
            Self::Whole(bytes) if bytes.len() > PARKED_BODY_BYTES_MAX && !is_test => {
                by_reference(task, BodyReference::of(bytes))
            }
            _ => self.to_lane(task),
        }
    }
}

fn by_reference(task: &DeliveryTask, body: BodyReference) -> Result<Member, Poison> {
    encode(&ParkedTask { task: Box::new(task.clone()), body }, Bytes::new())
}

/// Renders bodies of recorded events.
#[derive(Debug)]
pub(crate) struct BodyRenderer {
    store: Store,
    memory: Arc<Semaphore>,
    unavailable_until: Mutex<Option<Instant>>,
    metrics: Arc<Metrics>,
}

impl BodyRenderer {
    pub(crate) fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, memory: Arc::new(Semaphore::new(BYTES_MAX)), unavailable_until: Mutex::default(), metrics }
    }

    /// Returns the body of a delivery to `endpoint`, rendered again if the message holds a reference.
    pub(crate) async fn ready(
        &self,
        body: &Body,
        task: &DeliveryTask,
        endpoint: &PreparedEndpoint,
    ) -> Result<ReadyBody, BodyUnavailable> {
        match body {
            Body::Whole(bytes) => Ok(ReadyBody { bytes: bytes.clone(), _memory: None }),
            Body::Reference(reference) => Box::pin(self.render(reference, task, endpoint)).await,
        }
    }

    async fn render(
        &self,
        reference: &BodyReference,
        task: &DeliveryTask,
        endpoint: &PreparedEndpoint,
    ) -> Result<ReadyBody, BodyUnavailable> {
        let unavailable = || {
            self.metrics.bodies_not_now.increment(1);
            let is_late = task.delivery.accepted_at.until(UnixMillis::now()) >= RECORDED_WITHIN;
            BodyUnavailable::RetryAfter(if is_late { RETRY_AFTER_LATE } else { RETRY_AFTER })
        };
        let bytes = u32::try_from(BYTES_MAX.min(reference.bytes as usize)).unwrap_or(u32::MAX);
        let memory = tokio::time::timeout(MEMORY_WAIT_MAX, Arc::clone(&self.memory).acquire_many_owned(bytes)).await;
        let Ok(Ok(memory)) = memory else { return Err(unavailable()) };
        let event = self.read(task).await.ok_or_else(unavailable)?;
        let view = postrider_ledger::body::view(&event).ok_or(BodyUnavailable::Expunged)?;
        let profile = &endpoint.profile;
        let rendered = rendered_as(reference, endpoint.body_kind, |kind| profile.render(&view, kind).into());
        let bytes = match rendered {
            Rendered::Same(bytes) => {
                self.metrics.bodies_same.increment(1);
                bytes
            }
            Rendered::Changed(bytes) => {
                self.metrics.bodies_changed.increment(1);
                tracing::warn!(
                    delivery.id = %task.delivery.id, profile = profile.name, number = task.number,
                    "the body of a retry differs from the previous attempt's: the profile or the recorded event has changed"
                );
                bytes
            }
        };
        Ok(ReadyBody { bytes, _memory: Some(memory) })
    }

    /// Reads the event of a delivery. Returns `None` if the event is not recorded or the database is unavailable.
    async fn read(&self, task: &DeliveryTask) -> Option<EventRow> {
        if self.unavailable_until.lock().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let delivery = &task.delivery;
        let read = self.store.history().event_of_day(delivery.tenant, &delivery.event, delivery.event_day);
        match tokio::time::timeout(READ_MAX, read).await {
            Ok(Ok(event)) => return event,
            Ok(Err(error)) if error.is_unavailable() => {
                tracing::debug!(%error, "cannot read an event to render it again; its delivery waits");
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot read an event to render it again; its delivery waits"),
            Err(_) => tracing::debug!("the database did not return an event in time; its delivery waits"),
        }
        *self.unavailable_until.lock() = Some(Instant::now() + UNAVAILABLE_FOR);
        None
    }
}

/// A body that was rendered again: the same as the parked body by length and hash, or changed.
#[derive(Debug, PartialEq)]
enum Rendered {
    Same(Bytes),
    Changed(Bytes),
}

/// Renders the body of a reference. The endpoint's kind of body may have changed since the delivery was parked, so every kind
/// is tried. If no kind gives the same bytes, returns the body of the current `kind`.
fn rendered_as(reference: &BodyReference, kind: BodyKind, mut render: impl FnMut(BodyKind) -> Bytes) -> Rendered {
    let now = render(kind);
    if reference.names(&now) {
        return Rendered::Same(now);
    }
    let others = BodyKind::ALL.into_iter().filter(|other| *other != kind);
    match others.map(&mut render).find(|other| reference.names(other)) {
        Some(before) => Rendered::Same(before),
        None => Rendered::Changed(now),
    }
}

#[cfg(test)]
mod tests {
    use postrider_model::ids::RetryId;

    use super::*;
    use crate::testing;

    fn whole(bytes: usize) -> Body {
        Body::Whole(vec![b'x'; bytes].into())
    }

    #[test]
    fn a_large_body_waits_by_reference_and_a_small_one_in_its_message() {
        let task = testing::task();
        let small = whole(PARKED_BODY_BYTES_MAX).to_ladder(&task).unwrap();
        assert_eq!(small.payload.len(), PARKED_BODY_BYTES_MAX);
        let large = whole(PARKED_BODY_BYTES_MAX + 1);
        let parked = large.to_ladder(&task).unwrap();
        assert!(parked.payload.is_empty() && parked.encoded_bytes() < 2_048, "{}", parked.encoded_bytes());
        assert!(parked.head::<DeliveryTask>().is_err(), "an older dispatcher must not send an empty body");
        let Ok(LaneMember::Delivery(read, body)) = LaneMember::read(parked.clone()) else { panic!("{parked:?}") };
        let Body::Reference(reference) = &body else { panic!("{body:?}") };
        assert_eq!((*read, reference.bytes as usize), (task.clone(), PARKED_BODY_BYTES_MAX + 1));
        // A member that holds a reference is published again unchanged.
        assert_eq!(body.to_ladder(&task).unwrap(), parked);
        assert_eq!(body.to_lane(&task).unwrap(), parked);
        assert_eq!(large.to_lane(&task).unwrap().payload.len(), PARKED_BODY_BYTES_MAX + 1);
    }

    #[test]
    fn the_body_of_a_test_waits_in_its_message() {
        let mut task = testing::task();
        task.delivery.generation = Generation::Test(RetryId::generate());
        assert_eq!(whole(10_000).to_ladder(&task).unwrap().payload.len(), 10_000);
    }

    #[test]
    fn a_body_is_rendered_as_before_or_else_as_the_endpoint_wants_now() {
        let bytes = |kind| match kind {
            BodyKind::Json => Bytes::from_static(b"json"),
            BodyKind::AsciiJson => Bytes::from_static(b"ascii"),
            BodyKind::Pushover => Bytes::from_static(b"pushover"),
            BodyKind::Notification => Bytes::from_static(b"notification"),
        };
        let of = |text: &[u8]| BodyReference::of(text);
        assert_eq!(rendered_as(&of(b"json"), BodyKind::Json, bytes), Rendered::Same(Bytes::from_static(b"json")));
        assert_eq!(rendered_as(&of(b"json"), BodyKind::AsciiJson, bytes), Rendered::Same(Bytes::from_static(b"json")));
        assert_eq!(
            rendered_as(&of(b"old"), BodyKind::AsciiJson, bytes),
            Rendered::Changed(Bytes::from_static(b"ascii"))
        );
    }
}
