//! Budgets and limits of a dispatcher. The defaults suit two processor cores. They are not documented for users and may change.

use std::time::Duration;

use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::Lane;

/// Budgets and limits of one dispatcher.
#[derive(Debug, Clone)]
pub struct Config {
    /// Limits for members of the live lane that are in flight.
    pub live: ConsumeOptions,
    /// Limits for members of the slow lane that are in flight. An endpoint that does not answer occupies one member until the
    /// timeout.
    pub slow: ConsumeOptions,
    /// Limits for members of the bulk lane that are in flight.
    pub bulk: ConsumeOptions,
    /// Maximum number of concurrent test calls.
    pub test_calls_max: u16,
    /// Maximum number of cached endpoints, at least 1. At the maximum, the least recently used endpoint and its pace are
    /// forgotten.
    pub endpoints_max: u64,
    /// Time without deliveries after which an endpoint is forgotten. It must be longer than the longest attempt.
    pub endpoint_idle: Duration,
    /// Time during which outcomes are collected into a batch. Values from 0 to 100 ms are sensible.
    pub outcomes_gather: Duration,
    /// Maximum number of outcomes that wait to be published. At the maximum, attempts wait. It must exceed the number of
    /// members in flight.
    pub outcomes_max: usize,
    /// Interval between counts of the dispatchers that share the rates.
    pub count_dispatchers_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let mib = 1024 * 1024;
        let yields_to = Some(Queue::Lane(Lane::Live));
        Self {
            // The prefetch counts messages, which are in memory before `bytes_max` counts them: a larger one costs memory. Deliveries
            // that wait for their batch hold their messages, so the room for them follows from the prefetch.
            live: ConsumeOptions { prefetch: 1_000, members_max: 2_048, bytes_max: 32 * mib, yields_to: None },
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
