//! Group commit: while a confirm is outstanding, members gather; when it arrives, they are sent together.
//!
//! The broker's cost depends more on the number of messages than on their size. While nothing is unconfirmed, a member is sent
//! immediately; otherwise the next members gather. That adds no latency when idle and makes bundles of up to 32 members under
//! load. If the previous commit had at least 2 members, a smaller commit waits up to 2 ms for more members. Publishers whose
//! callers accept latency (decisions, outcomes) gather for some more milliseconds, which saves CPU time of the broker.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_model::ids::TenantId;
use postrider_model::limits::BUNDLE_MEMBERS_MAX;
use postrider_wire::bundle::Member;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::bundling::{bytes_of, next_bundle};
use super::confirm_channel::{Closed, ConfirmChannel, ResendPolicy};
use super::fair_queue::{FairQueue, TenantLimit};
use super::outgoing::Outgoing;
use super::ticket::{Ticket, TicketPermit, Tickets, counted};
use crate::budget::Budget;
use crate::connection::{PublishState, SupervisedConnection};
use crate::error::PublishError;
use crate::topology::Route;

/// Maximum number of bundles in one commit.
const COMMIT_BUNDLES_MAX: usize = 128;
/// Maximum number of members in one commit.
const COMMIT_MEMBERS_MAX: usize = COMMIT_BUNDLES_MAX * BUNDLE_MEMBERS_MAX;
/// A commit with this many bytes gets no further bundle. This limits the bytes that are written before confirms are read.
const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a commit waits for more members if the previous commit had more. Callers that just got their answer are about to
/// publish again, and a small commit costs the broker almost as much as a large one.
const LINGER: Duration = Duration::from_millis(2);
/// A commit waits only if the previous commit had at least this many members. At a lower rate no other member would arrive in
/// time.
const LINGER_MEMBERS_MIN: usize = 2;
/// A commit with at least this many members does not wait for more.
const LINGER_MEMBERS_MAX: usize = 2 * BUNDLE_MEMBERS_MAX;
/// A waiting commit is sent early once it has as many members as the previous commit, and at least this many.
const LINGER_ENOUGH_MIN: usize = 8;

/// What happens to members that the broker refuses, or whose confirm is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// The members are sent again until they are confirmed.
    UntilConfirmed,
    /// A refusal is an error. After a lost connection, a member is sent again only if its caller still waits.
    WhileAwaited,
}

/// How a [`BatchPublisher`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How long members gather even if nothing is unconfirmed. Zero (the default) sends them immediately. Use at most 100 ms,
    /// and only if latency does not matter.
    pub gather: Duration,
    /// Maximum number of members that are queued or unconfirmed. Above it, [`BatchPublisher::publish`] waits and
    /// [`BatchPublisher::publish_within`] returns [`PublishError::Overloaded`].
    pub members_max: usize,
    /// Maximum number of bytes of members that are queued or unconfirmed. A payload that several members share counts once.
    pub bytes_max: usize,
    /// What happens to members that are not confirmed.
    pub resend: Resend,
    /// Maximum number of bundles that are unconfirmed at the same time. With 1, members arrive in the order in which they were
    /// published, even if the broker refuses a bundle or the connection is lost. The default is 128.
    pub bundles_max: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            gather: Duration::ZERO,
            members_max: 8_192,
            bytes_max: 64 * 1024 * 1024,
            resend: Resend::UntilConfirmed,
            bundles_max: COMMIT_BUNDLES_MAX,
        }
    }
}

type Submission = (Option<TenantId>, Vec<Member>, Arc<Ticket>);

/// Counts the unsent members. Wakes the publisher's task once there are enough of them, not for every member.
struct Unsent {
    members: AtomicUsize,
    /// The number of members at which the task wakes.
    enough: AtomicUsize,
    wake: Notify,
}

impl Unsent {
    fn new() -> Self {
        Self { members: AtomicUsize::new(0), enough: AtomicUsize::new(usize::MAX), wake: Notify::new() }
    }

    fn add(&self, members: usize) {
        let before = self.members.fetch_add(members, Ordering::SeqCst);
        let enough = self.enough.load(Ordering::SeqCst);
        if before < enough && before + members >= enough {
            self.wake.notify_one();
        }
    }

    fn remove(&self, members: usize) {
        self.members.fetch_sub(members, Ordering::SeqCst);
    }

    /// Returns when there are `enough` members, or at the time `until`.
    async fn wait_for(&self, enough: usize, until: Instant) {
        self.enough.store(enough, Ordering::SeqCst);
        // Sequentially consistent: if this load does not count a member, the call that adds the member sees the new `enough`.
        while self.members.load(Ordering::SeqCst) < enough {
            if tokio::time::timeout_at(until, self.wake.notified()).await.is_err() {
                break;
            }
        }
        self.enough.store(usize::MAX, Ordering::SeqCst);
    }
}

/// A publisher of bundles to one route. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct BatchPublisher {
    submissions: mpsc::UnboundedSender<Submission>,
    unsent: Arc<Unsent>,
    budget: Arc<Budget>,
    tenants: TenantLimit,
    state: watch::Receiver<PublishState>,
}

impl BatchPublisher {
    pub(crate) fn start(connection: SupervisedConnection, route: Route, options: BatchOptions) -> Self {
        // The budget limits the length of this channel.
        let (submissions, received) = mpsc::unbounded_channel();
        let budget = Arc::new(Budget::new(options.members_max, options.bytes_max));
        let unsent = Arc::new(Unsent::new());
        let (state, tasks) = (connection.state(), connection.tasks().clone());
        let policy = match options.resend {
            Resend::UntilConfirmed => ResendPolicy::UntilConfirmed,
            Resend::WhileAwaited => {
                ResendPolicy::While(|tickets: &Tickets| tickets.iter().any(|(ticket, _)| ticket.is_awaited()))
            }
        };
        let channel = ConfirmChannel::new(connection, route.publisher(), policy);
        let committer = Committer {
            route,
            options,
            unsent: Arc::clone(&unsent),
            queued: FairQueue::new(),
            waiting: VecDeque::new(),
            waiting_since: None,
            committed: 0,
            channel,
        };
        tasks.spawn(route.publisher(), committer.run(received));
        let tenants = TenantLimit::new((options.members_max / 2).max(1));
        Self { submissions, unsent, budget, tenants, state }
    }

    /// Publishes members and returns when all of them are confirmed. Waits while the queue is full. If the future is dropped, the
    /// members may or may not be published.
    ///
    /// # Errors
    /// [`PublishError::Refused`] with [`Resend::WhileAwaited`], [`PublishError::Stopped`] at shutdown.
    pub async fn publish(&self, members: Vec<Member>) -> Result<(), PublishError> {
        if members.is_empty() {
            return Ok(());
        }
        let (count, bytes) = (members.len(), bytes_of(&members));
        // `try_acquire` takes free room without waiting, so that concurrent calls stay in order.
        let permit = match self.budget.try_acquire(count, bytes) {
            Some(permit) => permit,
            None => self.budget.acquire(count, bytes).await.ok_or(PublishError::Stopped)?,
        };
        self.enqueue(None, members, (permit, None))?.await.unwrap_or(Err(PublishError::Stopped))
    }

    /// Publishes members of a tenant and waits for their confirms, at most for `limit`. Tenants take turns, and each tenant
    /// gets at most half of the room. With [`Resend::WhileAwaited`], a commit leaves out members whose caller does not wait any
    /// more.
    ///
    /// # Errors
    /// [`PublishError::Overloaded`] and [`PublishError::Blocked`] are returned immediately: nothing was sent. After
    /// [`PublishError::Timeout`] and [`PublishError::Refused`] the members may have been published.
    pub async fn publish_within(
        &self,
        tenant: TenantId,
        members: Vec<Member>,
        limit: Duration,
    ) -> Result<(), PublishError> {
        if members.is_empty() {
            return Ok(());
        }
        if matches!(*self.state.borrow(), PublishState::Blocked(_)) {
            return Err(PublishError::Blocked);
        }
        let share = self.tenants.charge(tenant, members.len()).ok_or(PublishError::Overloaded)?;
        let room = self.budget.try_acquire(members.len(), bytes_of(&members)).ok_or(PublishError::Overloaded)?;
        let confirmed = self.enqueue(Some(tenant), members, (room, Some(share)))?;
        match tokio::time::timeout(limit, confirmed).await {
            Ok(result) => result.unwrap_or(Err(PublishError::Stopped)),
            Err(_) => Err(PublishError::Timeout),
        }
    }

    fn enqueue(
        &self,
        tenant: Option<TenantId>,
        members: Vec<Member>,
        permit: TicketPermit,
    ) -> Result<oneshot::Receiver<Result<(), PublishError>>, PublishError> {
        let (done, confirmed) = oneshot::channel();
        let (count, ticket) = (members.len(), Ticket::new(members.len(), done, permit));
        self.unsent.add(count);
        self.submissions.send((tenant, members, ticket)).map_err(|_| PublishError::Stopped)?;
        Ok(confirmed)
    }
}

/// The publisher's task: it gathers members, sends them and answers the callers.
struct Committer {
    route: Route,
    options: BatchOptions,
    unsent: Arc<Unsent>,
    queued: FairQueue<(Member, Arc<Ticket>)>,
    /// The members of the next commit, in order.
    waiting: VecDeque<(Member, Arc<Ticket>)>,
    waiting_since: Option<Instant>,
    /// The number of members in the previous commit.
    committed: usize,
    channel: ConfirmChannel<Tickets>,
}

type Submissions = mpsc::UnboundedReceiver<Submission>;

impl Committer {
    async fn run(mut self, mut submissions: Submissions) {
        let mut open = true;
        while open || self.channel.outstanding() > 0 || self.members() > 0 {
            if self.channel.outstanding() > 0 {
                if matches!(self.channel.send_pending().await, Err(Closed)) {
                    return;
                }
                if self.channel.outstanding() == 0 {
                    continue;
                }
                // In the meantime submissions remain in their channel, because receiving them one by one would only wake this
                // task more often.
                for (tickets, verdict) in self.channel.confirms().await {
                    tickets.iter().for_each(|(ticket, members)| ticket.resolve(*members, verdict));
                }
                continue;
            }
            self.take_all(&mut submissions);
            if self.members() == 0 {
                match submissions.recv().await {
                    Some(submission) => self.take(submission),
                    None => open = false,
                }
                // Yields, so that other tasks that are about to publish run first and share the bundle.
                tokio::task::yield_now().await;
                self.take_all(&mut submissions);
            }
            self.gather(&mut submissions).await;
            self.commit();
        }
    }

    /// The number of members that the task has received but not sent.
    fn members(&self) -> usize {
        self.queued.len() + self.waiting.len()
    }

    fn take(&mut self, (tenant, members, ticket): Submission) {
        self.waiting_since.get_or_insert_with(Instant::now);
        self.queued.push(tenant, members.into_iter().map(|member| (member, Arc::clone(&ticket))));
    }

    fn take_all(&mut self, submissions: &mut Submissions) {
        while let Ok(submission) = submissions.try_recv() {
            self.take(submission);
        }
    }

    /// Waits until the oldest member has gathered for `options.gather` or a bundle is full. If `options.gather` is zero, waits
    /// only if the commit lingers.
    async fn gather(&mut self, submissions: &mut Submissions) {
        let Some(since) = self.waiting_since else { return };
        if self.options.gather.is_zero() {
            if lingers(self.committed, self.members()) {
                let enough = self.committed.max(LINGER_ENOUGH_MIN);
                self.unsent.wait_for(enough, Instant::now() + LINGER).await;
                self.take_all(submissions);
            }
            return;
        }
        if self.members() < BUNDLE_MEMBERS_MAX {
            self.unsent.wait_for(BUNDLE_MEMBERS_MAX, since + self.options.gather).await;
            self.take_all(submissions);
        }
    }

    fn commit(&mut self) {
        let unsent = self.members();
        self.queued.take(COMMIT_MEMBERS_MAX.saturating_sub(self.waiting.len()), &mut self.waiting);
        if self.options.resend == Resend::WhileAwaited {
            self.waiting.retain(|(_, ticket)| ticket.is_awaited());
        }
        let (exchange, key) = self.route.address();
        let before = self.waiting.len();
        let mut bytes = 0;
        for _ in 0..self.options.bundles_max.clamp(1, COMMIT_BUNDLES_MAX) {
            if bytes >= COMMIT_BYTES_MAX {
                break;
            }
            let Some((members, tickets)) = next_bundle(&mut self.waiting) else { break };
            self.channel.metrics().members.record(members.len() as f64);
            let bundle = Outgoing::bundle(exchange, key.into(), &members, counted(tickets));
            bytes += bundle.body.len();
            self.channel.push(bundle);
        }
        self.committed = before - self.waiting.len();
        self.unsent.remove(unsent - self.members());
        self.waiting_since = if self.members() == 0 { None } else { Some(Instant::now()) };
    }
}

/// Whether a commit with `waiting` members waits for more, if the previous commit had `committed` members.
fn lingers(committed: usize, waiting: usize) -> bool {
    committed >= LINGER_MEMBERS_MIN && waiting < committed.min(LINGER_MEMBERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_lingers_when_the_previous_one_was_larger() {
        assert!(lingers(2, 1) && lingers(8, 7) && lingers(1_000, 63));
        assert!(!lingers(0, 1) && !lingers(1, 1) && !lingers(8, 8) && !lingers(1_000, 64));
    }
}
