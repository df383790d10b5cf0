//! Which of a day's events to look at next: bounded slices of what is new, and now and then of the others again. Pure.

use std::time::{Duration, Instant};

use postrider_model::time::{Day, UnixMillis};

/// A look at events shall take so long: short enough not to be noticed by anything that waits for a processor.
const LOOK: Duration = Duration::from_millis(100);
/// A look at events is broken off then.
const LOOK_MAX: Duration = Duration::from_millis(1_000);
/// The smallest slice is read in the end, however busy the database is: so are days without an index by time.
const SMALLEST_LOOK_MAX: Duration = Duration::from_secs(60);
/// What one look covers at least, by when the events were accepted.
const SLICE_MIN: Duration = Duration::from_secs(1);
/// The same at most: a whole day, with which it begins.
const SLICE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// How much less the next look covers after one that was broken off.
const BROKEN_OFF: u32 = 16;
/// How often all events of a day are looked at, and not only those that came since the last look: for what was on record late.
const AGAIN_EVERY: Duration = Duration::from_secs(3_600);
/// How far before the end of the last look the next one begins.
const OVERLAP: Duration = Duration::from_secs(10);

/// Events accepted from one moment on and before another.
pub(super) type Slice = (UnixMillis, UnixMillis);

/// How far a day's events are known to be decided. A decision does not go away, so they need no second look, unless one was recorded late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScanCursor {
    /// Where the next look at what is new begins.
    new_from: UnixMillis,
    /// Since when there are events that were given to fan-out and are not decided yet: where looking begins anew once it has come to the end.
    doubtful_from: Option<UnixMillis>,
    /// Where the pass over what is not new goes on.
    again_from: UnixMillis,
    /// When that pass began.
    again_begun: Instant,
    /// What the next look covers.
    covers: Duration,
}

impl ScanCursor {
    pub(super) fn nothing(day: Day, now: Instant) -> Self {
        let begin = day.start();
        Self { new_from: begin, doubtful_from: None, again_from: begin, again_begun: now, covers: SLICE_MAX }
    }

    /// What to look at of what is new.
    pub(super) fn new_slice(&self, before: UnixMillis) -> Slice {
        (self.new_from, self.new_from.plus(self.covers).min(before))
    }

    /// A slice of what is new was looked at; `decided` when nothing was found in it.
    pub(super) fn new_looked(&mut self, (from, until): Slice, before: UnixMillis, decided: bool) {
        self.doubt(from, decided);
        if until < before {
            self.new_from = until;
            return;
        }
        let overlapping = minus(before, OVERLAP).max(self.new_from);
        self.new_from = self.doubtful_from.take().map_or(overlapping, |doubtful| doubtful.min(overlapping));
    }

    /// What to look at again, if it is time.
    pub(super) fn again_slice(&mut self, day: Day, now: Instant) -> Option<Slice> {
        if self.again_from >= self.new_from {
            if now.duration_since(self.again_begun) < AGAIN_EVERY {
                return None;
            }
            (self.again_from, self.again_begun) = (day.start(), now);
        }
        Some((self.again_from, self.again_from.plus(self.covers).min(self.new_from)))
    }

    /// A slice of what is not new was looked at; `decided` when nothing was found in it.
    pub(super) fn again_looked(&mut self, (from, until): Slice, decided: bool) {
        self.doubt(from, decided);
        self.again_from = until;
    }

    fn doubt(&mut self, from: UnixMillis, decided: bool) {
        if !decided {
            self.doubtful_from = Some(self.doubtful_from.map_or(from, |doubtful| doubtful.min(from)));
        }
    }

    /// How long the next look may take.
    pub(super) fn within(&self) -> Duration {
        if self.covers > SLICE_MIN { LOOK_MAX } else { SMALLEST_LOOK_MAX }
    }

    /// How long a look took decides what the next one covers; `None`: it was broken off.
    pub(super) fn took(&mut self, took: Option<Duration>) {
        let covers = match took {
            None => self.covers / BROKEN_OFF,
            Some(took) if took > LOOK => self.covers.mul_f64(LOOK.as_secs_f64() / took.as_secs_f64()),
            Some(took) if took < LOOK / 4 => self.covers * 2,
            Some(_) => self.covers,
        };
        self.covers = covers.clamp(SLICE_MIN, SLICE_MAX);
    }
}

/// So long before.
pub(super) fn minus(at: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(at.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn day() -> Day {
        UnixMillis(1_800_000_000_000).day()
    }

    /// A time of the day, in minutes.
    fn at(minutes: u32) -> UnixMillis {
        day().start().plus(MINUTE * minutes)
    }

    #[test]
    fn what_is_new_is_looked_at_once_but_for_an_overlap() {
        let mut seen = ScanCursor::nothing(day(), Instant::now());
        assert_eq!(seen.new_slice(at(30)), (day().start(), at(30)));
        seen.new_looked((day().start(), at(30)), at(30), true);
        assert_eq!(seen.new_slice(at(31)), (minus(at(30), OVERLAP), at(31)));
        seen.new_looked((minus(at(30), OVERLAP), at(31)), at(31), true);
        assert_eq!(seen.new_slice(at(32)), (minus(at(31), OVERLAP), at(32)));
    }

    #[test]
    fn a_long_stretch_is_looked_at_in_slices_and_an_undecided_one_does_not_hold_up_those_after_it() {
        let mut seen = ScanCursor { covers: MINUTE * 10, ..ScanCursor::nothing(day(), Instant::now()) };
        let before = at(25);
        let mut slices = Vec::new();
        for decided in [true, false, true] {
            let slice = seen.new_slice(before);
            slices.push(slice);
            seen.new_looked(slice, before, decided);
        }
        assert_eq!(slices, [(at(0), at(10)), (at(10), at(20)), (at(20), at(25))]);
        assert_eq!(seen.new_slice(at(26)), (at(10), at(20)), "what was not decided is looked at again after the last");
    }

    #[test]
    fn what_was_found_decided_is_looked_at_again_once_an_hour_only() {
        let begun = Instant::now();
        let later = |minutes: u32| begun + MINUTE * minutes;
        let mut seen = ScanCursor { new_from: at(30), ..ScanCursor::nothing(day(), begun) };
        assert_eq!(seen.again_slice(day(), begun), Some((at(0), at(30))));
        seen.again_looked((at(0), at(30)), true);
        assert_eq!(seen.again_slice(day(), later(59)), None);
        seen.covers = MINUTE * 20;
        assert_eq!(seen.again_slice(day(), later(60)), Some((at(0), at(20))));
        seen.again_looked((at(0), at(20)), true);
        assert_eq!(seen.again_slice(day(), later(61)), Some((at(20), at(30))));
    }

    #[test]
    fn what_is_found_undecided_by_the_second_pass_is_looked_at_again_with_what_is_new() {
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
        assert_eq!((seen.covers, seen.within()), (MINUTE, LOOK_MAX));
        seen.took(Some(LOOK * 2));
        assert_eq!(seen.covers, MINUTE / 2);
        seen.took(Some(LOOK / 2));
        assert_eq!(seen.covers, MINUTE / 2);
        seen.took(Some(LOOK / 5));
        assert_eq!(seen.covers, MINUTE);
        seen.took(Some(LOOK * 1_000));
        assert_eq!(seen.covers, SLICE_MIN);
        assert!(seen.within() > LOOK_MAX, "it has to end some time");
    }
}
