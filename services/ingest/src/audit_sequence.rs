//! The sequence numbers of the events of this process, and the reports about these numbers. With them, an audit can distinguish
//! a lost event from an event that was refused with 503.
//!
//! An event gets its number before it is published. Afterwards the number is settled: confirmed, or given up. The reports are
//! in the same queue as the events, behind them. If a process is killed, its numbers without a report count as unconfirmed, not
//! as gaps.

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

/// Interval between reports.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Maximum time that the last report waits for the broker.
const LAST_REPORT_MAX: Duration = Duration::from_secs(2);

/// Assigns sequence numbers.
pub(crate) struct AuditSequence {
    instance: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Numbers that are assigned and not settled yet.
    open: BTreeSet<u64>,
    /// Numbers that were given up and are not reported yet.
    given_up: Vec<u64>,
    /// The value of `settled_below` in the last report.
    reported_below: u64,
}

/// The sequence number of an event that is being published. If it is dropped without [confirm](SequenceNumber::confirm), the
/// number is given up.
pub(crate) struct SequenceNumber<'a> {
    numbers: &'a AuditSequence,
    pub(crate) number: u64,
    confirmed: bool,
}

impl AuditSequence {
    pub(crate) fn new() -> Self {
        // The number has 63 bits, because the database stores it in a signed column.
        Self { instance: rand::random::<u64>() >> 1, state: Mutex::default() }
    }

    /// Returns the random number of this instance.
    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    /// Assigns the next number.
    pub(crate) fn take(&self) -> SequenceNumber<'_> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        SequenceNumber { numbers: self, number, confirmed: false }
    }

    /// Returns the changes since the last report, or `None` if there are none.
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

    /// Publishes a report every [`REPORT_EVERY`] until `stop`, then a last report.
    pub(crate) async fn report_regularly(self: Arc<Self>, to: MessagePublisher, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.publish(&to).await;
        }
        let _ = tokio::time::timeout(LAST_REPORT_MAX, self.publish(&to)).await;
    }

    /// Publishes a report, with retries. Without the report, numbers that were given up would look like gaps.
    async fn publish(&self, to: &MessagePublisher) {
        let Some(report) = self.report(UnixMillis::now()) else { return };
        // The report contains only numbers, so it can always be serialized.
        let Ok(member) = Member::new(&report, Bytes::new()) else { return };
        if let Err(error) = to.publish(MessageRoute::Queue(Queue::EventLog.name()), &[member]).await {
            tracing::debug!(%error, "cannot report the last sequence numbers");
        }
    }
}

impl SequenceNumber<'_> {
    /// Records that the broker has confirmed the event.
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
