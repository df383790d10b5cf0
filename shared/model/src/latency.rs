//! Histograms of attempt durations in fixed buckets, for percentiles.
//!
//! # What it promises
//! Counts of several minutes or endpoints can be added bucket by bucket. A percentile is interpolated in the bucket that
//! contains the true value. Below 1 ms it is off by less than 1 ms; from 1 to 3 ms and above 30 s by less than a factor of 2;
//! otherwise by less than a factor of 1.67.
//!
//! # What it does not do
//! It stores no mean: callers store the sum of durations separately.

use std::time::Duration;

/// The number of buckets.
pub const BUCKETS: usize = 28;

/// The bounds between buckets, in microseconds: each is the exclusive end of one bucket and the start of the next. The first
/// bucket starts at 0, the last ends at [`LAST_END`]. Stored rows have this order: only a migration may change it.
pub const BOUNDS_US: [u64; BUCKETS - 1] = [
    1_000, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000, 50_000, 70_000, 100_000, 150_000, 200_000,
    300_000, 500_000, 700_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 5_000_000, 7_000_000, 10_000_000,
    15_000_000, 20_000_000, 30_000_000,
];

/// The end of the last bucket: the longest timeout of an attempt. The last bucket also counts longer durations.
pub const LAST_END: Duration = crate::limits::ATTEMPT_TIMEOUT_MAX;

/// Numbers of attempts by bucket of duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    counts: [u64; BUCKETS],
}

impl Latency {
    /// A histogram of these counts, in the order of the buckets.
    pub fn of(counts: [u64; BUCKETS]) -> Self {
        Self { counts }
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// The duration that `percent` (0 to 100) of the attempts did not exceed; `None` if there are no attempts.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        if total == 0 {
            return None;
        }
        let wanted = (percent.clamp(0.0, 100.0) / 100.0 * total as f64).max(1.0);
        let mut before = 0_u64;
        for (bucket, count) in self.counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let upto = before + count;
            if upto as f64 >= wanted {
                let (begin, end) = span_us(bucket);
                let part = (wanted - before as f64) / count as f64;
                return Some(Duration::from_micros((begin as f64 + part * (end - begin) as f64) as u64));
            }
            before = upto;
        }
        Some(LAST_END)
    }
}

/// The start and the end of a bucket, in microseconds.
fn span_us(bucket: usize) -> (u64, u64) {
    let begin = bucket.checked_sub(1).and_then(|before| BOUNDS_US.get(before)).copied().unwrap_or(0);
    let end = BOUNDS_US.get(bucket).copied().unwrap_or(LAST_END.as_micros() as u64);
    (begin, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts durations like PostgreSQL's `width_bucket` over [`BOUNDS_US`].
    fn counted(durations_us: &[u64]) -> Latency {
        let mut counts = [0; BUCKETS];
        for us in durations_us {
            counts[BOUNDS_US.partition_point(|bound| bound <= us)] += 1;
        }
        Latency::of(counts)
    }

    #[test]
    fn no_bucket_is_wider_than_promised() {
        for bucket in 1..BUCKETS {
            let (begin, end) = span_us(bucket);
            let factor = end as f64 / begin as f64;
            let promised = if (3_000..30_000_000).contains(&begin) { 1.67 } else { 2.0 };
            assert!(factor > 1.0 && factor <= promised, "{begin} to {end} us: {factor}");
        }
    }

    #[test]
    fn a_percentile_is_as_close_to_the_true_value_as_promised() {
        // 900 attempts of 4 ms, 90 of 80 ms, 10 of 9 s.
        let mut durations = vec![4_000; 900];
        durations.extend(vec![80_000; 90]);
        durations.extend(vec![9_000_000; 10]);
        let latency = counted(&durations);
        for (percent, truth) in [(50.0, 4_000), (90.0, 4_000), (95.0, 80_000), (99.0, 80_000), (99.9, 9_000_000)] {
            let read = latency.percentile(percent).unwrap().as_micros() as f64;
            let factor = (read / f64::from(truth)).max(f64::from(truth) / read);
            assert!(factor <= 1.67, "p{percent}: {read} us for {truth} us");
        }
    }

    #[test]
    fn percentiles_of_evenly_spread_durations_are_interpolated() {
        let latency = counted(&(0..1_000).map(|n| 10_000 + n * 5).collect::<Vec<_>>());
        assert_eq!(latency.percentile(50.0), Some(Duration::from_micros(12_500)));
    }

    #[test]
    fn a_percentile_needs_attempts_and_ends_at_the_longest_timeout() {
        assert_eq!(Latency::default().percentile(50.0), None);
        assert_eq!(counted(&[u64::MAX]).percentile(100.0), Some(LAST_END));
    }

    #[test]
    fn counts_of_parts_add_up_to_the_whole() {
        let (mut a, b) = (counted(&[500, 4_000]), counted(&[4_500, 70_000]));
        a.add(&b);
        assert_eq!(a, counted(&[500, 4_000, 4_500, 70_000]));
    }
}
