//! Settings of the ingest service.

use std::time::Duration;

use postrider_model::limits::{INNER_BYTES_MAX, WAITING_DELIVERIES_MAX};
use secrecy::SecretString;

/// Settings of the ingest service; the defaults are what production runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a publish waits for the broker's confirm before it answers 503. Must be below 5 s.
    pub confirm_timeout: Duration,
    /// Maximum events that wait for the broker; beyond it a publish answers 503 immediately.
    pub waiting_max: usize,
    /// How many confirmed ids that producers named are kept in memory, to answer `duplicate`.
    pub remembered_ids: u64,
    /// Maximum number of messages in any one inner queue. Beyond that, new events are refused with 503.
    pub inner_depth_max: u32,
    /// Maximum number of bytes in all inner queues together, estimated. Beyond that, new events are refused with 503.
    pub inner_bytes_max: u64,
    /// Maximum number of waiting deliveries of all tenants, by the last count. Beyond that, new events are refused with 503.
    pub waiting_deliveries_max: u64,
    /// Keys of operators; they publish for every tenant.
    pub operator_keys: Vec<SecretString>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            confirm_timeout: Duration::from_millis(4_500),
            waiting_max: 20_000,
            remembered_ids: 200_000,
            inner_depth_max: 2_000_000,
            inner_bytes_max: INNER_BYTES_MAX,
            waiting_deliveries_max: WAITING_DELIVERIES_MAX,
            operator_keys: Vec::new(),
        }
    }
}
