//! The delay between two tries of the same action. The delay doubles up to a maximum and has jitter. The number of tries is not
//! limited.
//!
//! Retries of deliveries do not use this crate: their delays are in the tenant's retry schedule (`postrider_model::retry`).

use std::time::Duration;

use rand::RngExt;

/// The delays of one series of tries. Each delay is a random 50% to 100% of its full value, so that processes that failed
/// together do not retry together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    /// Creates a series whose full delays are `first`, 2 × `first`, 4 × `first` and so on, at most `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, tries: 0 }
    }

    /// Returns the delay before the next try.
    pub fn next_delay(&mut self) -> Duration {
        let full = self.first.saturating_mul(1 << self.tries.min(16)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts again with the first delay, after a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Number of delays since the last success.
    pub fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_start_over_after_a_reset() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, longest);
        let mut full = first;
        for _ in 0..100 {
            let delay = backoff.next_delay();
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
            full = (full * 2).min(longest);
        }
        backoff.reset();
        assert!(backoff.tries() == 0 && backoff.next_delay() <= first);
    }
}
