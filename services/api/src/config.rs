//! Settings of the API.

use std::time::Duration;

use secrecy::SecretString;

/// Settings of the API; the defaults are what production runs, but for the operator keys.
#[derive(Debug, Clone)]
pub struct Config {
    /// Keys that may do everything; none: tenants cannot be created.
    pub operator_keys: Vec<SecretString>,
    /// Whether people reach the dashboard by https: cookies are then always `Secure`, and answers say so to browsers (HSTS).
    pub served_by_https: bool,
    /// How long a test call waits beyond the endpoint's own timeout.
    pub test_patience: Duration,
    /// How long a retry waits for the broker's confirm before it is answered and left to the outbox relay.
    pub confirm_timeout: Duration,
    /// How old the last word of the database may be for an unknown key to be a wrong one (401) rather than maybe a new
    /// one (503).
    pub keys_fresh_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            operator_keys: Vec::new(),
            served_by_https: false,
            test_patience: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(4),
            keys_fresh_for: Duration::from_secs(5),
        }
    }
}
