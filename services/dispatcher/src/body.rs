//! What an attempt sends: the body that came with the message, or one that is rendered again from the log.
//!
//! Large bodies do not wait on the delay ladder: there the broker would keep a copy of each for every endpoint, for days. Their messages
//! hold a length and a SHA-256 instead ([`ParkedTask`]), and the body is rendered again when the attempt may be made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_broker::Poison;
use postrider_model::delivery::BodyKind;
use postrider_model::ids::Generation;
use postrider_model::limits::PARKED_BODY_BYTES_MAX;
use postrider_model::time::UnixMillis;
use postrider_profiles::{EventView, Profile};
use postrider_store::{Store, StoreError};
use postrider_wire::bundle::Member;
use postrider_wire::messages::{BodyReference, DeliveryTask, ParkedTask};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dispatcher::encode;
use crate::metrics::Metrics;

/// Bytes of bodies rendered again and in hand at most. What came in messages counts in the consumers' own budgets.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an attempt waits for its share of them.
const ROOM_MAX: Duration = Duration::from_millis(250);
/// How long the log may take to answer.
const READ_MAX: Duration = Duration::from_secs(2);
/// After the log could not be read, no other delivery asks for so long.
const AWAY: Duration = Duration::from_secs(1);
/// A delivery whose body cannot be had now comes back after so long.
const SOON: Duration = Duration::from_secs(5);
/// The same once its event should have been on record for long.
const LATER: Duration = Duration::from_secs(60);
/// An event that is not on record so long after it was accepted is late.
const RECORDED_WITHIN: Duration = Duration::from_secs(600);

/// What an attempt sends.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// It came with the message.
    Whole(Bytes),
    /// It is to be rendered again.
    Reference(BodyReference),
}

/// A body that is ready to be sent, with its share of the memory for those.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBody {
    /// The event's payload was expunged.
    Expunged,
    /// Its event is not on record yet, the database is away, or there is no room: to be tried again after this.
    NotNow(Duration),
}

impl Body {
    /// Reads a message of a lane: a delivery with its body, or one that waited without.
    pub(crate) fn read(member: Member) -> Result<(Box<DeliveryTask>, Self), Poison> {
        match member.head::<Box<DeliveryTask>>() {
            Ok(task) => Ok((task, Self::Whole(member.payload))),
            Err(error) => match member.head::<ParkedTask>() {
                Ok(ParkedTask { task, body }) => Ok((task, Self::Reference(body))),
                Err(_) => Err(Poison::new(format!("a delivery that cannot be read: {error}"))),
            },
        }
    }

    /// The message of a delivery that goes to a lane.
    pub(crate) fn to_lane(&self, task: &DeliveryTask) -> Result<Member, Poison> {
        match self {
            Self::Whole(bytes) => encode(task, bytes.clone()),
            Self::Reference(body) => by_reference(task, body.clone()),
        }
    }

    /// The message of a delivery that waits on the ladder: a large body goes by reference. Not a test's, whose event is not on record.
    pub(crate) fn to_ladder(&self, task: &DeliveryTask) -> Result<Member, Poison> {
        match self {
            Self::Whole(bytes)
                if bytes.len() > PARKED_BODY_BYTES_MAX && !matches!(task.delivery.generation, Generation::Test(_)) =>
            {
                by_reference(task, BodyReference::of(bytes))
            }
            _ => self.to_lane(task),
        }
    }
}

fn by_reference(task: &DeliveryTask, body: BodyReference) -> Result<Member, Poison> {
    encode(&ParkedTask { task: Box::new(task.clone()), body }, Bytes::new())
}

/// The way to bodies that are on record.
#[derive(Debug)]
pub(crate) struct Bodies {
    store: Store,
    room: Arc<Semaphore>,
    away_until: Mutex<Option<Instant>>,
}

impl Bodies {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, room: Arc::new(Semaphore::new(BYTES_MAX)), away_until: Mutex::default() }
    }

    /// The body of a delivery. `kind`: what the endpoint's bodies are written as now.
    pub(crate) async fn ready(
        &self,
        body: &Body,
        task: &DeliveryTask,
        profile: &Profile,
        kind: BodyKind,
        metrics: &Metrics,
    ) -> Result<Ready, NoBody> {
        match body {
            Body::Whole(bytes) => Ok(Ready { bytes: bytes.clone(), _room: None }),
            Body::Reference(reference) => Box::pin(self.render(reference, task, profile, kind, metrics)).await,
        }
    }

    async fn render(
        &self,
        reference: &BodyReference,
        task: &DeliveryTask,
        profile: &Profile,
        kind: BodyKind,
        metrics: &Metrics,
    ) -> Result<Ready, NoBody> {
        let not_now = || {
            metrics.bodies_not_now.increment(1);
            let recorded = task.delivery.accepted_at.until(UnixMillis::now()) < RECORDED_WITHIN;
            NoBody::NotNow(if recorded { SOON } else { LATER })
        };
        let bytes = u32::try_from(BYTES_MAX.min(reference.bytes as usize)).unwrap_or(u32::MAX);
        let room = tokio::time::timeout(ROOM_MAX, Arc::clone(&self.room).acquire_many_owned(bytes)).await;
        let Ok(Ok(room)) = room else { return Err(not_now()) };
        let event = self.read(task).await.map_err(|_| not_now())?;
        let event = event.ok_or_else(not_now)?;
        let view = event.view().ok_or(NoBody::Expunged)?;
        let (bytes, same) = rendered_as(reference, kind, |kind| render(profile, &view, kind));
        if same {
            metrics.bodies_same.increment(1);
        } else {
            metrics.bodies_changed.increment(1);
            tracing::warn!(
                delivery.id = %task.delivery.id, profile = profile.name, number = task.number,
                "the body of a retry differs from that of the attempt before: its profile, or its event on record, is another"
            );
        }
        Ok(Ready { bytes, _room: Some(room) })
    }

    /// Reads the event of a delivery; nobody asks for a moment after a failure.
    async fn read(&self, task: &DeliveryTask) -> Result<Option<postrider_store::log::EventRow>, Away> {
        if self.away_until.lock().is_some_and(|until| Instant::now() < until) {
            return Err(Away);
        }
        let delivery = &task.delivery;
        let read = self.store.event_of_day(delivery.tenant, &delivery.event, delivery.event_day);
        match tokio::time::timeout(READ_MAX, read).await {
            Ok(Ok(event)) => return Ok(event),
            Ok(Err(error)) => log_failure(&error),
            Err(_) => tracing::debug!("the log did not answer in time"),
        }
        *self.away_until.lock() = Some(Instant::now() + AWAY);
        Err(Away)
    }
}

/// The log cannot be read.
struct Away;

fn log_failure(error: &StoreError) {
    if error.is_unavailable() {
        tracing::debug!(%error, "cannot read an event to render it again");
    } else {
        tracing::warn!(%error, "cannot read an event to render it again");
    }
}

fn render(profile: &Profile, view: &EventView<'_>, kind: BodyKind) -> Bytes {
    profile.render_as(view, kind).into()
}

/// The body that a reference names, and whether it is the same: written as it was then, should the endpoint have changed since; else as
/// the endpoint wants it now.
fn rendered_as(reference: &BodyReference, kind: BodyKind, mut render: impl FnMut(BodyKind) -> Bytes) -> (Bytes, bool) {
    let now = render(kind);
    if reference.names(&now) {
        return (now, true);
    }
    let others = [BodyKind::Json, BodyKind::AsciiJson, BodyKind::Pushover].into_iter().filter(|other| *other != kind);
    match others.map(&mut render).find(|other| reference.names(other)) {
        Some(then) => (then, true),
        None => (now, false),
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
        let (read, body) = Body::read(parked.clone()).unwrap();
        let Body::Reference(reference) = &body else { panic!("{body:?}") };
        assert_eq!((*read, reference.bytes as usize), (task.clone(), PARKED_BODY_BYTES_MAX + 1));
        // It goes round as it came.
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
    fn a_body_is_written_as_it_was_at_first_and_else_as_it_is_now() {
        let bytes = |kind| match kind {
            BodyKind::Json => Bytes::from_static(b"json"),
            BodyKind::AsciiJson => Bytes::from_static(b"ascii"),
            BodyKind::Pushover => Bytes::from_static(b"pushover"),
        };
        let of = |text: &[u8]| BodyReference::of(text);
        assert_eq!(rendered_as(&of(b"json"), BodyKind::Json, bytes), (Bytes::from_static(b"json"), true));
        assert_eq!(rendered_as(&of(b"json"), BodyKind::AsciiJson, bytes), (Bytes::from_static(b"json"), true));
        assert_eq!(rendered_as(&of(b"old"), BodyKind::AsciiJson, bytes), (Bytes::from_static(b"ascii"), false));
    }
}
