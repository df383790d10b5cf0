//! What ingest is started with.

use std::time::Duration;

use postrider_model::limits::{INNER_BYTES_MAX, WAITING_DELIVERIES_MAX};
use secrecy::SecretString;

/// What ingest is started with. The defaults are the values for production.
#[derive(Debug, Clone)]
pub struct Config {
    /// Maximum time that a publish request waits for the broker's confirm. After that, the response is 503. It must be below 5
    /// s.
    pub confirm_timeout: Duration,
    /// Maximum number of events that wait for the broker. Beyond it, a publish request is answered with 503 immediately.
    pub waiting_max: usize,
    /// Maximum number of confirmed ids in memory, for `duplicate` responses. Only ids that producers chose are stored.
    pub remembered_ids: u64,
    /// Maximum number of messages in an inner queue. Beyond it, new events are refused with 503.
    pub inner_depth_max: u32,
    /// Maximum estimated number of bytes in all inner queues together. Beyond it, new events are refused with 503.
    pub inner_bytes_max: u64,
    /// Maximum number of waiting deliveries of all tenants together, by the last count. Beyond it, new events are refused with
    /// 503.
    pub waiting_deliveries_max: u64,
    /// Operator keys, which can publish for every tenant.
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
