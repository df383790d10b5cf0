//! Group commit: members gather while a confirm is outstanding and are sent together when it has come.
//!
//! A message costs, its bytes hardly do. So when nothing is outstanding a member is sent at once, and while something is, the
//! next members gather: no added latency when idle, bundles of up to 32 under load. After a commit of 8 members or more one that
//! would be smaller lingers 2 ms first. Where nobody waits for the result (decisions, outcomes) some milliseconds of gathering
//! besides save the broker's CPU for those who do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use postrider_model::limits::{BUNDLE_BYTES_MAX, BUNDLE_MEMBERS_MAX};
use postrider_wire::bundle::Member;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::connection::{PublishState, SupervisedConnection};
use crate::error::PublishError;
use crate::publish::confirm_channel::{Closed, ConfirmChannel, Outgoing, Policy, Verdict};
use crate::topology::Route;

/// Bundles of one commit at most.
const COMMIT_BUNDLES_MAX: usize = 128;
/// Bytes of one commit, after which no further bundle is begun: what bounds the bytes written before a confirm is looked at.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a commit waits for company when the one before had more members: those who were just answered are about to submit
/// again, and a small commit costs the broker hardly less than a large one.
const LINGER: Duration = Duration::from_millis(2);
/// After a commit of fewer members none waits. So few come that the broker has time for small commits, and each member would be late.
const LINGER_MEMBERS_MIN: usize = 8;
/// With so many members there is company enough.
const LINGER_MEMBERS_MAX: usize = 2 * BUNDLE_MEMBERS_MAX;

/// What becomes of members that the broker refuses, or whose confirm is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// They are sent again until they are confirmed.
    UntilConfirmed,
    /// A refusal is an error. After a lost connection only members whose caller still waits are sent again.
    WhileAwaited,
}

/// How a [`BatchPublisher`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How long to gather although nothing is outstanding; zero (the default) sends at once. Up to 20 ms are sensible, and
    /// only where nobody waits.
    pub gather: Duration,
    /// Members waiting or unconfirmed at most; beyond, [`BatchPublisher::publish`] waits and [`BatchPublisher::publish_within`] refuses.
    pub members_max: usize,
    /// Bytes of members waiting or unconfirmed at most, a payload that members share counted once; a larger submission takes all of it.
    pub bytes_max: usize,
    /// Whether members are sent again until they are confirmed. Otherwise a refusal is told, and after a lost connection only
    /// those are sent again whose submitter still waits.
    pub resend: Resend,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self { gather: Duration::ZERO, members_max: 8_192, bytes_max: 64 * 1024 * 1024, resend: Resend::UntilConfirmed }
    }
}

/// A publisher of bundles to one route. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct BatchPublisher {
    submissions: mpsc::UnboundedSender<(Vec<Member>, Arc<Ticket>)>,
    room: Arc<Room>,
    state: watch::Receiver<PublishState>,
}

/// What may wait or be unconfirmed.
struct Room {
    members: Arc<Semaphore>,
    members_max: usize,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
}

/// What a submission takes of it; dropping it gives it back.
type Taken = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Room {
    fn new(options: BatchOptions) -> Self {
        let members_max = options.members_max.min(Semaphore::MAX_PERMITS);
        let bytes_max = options.bytes_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            members: Arc::new(Semaphore::new(members_max)),
            members_max,
            bytes: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// A submission larger than all of it takes all of it.
    fn permits(&self, members: &[Member]) -> (u32, u32) {
        let permits = |wanted: usize, max: usize| u32::try_from(wanted.min(max)).unwrap_or(u32::MAX);
        (permits(members.len(), self.members_max), permits(bytes_of(members), self.bytes_max))
    }

    fn try_take(&self, members: &[Member]) -> Option<Taken> {
        let (count, bytes) = self.permits(members);
        let count = Arc::clone(&self.members).try_acquire_many_owned(count).ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some((count, bytes))
    }

    async fn take(&self, members: &[Member]) -> Result<Taken, PublishError> {
        let (count, bytes) = self.permits(members);
        let count = Arc::clone(&self.members).acquire_many_owned(count).await.map_err(|_| PublishError::Stopped)?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.map_err(|_| PublishError::Stopped)?;
        Ok((count, bytes))
    }
}

/// Bytes of members in a row, a payload that they share counted once.
fn bytes_of(members: &[Member]) -> usize {
    let mut before: Option<&Member> = None;
    members
        .iter()
        .map(|member| {
            let shares = before.replace(member).is_some_and(|before| shares_payload(before, member));
            member.encoded_bytes() - if shares { member.payload.len() } else { 0 }
        })
        .sum()
}

/// One submission: done when every member is.
struct Ticket {
    remaining: AtomicUsize,
    refused: AtomicBool,
    done: Mutex<Option<oneshot::Sender<Result<(), PublishError>>>>,
    _room: Taken,
}

impl Ticket {
    fn settle(&self, members: usize, verdict: Verdict) {
        if verdict != Verdict::Confirmed {
            self.refused.store(true, Ordering::Relaxed);
        }
        if self.remaining.fetch_sub(members, Ordering::AcqRel) > members {
            return;
        }
        let result = if self.refused.load(Ordering::Relaxed) { Err(PublishError::Refused) } else { Ok(()) };
        if let Some(done) = self.done.lock().ok().and_then(|mut done| done.take()) {
            // Whoever waited may have left: that is their business.
            let _ = done.send(result);
        }
    }

    fn wanted(&self) -> bool {
        self.done.lock().is_ok_and(|done| done.as_ref().is_some_and(|done| !done.is_closed()))
    }
}

/// The tickets of one bundle's members, with how many of them are of each.
type Tickets = Vec<(Arc<Ticket>, usize)>;

impl BatchPublisher {
    pub(crate) fn start(link: SupervisedConnection, route: Route, options: BatchOptions) -> Self {
        let (submissions, received) = mpsc::unbounded_channel();
        let room = Arc::new(Room::new(options));
        let (state, helpers) = (link.state(), link.helpers().clone());
        let policy = if options.resend == Resend::UntilConfirmed {
            Policy::Persist
        } else {
            Policy::Tell(|tickets: &Tickets| tickets.iter().any(|(ticket, _)| ticket.wanted()))
        };
        let pipeline = ConfirmChannel::new(link, route.publisher(), policy);
        let commit = Commit { route, options, waiting: VecDeque::new(), waiting_since: None, committed: 0, pipeline };
        helpers.spawn(route.publisher(), commit.run(received));
        Self { submissions, room, state }
    }

    /// Publishes members; returns when every one of them is confirmed. Waits while the queue is full. Dropping the future leaves
    /// them unknown.
    ///
    /// # Errors
    /// [`PublishError::Refused`] unless the bundler persists, [`PublishError::Stopped`] at shutdown.
    pub async fn publish(&self, members: Vec<Member>) -> Result<(), PublishError> {
        if members.is_empty() {
            return Ok(());
        }
        // Trying first spares the wait list, and keeps the order of concurrent submissions.
        let room = match self.room.try_take(&members) {
            Some(room) => room,
            None => self.room.take(&members).await?,
        };
        self.enqueue(members, room)?.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Publishes members, never waiting longer than `limit`. Members whose submitter has left are not sent any more.
    ///
    /// # Errors
    /// At once: [`PublishError::Overloaded`] and [`PublishError::Blocked`], nothing was sent. Later: [`PublishError::Timeout`] and
    /// [`PublishError::Refused`], it may have been published.
    pub async fn publish_within(&self, members: Vec<Member>, limit: Duration) -> Result<(), PublishError> {
        if members.is_empty() {
            return Ok(());
        }
        if matches!(*self.state.borrow(), PublishState::Blocked(_)) {
            return Err(PublishError::Blocked);
        }
        let room = self.room.try_take(&members).ok_or(PublishError::Overloaded)?;
        let done = self.enqueue(members, room)?;
        match tokio::time::timeout(limit, done).await {
            Ok(result) => result.unwrap_or(Err(PublishError::Stopped)),
            Err(_) => Err(PublishError::Timeout),
        }
    }

    fn enqueue(
        &self,
        members: Vec<Member>,
        room: Taken,
    ) -> Result<oneshot::Receiver<Result<(), PublishError>>, PublishError> {
        let (done, confirmed) = oneshot::channel();
        let ticket = Arc::new(Ticket {
            remaining: AtomicUsize::new(members.len()),
            refused: AtomicBool::new(false),
            done: Mutex::new(Some(done)),
            _room: room,
        });
        self.submissions.send((members, ticket)).map_err(|_| PublishError::Stopped)?;
        Ok(confirmed)
    }
}

/// The task: gathers, sends, settles.
struct Commit {
    route: Route,
    options: BatchOptions,
    waiting: VecDeque<(Member, Arc<Ticket>)>,
    waiting_since: Option<Instant>,
    /// Members of the commit before.
    committed: usize,
    pipeline: ConfirmChannel<Tickets>,
}

type Submissions = mpsc::UnboundedReceiver<(Vec<Member>, Arc<Ticket>)>;

impl Commit {
    async fn run(mut self, mut submissions: Submissions) {
        let mut open = true;
        while open || self.pipeline.outstanding() > 0 || !self.waiting.is_empty() {
            if self.pipeline.outstanding() > 0 {
                if matches!(self.pipeline.advance().await, Err(Closed)) {
                    return;
                }
                if self.pipeline.outstanding() == 0 {
                    continue;
                }
                // Submissions wait in their channel meanwhile: receiving them one by one would only wake this task more often.
                for (tickets, verdict) in self.pipeline.confirms().await {
                    tickets.iter().for_each(|(ticket, members)| ticket.settle(*members, verdict));
                }
                continue;
            }
            self.take_all(&mut submissions);
            if self.waiting.is_empty() {
                match submissions.recv().await {
                    Some(submission) => self.take(submission),
                    None => open = false,
                }
                // Whoever else is about to submit gets its turn first, and shares the bundle.
                tokio::task::yield_now().await;
                self.take_all(&mut submissions);
            }
            self.gather(&mut submissions).await;
            self.commit();
        }
    }

    fn take(&mut self, (members, ticket): (Vec<Member>, Arc<Ticket>)) {
        self.waiting_since.get_or_insert_with(Instant::now);
        self.waiting.extend(members.into_iter().map(|member| (member, Arc::clone(&ticket))));
    }

    fn take_all(&mut self, submissions: &mut Submissions) {
        while let Ok(submission) = submissions.try_recv() {
            self.take(submission);
        }
    }

    /// Waits until the gathering time of the oldest waiting member has passed, or a bundle is full.
    async fn gather(&mut self, submissions: &mut Submissions) {
        let Some(since) = self.waiting_since else { return };
        if self.options.gather.is_zero() {
            if lingers(self.committed, self.waiting.len()) {
                tokio::time::sleep(LINGER).await;
                self.take_all(submissions);
            }
            return;
        }
        let until = tokio::time::sleep_until(since + self.options.gather);
        let mut until = std::pin::pin!(until);
        while self.waiting.len() < BUNDLE_MEMBERS_MAX {
            tokio::select! {
                () = &mut until => return,
                submission = submissions.recv() => match submission {
                    Some(submission) => self.take(submission),
                    None => return,
                },
            }
        }
    }

    fn commit(&mut self) {
        if self.options.resend == Resend::WhileAwaited {
            self.waiting.retain(|(_, ticket)| ticket.wanted());
        }
        let (exchange, key) = self.route.address();
        let before = self.waiting.len();
        let mut bytes = 0;
        for _ in 0..COMMIT_BUNDLES_MAX {
            if bytes >= COMMIT_BYTES_MAX {
                break;
            }
            let Some((members, tickets)) = next_bundle(&mut self.waiting) else { break };
            self.pipeline.metrics().members.record(members.len() as f64);
            let bundle = Outgoing::bundle(exchange, key.into(), &members, counted(tickets));
            bytes += bundle.body.len();
            self.pipeline.push(bundle);
        }
        self.committed = before - self.waiting.len();
        self.waiting_since = if self.waiting.is_empty() { None } else { Some(Instant::now()) };
    }
}

/// Whether a commit of so many waiting members lingers after one of so many `committed`.
fn lingers(committed: usize, waiting: usize) -> bool {
    committed >= LINGER_MEMBERS_MIN && waiting < committed.min(LINGER_MEMBERS_MAX)
}

/// Takes the members of the next bundle, with what each is known by: at most 32 and at most 32 KiB, but always one. Members that share
/// the payload before them add only their heads, however large it is: copied for each of them, a large event would take as many times
/// its bytes as it has endpoints.
pub(crate) fn next_bundle<T>(waiting: &mut VecDeque<(Member, T)>) -> Option<(Vec<Member>, Vec<T>)> {
    let mut members: Vec<Member> = Vec::with_capacity(waiting.len().min(BUNDLE_MEMBERS_MAX));
    let mut tokens = Vec::with_capacity(members.capacity());
    let mut bytes = 0;
    while let Some((member, _)) = waiting.front() {
        let shares = members.last().is_some_and(|before| shares_payload(before, member));
        bytes += member.encoded_bytes() - if shares { member.payload.len() } else { 0 };
        let is_full = members.len() == BUNDLE_MEMBERS_MAX || (bytes > BUNDLE_BYTES_MAX && !shares);
        if !members.is_empty() && is_full {
            break;
        }
        let Some((member, token)) = waiting.pop_front() else { break };
        members.push(member);
        tokens.push(token);
    }
    (!members.is_empty()).then_some((members, tokens))
}

/// A submission's members mostly travel together: their ticket is then kept once.
fn counted(tickets: Vec<Arc<Ticket>>) -> Tickets {
    let mut counted: Tickets = Vec::new();
    for ticket in tickets {
        match counted.last_mut() {
            Some((last, count)) if Arc::ptr_eq(last, &ticket) => *count += 1,
            _ => counted.push((ticket, 1)),
        }
    }
    counted
}

/// Whether the encoding writes the payload only once.
fn shares_payload(before: &Member, member: &Member) -> bool {
    !member.payload.is_empty()
        && before.payload.as_ptr() == member.payload.as_ptr()
        && before.payload.len() == member.payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use postrider_wire::bundle;

    fn waiting(sizes: &[usize]) -> VecDeque<(Member, ())> {
        sizes.iter().map(|size| (Member { head: Bytes::new(), payload: vec![0; *size].into() }, ())).collect()
    }

    fn split(sizes: &[usize]) -> Vec<usize> {
        let mut waiting = waiting(sizes);
        std::iter::from_fn(|| next_bundle(&mut waiting)).map(|(members, _)| members.len()).collect()
    }

    #[test]
    fn a_bundle_holds_at_most_thirty_two_members_and_thirty_two_kib() {
        assert_eq!(split(&[10; 70]), [32, 32, 6]);
        assert_eq!(split(&[10_000; 7]), [3, 3, 1]);
        assert_eq!(split(&[10, 40_000, 10, 10]), [1, 1, 2]);
        assert_eq!(split(&[40_000, 40_000]), [1, 1]);
    }

    #[test]
    fn a_commit_lingers_when_it_is_smaller_than_the_one_before_and_that_was_neither_small_nor_very_large() {
        assert!(lingers(8, 1) && lingers(8, 7) && lingers(1_000, 63));
        assert!(!lingers(0, 1) && !lingers(7, 1) && !lingers(8, 8) && !lingers(1_000, 64));
    }

    #[test]
    fn a_shared_body_counts_once() {
        let body = Bytes::from(vec![0; 30_000]);
        let mut waiting = waiting(&[0; 20]);
        waiting.iter_mut().for_each(|(member, _)| member.payload = body.clone());
        assert_eq!(next_bundle(&mut waiting).map(|(members, _)| members.len()), Some(20));
    }

    /// A batch of events with large bodies, each for many endpoints.
    #[test]
    fn a_large_body_for_many_endpoints_is_copied_once_per_full_bundle() {
        const BODY: usize = 256 * 1024;
        let bodies = [Bytes::from(vec![0; BODY]), Bytes::from(vec![1; BODY])];
        let members: Vec<_> = bodies
            .iter()
            .flat_map(|body| (0..100).map(|_| Member { head: Bytes::from_static(b"{}"), payload: body.clone() }))
            .collect();
        assert!((2 * BODY..2 * BODY + 200 * 16).contains(&bytes_of(&members)));
        let mut waiting: VecDeque<_> = members.into_iter().map(|member| (member, ())).collect();
        let bundles: Vec<_> = std::iter::from_fn(|| next_bundle(&mut waiting)).map(|(members, _)| members).collect();
        let sizes: Vec<_> = bundles.iter().map(Vec::len).collect();
        assert_eq!(sizes, [32, 32, 32, 4, 32, 32, 32, 4]);
        let encoded: usize = bundles.iter().map(|members| bundle::encode(members).len()).sum();
        assert!(encoded < 9 * BODY, "{encoded}");
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes_and_a_larger_submission_takes_all_of_it() {
        let room = Room::new(BatchOptions { bytes_max: 1_000, ..BatchOptions::default() });
        let members = |bytes: usize| vec![Member { head: Bytes::new(), payload: vec![0; bytes].into() }];
        let held = room.try_take(&members(900)).unwrap();
        assert!(room.try_take(&members(900)).is_none());
        let small = room.try_take(&members(10)).unwrap();
        drop((held, small));
        let all = room.take(&members(100_000)).await.unwrap();
        assert!(room.try_take(&members(1)).is_none());
        drop(all);
        assert!(room.try_take(&members(1)).is_some());
    }
}
