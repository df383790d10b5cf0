//! Limits how many deliveries of batched endpoints are in memory: while they gather, and while their batch is sent.
//!
//! They take their places from the lane's budget for members in flight, and hold their messages meanwhile. At most five eighths of a
//! lane's members or prefetched messages, whichever is less, and half of its bytes are theirs, so that they delay no other delivery. One
//! fifth of that is reserved for endpoints that have few deliveries in memory, when the rest is taken: a batched endpoint that does not
//! answer leaves room for its neighbours. An endpoint has at most
//! [`BATCH_MEMBERS_PER_ENDPOINT_MAX`] deliveries in memory per lane, or its `events_max` if that is larger.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use postrider_broker::ConsumeOptions;
use postrider_model::batch::Batch;
use postrider_model::delivery::Lane;
use postrider_model::ids::EndpointId;
use postrider_model::limits::BATCH_MEMBERS_PER_ENDPOINT_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Maximum time for which a delivery waits in memory for room. After that it waits on the ladder.
const WAIT_MAX: Duration = Duration::from_millis(250);
/// An endpoint with fewer deliveries in memory may use the reserve.
const FEW: usize = 32;
/// Share of a lane's members that may wait for room at the same time, as a divisor. They hold places of the lane.
const WAITERS: usize = 16;

/// The room of all lanes.
#[derive(Debug)]
pub(crate) struct Rooms([LaneRoom; 3]);

#[derive(Debug)]
struct LaneRoom {
    /// Places for every endpoint.
    common: Arc<Semaphore>,
    /// Places for endpoints with few deliveries in memory.
    reserve: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    /// Permits to wait for room.
    waiters: Semaphore,
    endpoints: Mutex<HashMap<EndpointId, Arc<EndpointRoom>>>,
}

#[derive(Debug)]
struct EndpointRoom {
    places: Arc<Semaphore>,
    max: usize,
}

/// A use of an endpoint's room. The last one removes the room.
#[derive(Debug)]
struct RoomUse<'a> {
    lane: &'a LaneRoom,
    id: EndpointId,
    endpoint: Option<Arc<EndpointRoom>>,
}

impl Drop for RoomUse<'_> {
    fn drop(&mut self) {
        self.endpoint = None;
        let mut endpoints = self.lane.endpoints.lock();
        if endpoints.get(&self.id).is_some_and(|room| Arc::strong_count(room) == 1) {
            endpoints.remove(&self.id);
        }
    }
}

/// The place of one delivery. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    _endpoint: OwnedSemaphorePermit,
    _lane: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    _use: RoomUse<'a>,
}

impl Rooms {
    /// The room for the consumers with these limits.
    pub(crate) fn new(options: impl Fn(Lane) -> ConsumeOptions) -> Self {
        Self([Lane::Live, Lane::Slow, Lane::Bulk].map(|lane| LaneRoom::new(options(lane))))
    }

    /// Takes a place for a delivery with a body of `bytes`. If there is none, calls `make_room` and waits for a short time.
    /// Returns `None` if there is no room by then.
    pub(crate) async fn enter(
        &self,
        lane: Lane,
        endpoint: EndpointId,
        batch: &Batch,
        bytes: usize,
        make_room: impl Fn(),
    ) -> Option<Seat<'_>> {
        let [live, slow, bulk] = &self.0;
        let room = match lane {
            Lane::Live => live,
            Lane::Slow => slow,
            Lane::Bulk => bulk,
        };
        let until = Instant::now() + WAIT_MAX;
        tokio::time::timeout_at(until, room.enter(endpoint, batch, bytes, make_room)).await.ok()?
    }
}

impl LaneRoom {
    fn new(options: ConsumeOptions) -> Self {
        let members = (options.members_max.min(options.prefetch.into()) / 8 * 5).max(2);
        let reserve = (members / 5).max(1);
        let bytes_max = (options.bytes_max / 2).clamp(1, u32::MAX as usize);
        Self {
            common: Arc::new(Semaphore::new(members - reserve)),
            reserve: Arc::new(Semaphore::new(reserve)),
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            waiters: Semaphore::new((options.members_max / WAITERS).max(1)),
            endpoints: Mutex::default(),
        }
    }

    async fn enter(&self, id: EndpointId, batch: &Batch, bytes: usize, make_room: impl Fn()) -> Option<Seat<'_>> {
        let endpoint = self.of(id, batch);
        let (places, max) = (Arc::clone(&endpoint.places), endpoint.max);
        let room_use = RoomUse { lane: self, id, endpoint: Some(endpoint) };
        let place = Arc::clone(&places).try_acquire_owned().ok()?;
        let taken = max.saturating_sub(places.available_permits());
        // The common places first, so that an endpoint with many deliveries does not keep places of the reserve.
        let common = Arc::clone(&self.common).try_acquire_owned().ok();
        let lane = match common.or_else(|| self.reserved(taken)) {
            Some(lane) => lane,
            None => {
                let _waits = self.waiters.try_acquire().ok()?;
                make_room();
                Arc::clone(&self.common).acquire_owned().await.ok()?
            }
        };
        let bytes = u32::try_from(bytes.min(self.bytes_max)).unwrap_or(u32::MAX);
        let bytes = match Arc::clone(&self.bytes).try_acquire_many_owned(bytes) {
            Ok(bytes) => bytes,
            Err(_) => {
                let _waits = self.waiters.try_acquire().ok()?;
                make_room();
                Arc::clone(&self.bytes).acquire_many_owned(bytes).await.ok()?
            }
        };
        Some(Seat { _endpoint: place, _lane: lane, _bytes: bytes, _use: room_use })
    }

    /// A place of the reserve, for an endpoint that has `taken` places.
    fn reserved(&self, taken: usize) -> Option<OwnedSemaphorePermit> {
        if taken <= FEW { Arc::clone(&self.reserve).try_acquire_owned().ok() } else { None }
    }

    /// The room of an endpoint. An edit of `events_max` makes a new one; the deliveries in the old one end soon.
    fn of(&self, id: EndpointId, batch: &Batch) -> Arc<EndpointRoom> {
        let max = BATCH_MEMBERS_PER_ENDPOINT_MAX.max(usize::try_from(batch.events_max).unwrap_or_default());
        let mut endpoints = self.endpoints.lock();
        let room = endpoints.entry(id).or_insert_with(|| EndpointRoom::new(max));
        if room.max != max {
            *room = EndpointRoom::new(max);
        }
        Arc::clone(room)
    }
}

impl EndpointRoom {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(max)), max })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const BATCH: Batch = Batch { events_max: 100, bytes_max: 1_000, wait_ms_max: 1_000 };

    fn rooms() -> Rooms {
        // 400 places, 80 of them reserved; 500 bytes.
        Rooms::new(|_| ConsumeOptions {
            members_max: 640,
            prefetch: 640,
            bytes_max: 1_000,
            ..ConsumeOptions::default()
        })
    }

    async fn enter<'a>(rooms: &'a Rooms, endpoint: EndpointId, bytes: usize, asked: &Cell<u32>) -> Option<Seat<'a>> {
        rooms.enter(Lane::Live, endpoint, &BATCH, bytes, || asked.set(asked.get() + 1)).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_takes_all_room_leaves_the_reserve_to_others() {
        let (rooms, asked, hungry) = (rooms(), Cell::new(0), EndpointId::generate());
        let mut seats = Vec::new();
        while let Some(seat) = enter(&rooms, hungry, 1, &asked).await {
            seats.push(seat);
        }
        assert_eq!((seats.len(), asked.get()), (320, 1), "it asked once for the oldest batch to leave");
        let neighbours: Vec<_> = (0..80).map(|_| EndpointId::generate()).collect();
        for neighbour in neighbours {
            seats.push(enter(&rooms, neighbour, 1, &asked).await.expect("a place of the reserve"));
        }
        assert!(enter(&rooms, EndpointId::generate(), 1, &asked).await.is_none());
        assert!(rooms.enter(Lane::Slow, hungry, &BATCH, 1, || ()).await.is_some(), "another lane");
        seats.clear();
        assert!(enter(&rooms, hungry, 1, &asked).await.is_some());
        assert!(rooms.0[0].endpoints.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_limited_and_a_large_body_passes_alone() {
        let (rooms, asked, endpoint) = (rooms(), Cell::new(0), EndpointId::generate());
        let large = enter(&rooms, endpoint, 10_000, &asked).await;
        assert!(large.is_some());
        assert!(enter(&rooms, endpoint, 1, &asked).await.is_none());
        drop(large);
        assert!(enter(&rooms, endpoint, 500, &asked).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_has_a_limit_of_its_own() {
        let rooms =
            Rooms::new(|_| ConsumeOptions { members_max: 16_000, prefetch: 16_000, ..ConsumeOptions::default() });
        let (endpoint, asked) = (EndpointId::generate(), Cell::new(0));
        let mut seats = Vec::new();
        while let Some(seat) = enter(&rooms, endpoint, 1, &asked).await {
            seats.push(seat);
        }
        assert_eq!((seats.len(), asked.get()), (BATCH_MEMBERS_PER_ENDPOINT_MAX, 0));
    }
}
