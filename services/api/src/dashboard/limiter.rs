//! How often a wrong key may be tried: keys cannot be guessed, but trying must not be free either.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Wrong keys in a window, from everybody together: behind a proxy everybody has one address.
const FAILURES_MAX: u32 = 30;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts wrong keys in windows of a minute.
#[derive(Default)]
pub(super) struct Limiter(Mutex<Option<Window>>);

struct Window {
    began: Instant,
    failures: u32,
}

impl Limiter {
    /// How long to wait before the next try; `None`: go ahead.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let window = self.0.lock();
        let window = window.as_ref().filter(|window| window.failures >= FAILURES_MAX)?;
        WINDOW.checked_sub(now.saturating_duration_since(window.began)).filter(|left| !left.is_zero())
    }

    /// Counts a wrong key.
    pub(super) fn failed(&self, now: Instant) {
        let mut window = self.0.lock();
        match window.as_mut() {
            Some(window) if now.saturating_duration_since(window.began) < WINDOW => window.failures += 1,
            _ => *window = Some(Window { began: now, failures: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_so_many_failures_and_the_next_one_starts_afresh() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(limiter.wait(now), None);
            limiter.failed(now);
        }
        let late = now + Duration::from_secs(45);
        assert_eq!(limiter.wait(late), Some(Duration::from_secs(15)));
        assert_eq!(limiter.wait(now + WINDOW), None);
        limiter.failed(now + WINDOW);
        assert_eq!(limiter.wait(now + WINDOW), None);
    }
}
