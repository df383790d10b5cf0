//! Waiting between tries: doubling, capped, jittered, without an end.

use std::time::Duration;

use rand::RngExt;

const FIRST: Duration = Duration::from_millis(50);
/// Trying is cheap, and what was due meanwhile waits: short enough to be back soon after the broker is.
const LAST: Duration = Duration::from_secs(2);

/// The next waiting time of a series of tries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next delay: half to all of 50 ms, 100 ms, … up to 2 s, so that many processes do not come back as one.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.tries.min(16)).min(LAST);
        self.tries = self.tries.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts over after a success.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// How often it was asked since the last success.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stay_capped_for_ever() {
        let mut backoff = Backoff::default();
        assert!(backoff.next_delay() <= FIRST);
        for _ in 0..100 {
            assert!(backoff.next_delay() <= LAST);
        }
        assert!(backoff.next_delay() >= LAST / 2);
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
