//! Compares the accepted events with the received deliveries, and calculates rates and latencies from their times.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// An event that was accepted (202), or a message that the broker confirmed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accepted {
    /// The id of the event.
    pub(crate) id: String,
    /// The time at which the event was sent, or at a fixed rate, the time at which it was due. In nanoseconds since the epoch.
    pub(crate) sent_ns: u64,
    /// The time at which the response was read, in nanoseconds since the epoch.
    pub(crate) answered_ns: u64,
}

/// A delivery that the sink received.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Received {
    /// The id of the event.
    pub(crate) id: String,
    /// The number of the endpoint.
    pub(crate) endpoint: u16,
    /// The time at which the delivery was received, in nanoseconds since the epoch.
    pub(crate) at_ns: u64,
}

/// The result of the comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Balance {
    /// Number of accepted events.
    pub(crate) accepted: u64,
    /// Accepted events per second, from the first request sent to the last response.
    pub(crate) accepted_per_second: f64,
    /// Number of distinct deliveries that were received.
    pub(crate) deliveries: u64,
    /// Deliveries per second, from the first to the last received delivery.
    pub(crate) deliveries_per_second: f64,
    /// Number of deliveries that were not received.
    pub(crate) lost: u64,
    /// Number of deliveries that were received more than once.
    pub(crate) duplicated: u64,
    /// Number of deliveries whose events were not answered with 202. (503 means that the event may have been accepted.)
    pub(crate) unannounced: u64,
    /// The time from when an event was sent, or at a fixed rate was due, until the sink received it.
    pub(crate) latency: Latency,
}

/// Percentiles of latency in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// The median.
    pub(crate) p50_ms: f64,
    /// The 95th percentile.
    pub(crate) p95_ms: f64,
    /// The 99th percentile.
    pub(crate) p99_ms: f64,
    /// The maximum.
    pub(crate) max_ms: f64,
}

impl Latency {
    /// Returns a text for a line of the output.
    pub(crate) fn text(&self) -> String {
        let Self { p50_ms, p95_ms, p99_ms, max_ms } = self;
        format!("p50 {p50_ms:.2}  p95 {p95_ms:.2}  p99 {p99_ms:.2}  max {max_ms:.2}")
    }

    /// Calculates exact percentiles of `samples` (nanoseconds). Sorts the samples.
    pub(crate) fn of(samples: &mut [u64]) -> Self {
        samples.sort_unstable();
        let at = |share: f64| {
            let rank = (samples.len() as f64 * share).ceil() as usize;
            samples.get(rank.saturating_sub(1)).map_or(0.0, |nanos| *nanos as f64 / 1e6)
        };
        Self { p50_ms: at(0.50), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// Compares accepted events with received deliveries. Each event must reach the endpoints 0 to `endpoints` - 1.
pub(crate) fn balance(accepted: &[Accepted], received: &[Received], endpoints: u16) -> Balance {
    let mut balance = Balance { accepted: accepted.len() as u64, ..Balance::default() };
    let known: HashSet<&str> = accepted.iter().map(|event| event.id.as_str()).collect();
    let mut first: HashMap<(&str, u16), u64> = HashMap::with_capacity(received.len());
    for Received { endpoint, at_ns, id } in received {
        if !known.contains(id.as_str()) {
            balance.unannounced += 1;
            continue;
        }
        let seen = first.entry((id.as_str(), *endpoint)).or_insert(0);
        if *seen != 0 {
            balance.duplicated += 1;
        }
        *seen = if *seen == 0 { *at_ns } else { (*seen).min(*at_ns) };
    }
    let mut latencies = Vec::with_capacity(first.len());
    for event in accepted {
        for endpoint in 0..endpoints {
            match first.get(&(event.id.as_str(), endpoint)) {
                Some(at_ns) => latencies.push(at_ns.saturating_sub(event.sent_ns)),
                None => balance.lost += 1,
            }
        }
    }
    balance.deliveries = latencies.len() as u64;
    balance.latency = Latency::of(&mut latencies);
    let (sent, answered) = (accepted.iter().map(|event| event.sent_ns), accepted.iter().map(|event| event.answered_ns));
    balance.accepted_per_second = per_second(accepted.len(), sent.min(), answered.max());
    let (earliest, latest) = (first.values().min().copied(), first.values().max().copied());
    balance.deliveries_per_second = per_second(latencies.len(), earliest, latest);
    balance
}

fn per_second(count: usize, from_ns: Option<u64>, to_ns: Option<u64>) -> f64 {
    match (from_ns, to_ns) {
        (Some(from), Some(to)) if to > from => count as f64 * 1e9 / (to - from) as f64,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balance_counts_lost_duplicated_and_unannounced() {
        let event = |id: &str, sent_ns: u64| Accepted { id: id.to_owned(), sent_ns, answered_ns: sent_ns + 10 };
        let accepted = [event("a", 1_000_000), event("b", 2_000_000)];
        let received = [("a", 0, 4), ("a", 1, 5), ("b", 0, 6), ("b", 0, 7), ("z", 0, 8)]
            .map(|(id, endpoint, ms)| Received { id: id.to_owned(), endpoint, at_ns: ms * 1_000_000 });
        let balance = balance(&accepted, &received, 2);
        assert_eq!((balance.deliveries, balance.lost, balance.duplicated, balance.unannounced), (3, 1, 1, 1));
        assert!((balance.latency.p50_ms - 4.0).abs() < 1e-9);
        assert!((balance.latency.max_ms - 4.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_exact() {
        let mut samples: Vec<u64> = (1..=100).map(|millis| millis * 1_000_000).collect();
        let latency = Latency::of(&mut samples);
        assert_eq!((latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms), (50.0, 95.0, 99.0, 100.0));
    }
}
