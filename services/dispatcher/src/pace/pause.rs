//! A pause that an endpoint requested with `429 Too Many Requests` and `Retry-After`. The pause applies to every delivery to
//! the endpoint, because RFC 6585 section 4 is about the requests of a client, not about a single request.

use std::time::{Duration, Instant};

/// The pause of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    /// The endpoint's configuration version that received the 429. A newer version ends the pause, because its URL may lead to
    /// another server.
    version: i64,
}

impl Pause {
    /// Pauses this version and older versions until `wait` after `now`. Does not replace a pause in force of a newer version,
    /// or a pause of the same version that ends later.
    pub(super) fn begin(&mut self, now: Instant, wait: Duration, version: i64) {
        let until = now + wait;
        let ends_later = version == self.version && self.until.is_some_and(|before| before < until);
        if version > self.version || ends_later || !self.is_on(now) {
            *self = Self { until: Some(until), version };
        }
    }

    /// Returns the remaining pause for an attempt with this version.
    pub(super) fn left(&self, now: Instant, version: i64) -> Option<Duration> {
        let until = self.until.filter(|_| version <= self.version)?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether the version that received the 429 is paused now.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.left(now, self.version).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_longest_pause_counts_until_it_ends_or_the_endpoint_is_edited() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        assert_eq!(pause.left(now, 7), None);
        pause.begin(now, SECOND * 60, 7);
        pause.begin(now + SECOND, SECOND * 5, 7);
        assert_eq!(pause.left(now + SECOND * 10, 7), Some(SECOND * 50));
        assert_eq!(pause.left(now + SECOND * 60, 7), None);
        assert_eq!(pause.left(now + SECOND * 10, 8), None);
        assert!(pause.is_on(now + SECOND * 10) && !pause.is_on(now + SECOND * 61));
        pause.begin(now + SECOND * 10, SECOND, 8);
        assert_eq!(pause.left(now + SECOND * 10, 8), Some(SECOND));
    }

    #[test]
    fn a_late_answer_to_an_older_version_does_not_end_a_newer_pause() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        pause.begin(now, SECOND * 5, 8);
        pause.begin(now, SECOND * 60, 7);
        assert_eq!(pause.left(now + SECOND, 8), Some(SECOND * 4));
        pause.begin(now + SECOND * 6, SECOND * 60, 7);
        assert_eq!((pause.left(now + SECOND * 7, 7), pause.left(now + SECOND * 7, 8)), (Some(SECOND * 59), None));
    }
}
