//! The reconciler: finds events and deliveries on record whose messages were lost (a lost broker disk, a purged queue), and
//! publishes them again.
//!
//! # What it promises
//! - It compares with the [`Watermark`], not with the clock. An undecided event counts as lost if events that were accepted
//!   minutes later are decided, or if all queues have been empty for a while and nothing was written.
//! - It repairs only while the queues are short. It repairs one page at a time, and in one recorder at a time.
//! - It publishes the same ids with a new epoch. If the original message appears later, a dispatcher drops it.
//!
//! # What it does not do
//! It cannot repair events and deliveries that were never on record. `postrider audit` counts them.

mod scan_cursor;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use postrider_broker::{Broker, BrokerError, MessagePublisher, MessageRoute, PublishError, Queue, ladder, topology};
use postrider_ledger::reconcile::{Overdue, accepted_again, repair_overdue};
use postrider_model::delivery::Lane;
use postrider_model::limits::{BUNDLE_MEMBERS_MAX, HOLD_MAX};
use postrider_model::time::{Day, UnixMillis};
use postrider_store::reconcile::{Look, Looked, Repaired, UndecidedEvent};
use postrider_store::{Store, StoreError};
use postrider_wire::bundle::Member;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::scan_cursor::{ScanCursor, Slice};
use crate::config::ReconcileConfig;
use crate::metrics::{self, Reconciled};
use crate::watermark::Watermark;

/// All queues between acceptance and attempt, and the queues that the recorder consumes.
const QUEUES: [Queue; 9] = [
    Queue::Fanout,
    Queue::FanoutOrdered,
    Queue::Ordered,
    Queue::EventLog,
    Queue::Decisions,
    Queue::Outcomes,
    Queue::Lane(Lane::Live),
    Queue::Lane(Lane::Slow),
    Queue::Lane(Lane::Bulk),
];
/// Number of past days that the reconciler scans: 7 days for the lifetime of deliveries, and one day for late decisions.
const DAYS: i32 = 8;
/// Scans for undecided events take at most 1/`SHARE` of the time, so the pause after a slow scan is longer.
const SHARE: u32 = 20;
/// Scans for overdue deliveries read whole days. They should take 1/`OVERDUE_SHARE` of the time, but [`overdue_pause`] limits
/// the pause.
const OVERDUE_SHARE: u32 = 100;
/// A delivery that is overdue by this multiple of [`ReconcileConfig::attempted_after`] counts as lost even if it may be held.
const HELD_AT_LATEST: u32 = 4;

/// Reconciles until `stop`.
pub(crate) async fn run(
    broker: Broker,
    store: Store,
    watermark: Arc<Watermark>,
    config: ReconcileConfig,
    stop: CancellationToken,
) {
    let singles = broker.message_publisher();
    let mut reconciler = Reconciler {
        broker,
        store,
        singles,
        watermark,
        config,
        quiet: None,
        older: 0,
        days: HashMap::new(),
        overdue_at: Instant::now(),
    };
    let mut pause = reconciler.config.every;
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let started = Instant::now();
        let look = reconciler.look().instrument(tracing::info_span!("reconcile"));
        let Some(looked) = stop.run_until_cancelled(look).await else { return };
        let (ReconcileConfig { every, page_every, .. }, took) = (&reconciler.config, started.elapsed());
        pause = match looked {
            Ok(Next::Repair) => *page_every,
            Ok(Next::Look) => (*page_every).max(took * SHARE),
            Ok(Next::Rest) => (*every).max(took * SHARE),
            Err(error) => {
                tracing::debug!(%error, "cannot reconcile; retrying later");
                (*every).max(took * SHARE)
            }
        };
    }
}

/// The next action after a scan. After several scans, the greatest value applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// Wait until the next regular scan.
    Rest,
    /// Continue scanning, because part of the range was not scanned yet.
    Look,
    /// Repair another page. The last page was full, so there may be more.
    Repair,
}

/// The reason why a scan failed.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("cannot serialise the head of an event: {0}")]
    Head(#[from] serde_json::Error),
}

struct Reconciler {
    broker: Broker,
    store: Store,
    singles: MessagePublisher,
    watermark: Arc<Watermark>,
    config: ReconcileConfig,
    quiet: Option<Quiet>,
    /// The older day that was scanned last, as a number of days before yesterday.
    older: i32,
    days: HashMap<Day, ScanCursor>,
    /// The time of the next scan for overdue deliveries.
    overdue_at: Instant,
}

/// The result of scanning a slice of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    next: Next,
    /// Whether all events of the slice are decided. `None` if the slice must be scanned again first.
    decided: Option<bool>,
}

/// A period that began at `since`, in which the queues were empty and nothing was written.
#[derive(Debug, Clone, Copy)]
struct Quiet {
    since: Instant,
    batches: u64,
}

/// Decisions and outcomes up to these times are on record, unless they were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Horizon {
    decided: UnixMillis,
    attempted: UnixMillis,
}

impl Reconciler {
    /// Runs one scan.
    async fn look(&mut self) -> Result<Next, LookError> {
        let now = UnixMillis::now();
        let depths = self.depths().await.inspect_err(|_| self.quiet = None)?;
        self.quiet = still_quiet(self.quiet, depths.iter().all(|depth| *depth == 0), self.watermark.batches());
        if depths.iter().any(|depth| *depth > self.config.waiting_max) {
            return Ok(Next::Rest);
        }
        let watermark = self.watermark(now);
        let there = self.store.record().partition_days().await?;
        self.days.retain(|day, _| there.contains(day));
        let days = self.next_days(now.day(), &there);
        let mut next = Next::Rest;
        for day in &days {
            next = next.max(self.undecided(*day, watermark.decided).await?);
        }
        let started = Instant::now();
        if started >= self.overdue_at {
            let on_lanes: u32 = depths.iter().sum();
            let mut more = false;
            for day in days {
                more |= self.overdue(day, watermark.attempted, on_lanes).await?;
            }
            if more {
                return Ok(Next::Repair);
            }
            self.overdue_at = Instant::now() + overdue_pause(started.elapsed(), self.config.attempted_after);
        }
        Ok(next)
    }

    async fn depths(&self) -> Result<Vec<u32>, BrokerError> {
        let mut depths = Vec::with_capacity(QUEUES.len());
        for queue in QUEUES {
            depths.push(self.broker.queue_depth(queue.name()).await?.messages);
        }
        Ok(depths)
    }

    /// Returns the horizon of a scan that started at `looked_at`. After a quiet period of [`ReconcileConfig::quiet_for`], both
    /// times of the horizon are `looked_at`.
    fn watermark(&self, looked_at: UnixMillis) -> Horizon {
        if self.quiet.is_some_and(|quiet| quiet.since.elapsed() >= self.config.quiet_for) {
            return Horizon { decided: looked_at, attempted: looked_at };
        }
        Horizon { decided: self.watermark.decided(), attempted: self.watermark.attempted() }
    }

    /// Returns the days to scan: today, yesterday, and one of the older days in turn. Skips days without partitions.
    fn next_days(&mut self, today: Day, there: &[Day]) -> Vec<Day> {
        self.older = self.older % (DAYS - 1) + 1;
        let wanted = [today, today.plus_days(-1), today.plus_days(-1 - self.older)];
        wanted.into_iter().filter(|day| there.contains(day)).collect()
    }

    fn seen(&mut self, day: Day) -> &mut ScanCursor {
        self.days.entry(day).or_insert_with(|| ScanCursor::nothing(day, Instant::now()))
    }

    /// Scans the next slice of a day's new events. After the newest slice, also scans a slice of older events again, if one is
    /// due.
    async fn undecided(&mut self, day: Day, watermark: UnixMillis) -> Result<Next, LookError> {
        let before = watermark.minus(self.config.decided_after);
        let new = self.seen(day).new_slice(before);
        if new.0 >= new.1 {
            return Ok(Next::Rest);
        }
        let found = self.look_at(day, new, before).await?;
        let Some(decided) = found.decided else { return Ok(found.next) };
        self.seen(day).new_looked(new, before, decided);
        if new.1 < before {
            return Ok(found.next.max(Next::Look));
        }
        let Some(again) = self.seen(day).again_slice(day, Instant::now()) else { return Ok(found.next) };
        let found = self.look_at(day, again, before).await?;
        if let Some(decided) = found.decided {
            self.seen(day).again_looked(again, decided);
        }
        Ok(found.next)
    }

    /// Publishes the undecided events of a slice to fan-out.
    async fn look_at(&mut self, day: Day, (from, until): Slice, before: UnixMillis) -> Result<Found, LookError> {
        let (page, within) = (self.config.page, self.seen(day).within());
        let started = Instant::now();
        let look = Look { day, from, until, handed_out: before, within };
        let (events, left_alone) = match self.store.take_undecided(look, page).await? {
            Looked::Busy => return Ok(Found { next: Next::Rest, decided: None }),
            Looked::TooLong => {
                self.seen(day).took(None);
                return Ok(Found { next: Next::Look, decided: None });
            }
            Looked::Undecided { events, left_alone } => (events, left_alone),
        };
        self.seen(day).took(Some(started.elapsed()));
        let count = events.len();
        if count == 0 {
            return Ok(Found { next: Next::Rest, decided: Some(!left_alone) });
        }
        let publish = async |event: UndecidedEvent| -> Result<(), LookError> {
            let (event, data) = accepted_again(event);
            let member = Member::new(&event, data)?;
            self.singles.publish(MessageRoute::Queue(Queue::Fanout.name()), &[member]).await?;
            Ok(())
        };
        try_join_all(events.into_iter().map(publish)).await?;
        metrics::reconciled(Reconciled::Events, count);
        tracing::warn!(events = count, %day, "published undecided events to fan-out again: their messages were lost");
        if count == page as usize {
            return Ok(Found { next: Next::Repair, decided: None });
        }
        Ok(Found { next: Next::Rest, decided: Some(false) })
    }

    /// Finds pending deliveries whose messages were lost, and adds them to the outbox for the outbox relay. Returns whether
    /// there are more.
    async fn overdue(&self, day: Day, watermark: UnixMillis, on_lanes: u32) -> Result<bool, LookError> {
        let after = self.config.attempted_after;
        let before = watermark.minus(after);
        if before < day.start() || !self.store.has_overdue(day, before).await? {
            return Ok(false);
        }
        // A held delivery has no outcome. The ladder and the lanes can contain a certain number of deliveries. Up to that
        // number, overdue deliveries are assumed to be held.
        let held_max = on_lanes as usize * BUNDLE_MEMBERS_MAX + self.on_the_ladder().await;
        let overdue = Overdue { before, at_latest: watermark.minus(after * HELD_AT_LATEST), held_max };
        let page = self.config.page as usize;
        let Some(repaired) = repair_overdue(&self.store, day, overdue, page).await? else { return Ok(false) };
        let Repaired { again, ended } = repaired;
        if again + ended > 0 {
            metrics::reconciled(Reconciled::Deliveries, again);
            metrics::reconciled(Reconciled::Ended, ended);
            tracing::warn!(again, ended, %day, "published or ended pending deliveries whose messages were lost");
        }
        Ok(again + ended == page)
    }

    /// Returns the number of messages on the rungs that may contain held deliveries. The queue of a rung that was never used
    /// does not exist.
    async fn on_the_ladder(&self) -> usize {
        let mut messages = 0;
        for rung in ladder::rungs().iter().take_while(|rung| rung.delay() <= HOLD_MAX) {
            let depth = self.broker.queue_depth(&topology::rung_queue(*rung)).await;
            messages += depth.map_or(0, |depth| depth.messages as usize);
        }
        messages
    }
}

/// Returns the pause after a scan for overdue deliveries that took `took`. The pause is at most `attempted_after`, because one
/// slow scan on a busy machine does not mean that the next scan is slow.
fn overdue_pause(took: Duration, attempted_after: Duration) -> Duration {
    (took * OVERDUE_SHARE).min(attempted_after)
}

/// Returns the quiet period after a scan. The period continues if the queues are empty and nothing was written since the
/// previous scan.
fn still_quiet(before: Option<Quiet>, empty: bool, batches: u64) -> Option<Quiet> {
    match before {
        _ if !empty => None,
        Some(quiet) if quiet.batches == batches => Some(quiet),
        _ => Some(Quiet { since: Instant::now(), batches }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_for_overdue_deliveries_take_a_hundredth_of_the_time() {
        let (took, after) = (Duration::from_millis(300), Duration::from_secs(900));
        assert_eq!((overdue_pause(took, after), overdue_pause(took * 100, after)), (took * 100, after));
    }

    #[test]
    fn quiet_ends_with_a_queued_message_and_restarts_with_a_written_batch() {
        let quiet = still_quiet(None, true, 7);
        let since = |quiet: Option<Quiet>| quiet.map(|quiet| quiet.since);
        assert!(quiet.is_some());
        assert_eq!(since(still_quiet(quiet, true, 7)), since(quiet));
        assert!(since(still_quiet(quiet, true, 8)) > since(quiet));
        assert!(still_quiet(quiet, false, 7).is_none());
    }
}
