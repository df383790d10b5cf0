//! How a dispatcher is set up. Every field has a default that suits two cores; none is a promise to users.

use std::time::Duration;

use postrider_broker::{ConsumeOptions, Queue};
use postrider_model::delivery::Lane;

/// Budgets and bounds of one dispatcher.
#[derive(Debug, Clone)]
pub struct Config {
    /// What may be in hand from the live lane.
    pub live: ConsumeOptions,
    /// What may be in hand from the slow lane: each endpoint that does not answer takes one for the length of its timeout.
    pub slow: ConsumeOptions,
    /// What may be in hand from the bulk lane.
    pub bulk: ConsumeOptions,
    /// Test calls at once.
    pub test_calls_max: u16,
    /// Endpoints in the cache at most, 1 or more. Beyond it the least recently used is forgotten, and with it its pace.
    pub endpoints_max: u64,
    /// An endpoint without deliveries is forgotten after this long; longer than the longest attempt.
    pub endpoint_idle: Duration,
    /// How long outcomes gather before they are published, nobody waiting for them. 0 to 20 ms are sensible.
    pub outcomes_gather: Duration,
    /// Outcomes waiting to be published at most; attempts wait beyond that. More than all members in hand.
    pub outcomes_max: usize,
    /// How often the dispatchers are counted, which share the endpoints' rates.
    pub count_dispatchers_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let mib = 1024 * 1024;
        let yields_to = Some(Queue::Lane(Lane::Live));
        Self {
            live: ConsumeOptions { prefetch: 1_000, members_max: 2_048, bytes_max: 32 * mib, yields_to: None },
            // Deliveries here may each be alone in their message, so that more messages than members are never needed.
            slow: ConsumeOptions { prefetch: 600, members_max: 512, bytes_max: 16 * mib, yields_to },
            bulk: ConsumeOptions { prefetch: 300, members_max: 512, bytes_max: 16 * mib, yields_to },
            test_calls_max: 64,
            endpoints_max: 20_000,
            endpoint_idle: Duration::from_secs(600),
            outcomes_gather: Duration::from_millis(20),
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
