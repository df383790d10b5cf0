//! Decides which events of a day are scanned next: slices of new events, and once per hour, slices of all older events again.
//! Does no IO.

use std::time::{Duration, Instant};

use postrider_model::time::{Day, UnixMillis};

/// Target duration of one scan. It is short enough that other queries are not delayed.
const SCAN: Duration = Duration::from_millis(100);
/// Timeout of a scan.
const SCAN_MAX: Duration = Duration::from_millis(1_000);
/// Timeout of a scan of a slice with the minimum length. Such a scan must succeed on a busy database and on days without an
/// index by time.
const SMALLEST_SCAN_MAX: Duration = Duration::from_secs(60);
/// Minimum length of a slice, by the acceptance times of its events.
const SLICE_MIN: Duration = Duration::from_secs(1);
/// Maximum length of a slice, and the length of the first slice of a day.
const SLICE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Factor by which the next slice is shorter after a scan that timed out.
const CANCELLED_FACTOR: u32 = 16;
/// Interval at which all events of a day are scanned again, to find events that were recorded late.
const AGAIN_EVERY: Duration = Duration::from_secs(3_600);
/// Length by which the next slice of new events overlaps with the events that were already scanned.
const OVERLAP: Duration = Duration::from_secs(10);

/// Events that were accepted from the first time (inclusive) to the second time (exclusive).
pub(super) type Slice = (UnixMillis, UnixMillis);

/// The events of a day that are known to be decided. Decisions are final, so a second scan is only needed for events that are
/// recorded late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanCursor {
    /// The start of the next slice of new events.
    new_from: UnixMillis,
    /// The start of the earliest slice with undecided events. After all new events are scanned, scanning continues from this
    /// time.
    doubtful_from: Option<UnixMillis>,
    /// The start of the next slice to scan again.
    again_from: UnixMillis,
    /// The time at which the current pass over the older events started.
    again_started: Instant,
    /// The length of the next slice.
    covers: Duration,
}

impl ScanCursor {
    pub(super) fn nothing(day: Day, now: Instant) -> Self {
        let begin = day.start();
        Self { new_from: begin, doubtful_from: None, again_from: begin, again_started: now, covers: SLICE_MAX }
    }

    /// Returns the next slice of new events. It contains only events that were accepted before `before` (exclusive).
    pub(super) fn new_slice(&self, before: UnixMillis) -> Slice {
        (self.new_from, self.new_from.plus(self.covers).min(before))
    }

    /// Records that a slice of new events was scanned. `decided` is `true` if all of its events are decided.
    pub(super) fn new_looked(&mut self, (from, until): Slice, before: UnixMillis, decided: bool) {
        self.doubt(from, decided);
        if until < before {
            self.new_from = until;
            return;
        }
        let overlapping = before.minus(OVERLAP).max(self.new_from);
        self.new_from = self.doubtful_from.take().map_or(overlapping, |doubtful| doubtful.min(overlapping));
    }

    /// Returns the next slice to scan again, or `None` if no slice is due.
    pub(super) fn again_slice(&mut self, day: Day, now: Instant) -> Option<Slice> {
        if self.again_from >= self.new_from {
            if now.duration_since(self.again_started) < AGAIN_EVERY {
                return None;
            }
            (self.again_from, self.again_started) = (day.start(), now);
        }
        Some((self.again_from, self.again_from.plus(self.covers).min(self.new_from)))
    }

    /// Records that a slice was scanned again. `decided` is `true` if all of its events are decided.
    pub(super) fn again_looked(&mut self, (from, until): Slice, decided: bool) {
        self.doubt(from, decided);
        self.again_from = until;
    }

    fn doubt(&mut self, from: UnixMillis, decided: bool) {
        if !decided {
            self.doubtful_from = Some(self.doubtful_from.map_or(from, |doubtful| doubtful.min(from)));
        }
    }

    /// Returns the timeout of the next scan.
    pub(super) fn within(&self) -> Duration {
        if self.covers > SLICE_MIN { SCAN_MAX } else { SMALLEST_SCAN_MAX }
    }

    /// Adapts the length of the next slice to the duration of the last scan. `None` means that the last scan timed out.
    pub(super) fn took(&mut self, took: Option<Duration>) {
        let covers = match took {
            None => self.covers / CANCELLED_FACTOR,
            Some(took) if took > SCAN => self.covers.mul_f64(SCAN.as_secs_f64() / took.as_secs_f64()),
            Some(took) if took < SCAN / 4 => self.covers * 2,
            Some(_) => self.covers,
        };
        self.covers = covers.clamp(SLICE_MIN, SLICE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn day() -> Day {
        UnixMillis(1_800_000_000_000).day()
    }

    /// Returns the time `minutes` after the start of the day.
    fn at(minutes: u32) -> UnixMillis {
        day().start().plus(MINUTE * minutes)
    }

    #[test]
    fn new_events_are_scanned_once_with_an_overlap() {
        let mut seen = ScanCursor::nothing(day(), Instant::now());
        assert_eq!(seen.new_slice(at(30)), (day().start(), at(30)));
        seen.new_looked((day().start(), at(30)), at(30), true);
        assert_eq!(seen.new_slice(at(31)), (at(30).minus(OVERLAP), at(31)));
        seen.new_looked((at(30).minus(OVERLAP), at(31)), at(31), true);
        assert_eq!(seen.new_slice(at(32)), (at(31).minus(OVERLAP), at(32)));
    }

    #[test]
    fn an_undecided_slice_does_not_hold_up_later_slices() {
        let mut seen = ScanCursor { covers: MINUTE * 10, ..ScanCursor::nothing(day(), Instant::now()) };
        let before = at(25);
        let mut slices = Vec::new();
        for decided in [true, false, true] {
            let slice = seen.new_slice(before);
            slices.push(slice);
            seen.new_looked(slice, before, decided);
        }
        assert_eq!(slices, [(at(0), at(10)), (at(10), at(20)), (at(20), at(25))]);
        assert_eq!(seen.new_slice(at(26)), (at(10), at(20)), "the undecided slice is scanned again after the last");
    }

    #[test]
    fn decided_events_are_scanned_again_once_an_hour() {
        let started = Instant::now();
        let later = |minutes: u32| started + MINUTE * minutes;
        let mut seen = ScanCursor { new_from: at(30), ..ScanCursor::nothing(day(), started) };
        assert_eq!(seen.again_slice(day(), started), Some((at(0), at(30))));
        seen.again_looked((at(0), at(30)), true);
        assert_eq!(seen.again_slice(day(), later(59)), None);
        seen.covers = MINUTE * 20;
        assert_eq!(seen.again_slice(day(), later(60)), Some((at(0), at(20))));
        seen.again_looked((at(0), at(20)), true);
        assert_eq!(seen.again_slice(day(), later(61)), Some((at(20), at(30))));
    }

    #[test]
    fn undecided_events_of_the_second_pass_are_scanned_with_new_ones() {
        let mut seen = ScanCursor { new_from: at(60), ..ScanCursor::nothing(day(), Instant::now()) };
        seen.again_looked((at(10), at(20)), false);
        let slice = seen.new_slice(at(61));
        assert_eq!(slice, (at(60), at(61)));
        seen.new_looked(slice, at(61), true);
        assert_eq!(seen.new_slice(at(62)), (at(10), at(62)));
    }

    #[test]
    fn a_slice_shrinks_with_the_time_it_takes_and_grows_again() {
        let mut seen = ScanCursor { covers: MINUTE * 16, ..ScanCursor::nothing(day(), Instant::now()) };
        seen.took(None);
        assert_eq!((seen.covers, seen.within()), (MINUTE, SCAN_MAX));
        seen.took(Some(SCAN * 2));
        assert_eq!(seen.covers, MINUTE / 2);
        seen.took(Some(SCAN / 2));
        assert_eq!(seen.covers, MINUTE / 2);
        seen.took(Some(SCAN / 5));
        assert_eq!(seen.covers, MINUTE);
        seen.took(Some(SCAN * 1_000));
        assert_eq!(seen.covers, SLICE_MIN);
        assert!(seen.within() > SCAN_MAX, "the smallest slice must succeed");
    }
}
