//! Gathers the deliveries of batched endpoints into batches.
//!
//! Deliveries stay in memory, unacknowledged, while they wait for others: a crash returns them to their lane. The first delivery
//! of a batch *leads* it: its task waits until the batch is complete, sends it, and tells the other members the outcome. The
//! other tasks only wait. [`room`] limits how many deliveries wait.
//!
//! # What it promises
//! - A batch is complete when it has the endpoint's `events_max` or `bytes_max`, or `wait_ms_max` after its first delivery came. It
//!   may be sent earlier if its lane has no more room, or when the process stops.
//! - No batch has members of two endpoints, or of two lanes.
//!
//! # What it does not do
//! It sends nothing, and it preserves no order. A limit that a 413 taught ([`size_cap`]) is kept until the process ends, or until
//! 10,000 endpoints have one.

pub(crate) mod room;
mod size_cap;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_model::batch::Batch;
use postrider_model::delivery::Lane;
use postrider_model::ids::EndpointId;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use size_cap::SizeCaps;

/// Batches that are being gathered. `M` is a member.
#[derive(Debug)]
pub(crate) struct Gatherer<M> {
    open: Mutex<Open<M>>,
    caps: Mutex<SizeCaps>,
}

#[derive(Debug)]
struct Open<M> {
    batches: HashMap<(Lane, EndpointId), OpenBatch<M>>,
    /// The batches in the order in which they were started.
    order: BTreeMap<u64, (Lane, EndpointId)>,
    /// The number of the next batch.
    next: u64,
}

/// A batch that can take more members.
#[derive(Debug)]
struct OpenBatch<M> {
    number: u64,
    members: Vec<M>,
    bytes: usize,
    /// Gives the members to the leader.
    complete: oneshot::Sender<Vec<M>>,
}

/// The leader's side of a batch.
#[derive(Debug)]
pub(crate) struct Gathering<M> {
    number: u64,
    deadline: Instant,
    complete: oneshot::Receiver<Vec<M>>,
}

/// Where a delivery joins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Joining<'a> {
    pub(crate) lane: Lane,
    pub(crate) endpoint: EndpointId,
    pub(crate) batch: &'a Batch,
    /// Number of bytes that the delivery adds to the body of its batch.
    pub(crate) bytes: usize,
    /// Number of bytes of a body without deliveries.
    pub(crate) overhead: usize,
}

impl<M> Default for Gatherer<M> {
    fn default() -> Self {
        let open = Open { batches: HashMap::new(), order: BTreeMap::new(), next: 0 };
        Self { open: Mutex::new(open), caps: Mutex::default() }
    }
}

impl<M> Gatherer<M> {
    /// Adds a delivery to the batch of its endpoint. Returns the batch if the delivery is its first and leads it.
    pub(crate) fn join(&self, joining: &Joining<'_>, member: M, now: Instant) -> Option<Gathering<M>> {
        let &Joining { lane, endpoint, batch, bytes, overhead } = joining;
        let key = (lane, endpoint);
        let events_max = self.events_max(endpoint, batch);
        let mut open = self.open.lock();
        let fits = |gathered: &OpenBatch<M>| {
            !gathered.complete.is_closed() && gathered.bytes + bytes <= batch.bytes_max as usize
        };
        if open.batches.get(&key).is_some_and(|gathered| !fits(gathered)) {
            open.complete(key);
        }
        let mut leads = None;
        if !open.batches.contains_key(&key) {
            let (complete, receiver) = oneshot::channel();
            let number = open.next;
            open.next += 1;
            open.order.insert(number, key);
            open.batches.insert(key, OpenBatch { number, members: Vec::new(), bytes: overhead, complete });
            let deadline = now + Duration::from_millis(batch.wait_ms_max.into());
            leads = Some(Gathering { number, deadline, complete: receiver });
        }
        let gathered = open.batches.get_mut(&key)?;
        gathered.members.push(member);
        gathered.bytes += bytes;
        if gathered.members.len() >= events_max || gathered.bytes >= batch.bytes_max as usize {
            open.complete(key);
        }
        leads
    }

    /// Returns the members of a batch when it is complete: full, at its deadline, or at `stop`.
    pub(crate) async fn gathered(&self, gathering: Gathering<M>, stop: &CancellationToken) -> Vec<M> {
        let Gathering { number, deadline, mut complete } = gathering;
        tokio::select! {
            biased;
            members = &mut complete => return members.unwrap_or_default(),
            () = tokio::time::sleep_until(deadline.into()) => {}
            () = stop.cancelled() => {}
        }
        {
            let mut open = self.open.lock();
            if let Some(key) = open.order.get(&number).copied() {
                open.complete(key);
            }
        }
        complete.await.unwrap_or_default()
    }

    /// Completes the oldest batch of a lane, so that its members make room.
    pub(crate) fn complete_oldest(&self, lane: Lane) {
        let mut open = self.open.lock();
        let oldest = open.order.values().find(|(of, _)| *of == lane).copied();
        if let Some(key) = oldest {
            open.complete(key);
        }
    }

    /// The endpoint answered a batch of this size with 413: its next batches have at most half as many members.
    pub(crate) fn too_large(&self, endpoint: EndpointId, size: usize) {
        self.caps.lock().halve(endpoint, size);
    }

    /// The endpoint accepted a batch of this size.
    pub(crate) fn accepted(&self, endpoint: EndpointId, size: usize) {
        self.caps.lock().accepted(endpoint, size);
    }

    /// The maximum number of members of the endpoint's next batch.
    pub(crate) fn events_max(&self, endpoint: EndpointId, batch: &Batch) -> usize {
        let events_max = usize::try_from(batch.events_max).unwrap_or(usize::MAX).max(1);
        self.caps.lock().of(endpoint).map_or(events_max, |cap| cap.min(events_max))
    }
}

impl<M> Open<M> {
    /// Gives the members of a batch to its leader. If the leader is gone, the members are dropped and return to their lane.
    fn complete(&mut self, key: (Lane, EndpointId)) {
        if let Some(OpenBatch { number, members, complete, .. }) = self.batches.remove(&key) {
            self.order.remove(&number);
            let _ = complete.send(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch = Batch { events_max: 3, bytes_max: 100, wait_ms_max: 60_000 };

    fn joining(lane: Lane, endpoint: EndpointId, bytes: usize) -> Joining<'static> {
        Joining { lane, endpoint, batch: &BATCH, bytes, overhead: 2 }
    }

    /// Joins the deliveries of these sizes, numbered from 0. Returns the batches that are complete, without waiting.
    async fn complete(gatherer: &Gatherer<usize>, endpoint: EndpointId, sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut batches = Vec::new();
        for (member, bytes) in sizes.iter().enumerate() {
            batches.extend(gatherer.join(&joining(Lane::Live, endpoint, *bytes), member, Instant::now()));
        }
        batches.into_iter().filter_map(|mut gathering| gathering.complete.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn a_batch_is_complete_at_its_number_of_events_or_bytes() {
        let check = async |sizes: &[usize], expected: &[&[usize]]| {
            assert_eq!(complete(&Gatherer::default(), EndpointId::generate(), sizes).await, expected, "{sizes:?}");
        };
        check(&[1, 1], &[]).await;
        check(&[1, 1, 1, 1], &[&[0, 1, 2]]).await;
        // The third would exceed 100 bytes with the 2 bytes of an empty body.
        check(&[50, 40, 9, 1], &[&[0, 1]]).await;
        check(&[50, 48], &[&[0, 1]]).await;
        check(&[500, 1, 1, 1], &[&[0], &[1, 2, 3]]).await;
    }

    #[tokio::test]
    async fn a_batch_is_complete_after_its_wait_from_the_first_member() {
        let gatherer = Gatherer::default();
        let (endpoint, stop) = (EndpointId::generate(), CancellationToken::new());
        let past = Instant::now().checked_sub(Duration::from_secs(59)).unwrap();
        let leads = gatherer.join(&joining(Lane::Live, endpoint, 1), 'a', past).unwrap();
        assert!(gatherer.join(&joining(Lane::Live, endpoint, 1), 'b', Instant::now()).is_none());
        assert_eq!(gatherer.gathered(leads, &stop).await, ['a', 'b']);
        let leads = gatherer.join(&joining(Lane::Live, endpoint, 1), 'c', Instant::now()).unwrap();
        stop.cancel();
        assert_eq!(gatherer.gathered(leads, &stop).await, ['c'], "a stop completes every batch");
    }

    #[tokio::test]
    async fn endpoints_and_lanes_have_batches_of_their_own_and_the_oldest_makes_room() {
        let gatherer = Gatherer::default();
        let (one, two) = (EndpointId::generate(), EndpointId::generate());
        let lead = |lane, endpoint, member| gatherer.join(&joining(lane, endpoint, 1), member, Instant::now()).unwrap();
        let mut slow = lead(Lane::Slow, one, 'a');
        let mut first = lead(Lane::Live, one, 'b');
        let mut second = lead(Lane::Live, two, 'c');
        gatherer.complete_oldest(Lane::Live);
        assert_eq!(first.complete.try_recv().unwrap(), ['b']);
        assert!(slow.complete.try_recv().is_err() && second.complete.try_recv().is_err());
        gatherer.complete_oldest(Lane::Bulk);
        gatherer.complete_oldest(Lane::Live);
        assert_eq!(second.complete.try_recv().unwrap(), ['c']);
    }

    #[tokio::test]
    async fn a_413_halves_the_next_batches_down_to_one() {
        let (gatherer, endpoint) = (Gatherer::default(), EndpointId::generate());
        gatherer.too_large(endpoint, 3);
        assert_eq!(complete(&gatherer, endpoint, &[1, 1]).await, [[0], [1]]);
        assert_eq!(complete(&gatherer, EndpointId::generate(), &[1, 1, 1]).await, [[0, 1, 2]], "another endpoint");
    }

    #[test]
    fn a_batch_whose_leader_is_gone_takes_no_more_members() {
        let (gatherer, endpoint) = (Gatherer::default(), EndpointId::generate());
        drop(gatherer.join(&joining(Lane::Live, endpoint, 1), 'a', Instant::now()));
        assert!(gatherer.join(&joining(Lane::Live, endpoint, 1), 'b', Instant::now()).is_some());
    }
}
