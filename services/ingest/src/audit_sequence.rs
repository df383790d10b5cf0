//! The sequence numbers of this process's events, and the reports about them. They let an audit tell a lost event from an event
//! that was answered with 503.
//!
//! A number is taken before the publish. After the publish it is settled: confirmed, or given up. Reports follow their events in
//! the same queue. Numbers that a killed process had not reported count as unconfirmed, not as gaps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use postrider_broker::{MessagePublisher, MessageRoute, Queue};
use postrider_model::time::UnixMillis;
use postrider_wire::bundle::Member;
use postrider_wire::messages::NumbersReport;
use tokio_util::sync::CancellationToken;

/// How often changes are reported.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How long the last report waits for the broker.
const LAST_REPORT_MAX: Duration = Duration::from_secs(2);

/// Gives out sequence numbers.
pub(crate) struct AuditSequence {
    instance: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Numbers that are taken and not settled.
    open: BTreeSet<u64>,
    /// Numbers that are given up and not reported.
    given_up: Vec<u64>,
    /// `settled_below` of the last report.
    reported_below: u64,
}

/// The number of an event that is being published. It is given up when dropped without [confirm](SequenceNumber::confirm).
pub(crate) struct SequenceNumber<'a> {
    numbers: &'a AuditSequence,
    pub(crate) number: u64,
    confirmed: bool,
}

impl AuditSequence {
    pub(crate) fn new() -> Self {
        // 63 bits, because the database keeps it in a signed column.
        Self { instance: rand::random::<u64>() >> 1, state: Mutex::default() }
    }

    /// A random number of this process, new at every start.
    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    /// Takes the next number.
    pub(crate) fn take(&self) -> SequenceNumber<'_> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        SequenceNumber { numbers: self, number, confirmed: false }
    }

    /// The changes since the last report; `None` if there are none.
    fn report(&self, now: UnixMillis) -> Option<NumbersReport> {
        let mut state = self.state.lock();
        let settled_below = state.open.first().copied().unwrap_or(state.next);
        if settled_below == state.reported_below && state.given_up.is_empty() {
            return None;
        }
        state.reported_below = settled_below;
        let given_up = std::mem::take(&mut state.given_up);
        Some(NumbersReport { instance: self.instance, settled_below, given_up, reported_at: now })
    }

    /// Reports every [`REPORT_EVERY`] until `stop`, then once more.
    pub(crate) async fn report_regularly(self: Arc<Self>, to: MessagePublisher, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.publish(&to).await;
        }
        let _ = tokio::time::timeout(LAST_REPORT_MAX, self.publish(&to)).await;
    }

    /// Publishes a report, with retries: without it, numbers that were given up would look like gaps.
    async fn publish(&self, to: &MessagePublisher) {
        let Some(report) = self.report(UnixMillis::now()) else { return };
        // Numbers can always be written as JSON.
        let Ok(member) = Member::new(&report, Bytes::new()) else { return };
        if let Err(error) = to.publish(MessageRoute::Queue(Queue::EventLog.name()), &[member]).await {
            tracing::debug!(%error, "cannot report the last sequence numbers");
        }
    }
}

impl SequenceNumber<'_> {
    /// Notes that the broker has confirmed the event.
    pub(crate) fn confirm(mut self) {
        self.confirmed = true;
    }
}

impl Drop for SequenceNumber<'_> {
    fn drop(&mut self) {
        let mut state = self.numbers.state.lock();
        state.open.remove(&self.number);
        if !self.confirmed {
            state.given_up.push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(numbers: &AuditSequence) -> Option<(u64, Vec<u64>)> {
        numbers.report(UnixMillis(0)).map(|report| (report.settled_below, report.given_up))
    }

    #[test]
    fn a_report_ends_before_the_first_open_number() {
        let numbers = AuditSequence::new();
        assert_eq!(report(&numbers), None);
        let (first, second, third) = (numbers.take(), numbers.take(), numbers.take());
        second.confirm();
        drop(third);
        assert_eq!(report(&numbers), Some((0, vec![2])));
        assert_eq!(report(&numbers), None, "nothing is reported twice");
        first.confirm();
        assert_eq!(report(&numbers), Some((3, vec![])));
    }
}
