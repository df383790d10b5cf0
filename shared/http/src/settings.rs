//! Settings of the HTTP server, and of stopping the process.

use std::net::SocketAddr;
use std::time::Duration;

use postrider_settings::{CheckSettings, Optional, SettingError, address, duration, number, optional_address};

use crate::server::ServeOptions;

/// Maximum value of the drain timeout. No platform waits longer.
const DRAIN_MAX: Duration = Duration::from_secs(86_400);

/// Maximum number of open connections to the port of probes and metrics.
const MANAGEMENT_CONNECTIONS_MAX: usize = 256;

/// The HTTP server, and how the process stops.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "HTTP")]
pub struct Settings {
    /// The address and port of the HTTP server.
    #[arg(
        id = "listen",
        long = "listen",
        env = "POSTRIDER_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub listen: SocketAddr,

    /// A separate address and port for `/healthz`, `/readyz` and `/metrics`. Without it they are at POSTRIDER_LISTEN.
    #[arg(
        id = "management-listen",
        long = "management-listen",
        env = "POSTRIDER_MANAGEMENT_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "",
        hide_default_value = true,
        value_parser = optional_address
    )]
    pub management_listen: Optional<SocketAddr>,

    /// Maximum number of open connections. Further connections wait to be accepted.
    #[arg(
        id = "http-connections-max", long = "http-connections-max",
        env = "POSTRIDER_HTTP_CONNECTIONS_MAX",
        value_name = "COUNT",
        default_value_t = 10_000,
        value_parser = number(1..=1_000_000_u32)
    )]
    pub connections_max: u32,

    /// Maximum time after SIGTERM for finishing work in progress. Use at least the maximum timeout of an attempt, because
    /// attempts that are interrupted are repeated, and less than the platform's grace period.
    #[arg(
        id = "drain-timeout", long = "drain-timeout",
        env = "POSTRIDER_DRAIN_TIMEOUT",
        value_name = "DURATION",
        default_value = "70s",
        value_parser = duration(Duration::ZERO..=DRAIN_MAX)
    )]
    pub drain_timeout: Duration,
}

impl Settings {
    /// The limits of the server for probes and metrics.
    pub fn management_options(&self) -> ServeOptions {
        ServeOptions { connections_max: MANAGEMENT_CONNECTIONS_MAX, ..ServeOptions::default() }
    }

    /// The server's limits.
    pub fn serve_options(&self) -> ServeOptions {
        let connections_max = usize::try_from(self.connections_max).unwrap_or(usize::MAX);
        ServeOptions { connections_max, drain_max: self.drain_timeout, ..ServeOptions::default() }
    }
}

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        let longest = postrider_model::limits::ATTEMPT_TIMEOUT_MAX;
        if self.drain_timeout < longest {
            tracing::warn!(
                drain_timeout = %humantime::format_duration(self.drain_timeout),
                attempt_timeout_max = %humantime::format_duration(longest),
                "the drain is shorter than the longest attempt: a stop may cut attempts off, and they are repeated"
            );
        }
        Ok(())
    }
}
