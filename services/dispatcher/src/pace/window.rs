//! Limits the number of POSTs in flight to one endpoint. The limit starts low, grows with each success, and halves after a
//! timeout.

use std::time::{Duration, Instant};

/// The limit for a new endpoint.
const START: f64 = 2.0;
/// Maximum of the limit. It is also the maximum number of deliveries in flight that an endpoint without answers can occupy.
pub(crate) const CAP: u32 = 128;
/// Number of POSTs to one endpoint that suffice to keep the processors busy. While this process is lagging, no limit grows
/// beyond it.
const ENOUGH: f64 = 16.0;
/// Scheduler lag from which this process counts as the bottleneck. Further POSTs would then only wait in this process.
pub(crate) const LAGGING: Duration = Duration::from_millis(4);
/// Scheduler lag from which this process counts as overloaded. Fewer POSTs would then have the same throughput.
pub(crate) const OVERLOADED: Duration = Duration::from_millis(15);
/// Decrease of the limit for each answer while this process is overloaded.
const SHRINK: f64 = 0.05;
/// A POST is *old* after it has been in flight for this time (up to a quarter more).
const OLD_AFTER: Duration = Duration::from_secs(1);
/// Ages are counted in steps of this duration, a quarter of [`OLD_AFTER`].
const STEP: Duration = Duration::from_millis(250);
/// Number of steps whose POSTs are young: the current step, and the four steps before it.
const YOUNG_STEPS: usize = 5;

/// One POST in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InFlight {
    started_at: Instant,
    step: u64,
}

/// The POSTs in flight to one endpoint, and their limit.
#[derive(Debug)]
pub(crate) struct Window {
    limit: f64,
    /// Below this threshold, the limit doubles per round trip. Above it, the limit grows by one per round trip.
    threshold: f64,
    in_flight: u32,
    last_cut: Option<Instant>,
    /// The time at which a POST last started or ended.
    last_change: Instant,
    epoch: Instant,
    /// For each young step, the number of POSTs in flight that started in it.
    young: [u32; YOUNG_STEPS],
    step: u64,
}

impl Window {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            limit: START,
            threshold: f64::from(CAP),
            in_flight: 0,
            last_cut: None,
            last_change: now,
            epoch: now,
            young: [0; YOUNG_STEPS],
            step: 0,
        }
    }

    /// Returns the maximum number of POSTs in flight, at least 1.
    pub(crate) fn limit(&self) -> u32 {
        // The limit is between 1 and `CAP`, so the conversion cannot overflow.
        self.limit as u32
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Returns the time since a POST last started or ended.
    pub(crate) fn stalled_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_change)
    }

    /// Returns the number of old POSTs, which have been in flight for more than about a second.
    pub(crate) fn old(&mut self, now: Instant) -> u32 {
        self.roll(now);
        self.in_flight.saturating_sub(self.young.iter().sum())
    }

    /// Returns the number of round trips until the waiter at `position` (from 1) is admitted, if the current limit is `limit`.
    pub(crate) fn rounds(&self, position: u32, limit: u32) -> f64 {
        let (position, now) = (f64::from(position), f64::from(limit.max(1)));
        let ceiling = self.threshold.min(f64::from(CAP)).max(now);
        if limit < self.limit() || ceiling <= now {
            return position / now;
        }
        let doublings_to_ceiling = (ceiling / now).log2();
        let doublings = (1.0 + position / now).log2();
        if doublings <= doublings_to_ceiling {
            doublings
        } else {
            doublings_to_ceiling + (position - (ceiling - now)) / ceiling
        }
    }

    pub(crate) fn start(&mut self, now: Instant) -> InFlight {
        self.roll(now);
        self.in_flight += 1;
        self.last_change = now;
        self.young[self.step as usize % YOUNG_STEPS] += 1;
        InFlight { started_at: now, step: self.step }
    }

    /// Removes a POST that ended, whether or not it succeeded.
    pub(crate) fn end(&mut self, now: Instant, post: InFlight) {
        self.roll(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.last_change = now;
        if post.step + (YOUNG_STEPS as u64) > self.step {
            let young = &mut self.young[post.step as usize % YOUNG_STEPS];
            *young = young.saturating_sub(1);
        }
    }

    /// Raises the limit after an answer, or lowers it if the scheduler lag `lag` is high. Call this function before
    /// [`Window::end`].
    ///
    /// The limit grows only while at least half of it is used: one delivery per minute does not prove that the endpoint can
    /// process a hundred deliveries at the same time.
    pub(crate) fn grow(&mut self, lag: Duration) {
        if lag >= OVERLOADED && self.limit > ENOUGH {
            self.limit = (self.limit - SHRINK).max(ENOUGH);
            return;
        }
        if f64::from(self.in_flight) * 2.0 < self.limit || (lag >= LAGGING && self.limit >= ENOUGH) {
            return;
        }
        let by = if self.limit < self.threshold { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + by).min(f64::from(CAP));
    }

    /// Halves the limit after a POST without an answer. A POST that started before the last cut does not cut the limit again.
    pub(crate) fn cut(&mut self, now: Instant, post: InFlight) {
        if self.last_cut.is_some_and(|cut| post.started_at < cut) {
            return;
        }
        self.last_cut = Some(now);
        self.limit = (self.limit / 2.0).max(1.0);
        self.threshold = self.limit.max(START);
    }

    fn roll(&mut self, now: Instant) {
        let step = (now.saturating_duration_since(self.epoch).as_millis() / STEP.as_millis()) as u64;
        if step <= self.step {
            return;
        }
        let passed = (step - self.step).min(YOUNG_STEPS as u64);
        for n in 0..passed {
            self.young[(step - n) as usize % YOUNG_STEPS] = 0;
        }
        self.step = step;
    }
}

const _: () = assert!(STEP.as_millis() * (YOUNG_STEPS as u128 - 1) == OLD_AFTER.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::ZERO;

    fn round_trip(window: &mut Window, now: Instant) {
        let batch: Vec<InFlight> = (0..window.limit()).map(|_| window.start(now)).collect();
        for started in batch {
            window.grow(CALM);
            window.end(now, started);
        }
    }

    #[test]
    fn the_limit_starts_at_two_doubles_per_round_trip_and_is_capped() {
        let now = Instant::now();
        let mut window = Window::new(now);
        let mut limits = vec![window.limit()];
        for _ in 0..10 {
            round_trip(&mut window, now);
            limits.push(window.limit());
        }
        // The limit does not quite double, because less than half of the window is used when the last answers of a round trip
        // arrive.
        assert_eq!(limits[0], 2);
        assert!(limits[3] >= 6, "{limits:?}");
        assert!(limits.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= 2 * pair[0]), "{limits:?}");
        for _ in 0..20 {
            round_trip(&mut window, now);
        }
        assert!(window.limit() <= CAP);
    }

    #[test]
    fn a_window_kept_full_reaches_its_cap_within_few_round_trips() {
        let now = Instant::now();
        let mut window = Window::new(now);
        let mut out: Vec<InFlight> = (0..window.limit()).map(|_| window.start(now)).collect();
        for _ in 0..CAP {
            let started = out.remove(0);
            window.grow(CALM);
            window.end(now, started);
            while window.in_flight() < window.limit() {
                out.push(window.start(now));
            }
        }
        assert_eq!(window.limit(), CAP);
    }

    #[test]
    fn while_this_process_lags_windows_stop_growing_and_then_shrink() {
        let now = Instant::now();
        let mut window = Window::new(now);
        let grow = |window: &mut Window, lag, times| {
            for _ in 0..times {
                window.in_flight = window.limit();
                window.grow(lag);
            }
            window.limit()
        };
        assert_eq!(grow(&mut window, LAGGING, 100), 16);
        assert_eq!(grow(&mut window, CALM, 48), 64);
        assert_eq!(grow(&mut window, LAGGING, 100), 64);
        assert!(grow(&mut window, OVERLOADED, 100) < 64);
        assert_eq!(grow(&mut window, OVERLOADED, 10_000), 16);
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let now = Instant::now();
        let mut window = Window::new(now);
        for _ in 0..100 {
            let started = window.start(now);
            window.grow(CALM);
            window.end(now, started);
        }
        assert_eq!(window.limit(), 3);
    }

    #[test]
    fn timeouts_of_one_round_halve_once_and_never_below_one() {
        let start = Instant::now();
        let mut window = Window::new(start);
        window.limit = 64.0;
        let batch: Vec<InFlight> = (0..64).map(|_| window.start(start)).collect();
        let later = start + Duration::from_secs(15);
        for started in batch {
            window.cut(later, started);
            window.end(later, started);
        }
        assert_eq!(window.limit(), 32);
        for n in 0..10 {
            let at = later + Duration::from_secs(n);
            let started = window.start(at);
            window.cut(at, started);
            window.end(at, started);
        }
        assert_eq!(window.limit(), 1);
        assert_eq!(window.in_flight(), 0);
    }

    #[test]
    fn after_a_cut_growth_is_slow_above_the_threshold() {
        let now = Instant::now();
        let mut window = Window::new(now);
        window.limit = 64.0;
        let started = window.start(now);
        window.cut(now, started);
        window.in_flight = 32;
        for _ in 0..32 {
            window.grow(CALM);
        }
        assert!((32..=33).contains(&window.limit()), "{}", window.limit());
    }

    #[test]
    fn posts_are_old_after_a_second_and_leave_the_count_when_they_end() {
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut window = Window::new(start);
        let first = window.start(ms(100));
        let second = window.start(ms(600));
        assert_eq!(window.old(ms(1_000)), 0);
        assert_eq!(window.old(ms(1_350)), 1);
        assert_eq!(window.old(ms(1_900)), 2);
        window.end(ms(1_950), first);
        assert_eq!(window.old(ms(1_950)), 1);
        let third = window.start(ms(2_000));
        assert_eq!(window.old(ms(2_000)), 1);
        window.end(ms(2_010), third);
        window.end(ms(2_020), second);
        assert_eq!((window.old(ms(9_000)), window.in_flight()), (0, 0));
    }

    #[test]
    fn a_growing_window_needs_fewer_round_trips_than_a_settled_one() {
        let now = Instant::now();
        let mut window = Window::new(now);
        assert!((window.rounds(6, 2) - 2.0).abs() < 1e-9);
        assert!(window.rounds(2_000, 2) < 25.0);
        window.threshold = 2.0;
        assert!((window.rounds(6, 2) - 3.0).abs() < 1e-9);
        window.limit = 64.0;
        window.threshold = f64::from(CAP);
        // While the breaker is open, the limit of 1 does not grow.
        assert!((window.rounds(5, 1) - 5.0).abs() < 1e-9);
    }
}
