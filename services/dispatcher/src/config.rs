//! Budgets and bounds of a dispatcher. The defaults suit two cores; none is a promise to users.

use std::time::Duration;

use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::Lane;

/// Budgets and bounds of one dispatcher.
#[derive(Debug, Clone)]
pub struct Config {
    /// Limits for members of the live lane in flight.
    pub live: ConsumeOptions,
    /// Limits for members of the slow lane in flight. An endpoint that does not answer occupies one member until its timeout.
    pub slow: ConsumeOptions,
    /// Limits for members of the bulk lane in flight.
    pub bulk: ConsumeOptions,
    /// Maximum concurrent test calls.
    pub test_calls_max: u16,
    /// Maximum cached endpoints, at least 1. Beyond it, the least recently used endpoint and its pace are forgotten.
    pub endpoints_max: u64,
    /// An endpoint without deliveries for this long is forgotten. Must exceed the longest attempt.
    pub endpoint_idle: Duration,
    /// How long outcomes are collected into a batch; 0 to 100 ms is sensible.
    pub outcomes_gather: Duration,
    /// Maximum outcomes that wait to be published; beyond it, attempts wait. Must exceed the number of members in flight.
    pub outcomes_max: usize,
    /// How often the number of dispatchers that share the rates is counted.
    pub count_dispatchers_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let mib = 1024 * 1024;
        let yields_to = Some(Queue::Lane(Lane::Live));
        Self {
            live: ConsumeOptions { prefetch: 1_000, members_max: 2_048, bytes_max: 32 * mib, yields_to: None },
            // The prefetch counts messages. A message of this lane often holds one delivery, so it is a little above the members.
            slow: ConsumeOptions { prefetch: 600, members_max: 512, bytes_max: 16 * mib, yields_to },
            bulk: ConsumeOptions { prefetch: 300, members_max: 512, bytes_max: 16 * mib, yields_to },
            test_calls_max: 64,
            endpoints_max: 20_000,
            endpoint_idle: Duration::from_secs(600),
            outcomes_gather: Duration::from_millis(80),
            outcomes_max: 8_192,
            count_dispatchers_every: Duration::from_secs(5),
        }
    }
}

impl Config {
    pub(crate) fn lane(&self, lane: Lane) -> ConsumeOptions {
        match lane {
            Lane::Live => self.live,
            Lane::Slow => self.slow,
            Lane::Bulk => self.bulk,
        }
    }
}
