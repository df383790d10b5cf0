//! Where PostgreSQL is, and how long it keeps what happened.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::values::{number, redacted_url, secret};
use super::{Checked, ConfigError, Optional, readable, shown};

/// PostgreSQL: what is known.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct DatabaseArgs {
    /// PostgreSQL, as `postgres://user:password@host:port/database?sslmode=…`.
    #[arg(
        id = "database-url", long = "database-url",
        env = "POSTRIDER_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = secret
    )]
    pub url: SecretString,

    /// A PEM file with roots for TLS to PostgreSQL, besides the system's.
    #[arg(
        id = "database-ca-file",
        long = "database-ca-file",
        env = "POSTRIDER_DATABASE_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub ca_file: Optional<PathBuf>,

    /// Most connections to PostgreSQL of this process.
    #[arg(
        id = "database-connections-max", long = "database-connections-max",
        env = "POSTRIDER_DATABASE_CONNECTIONS_MAX",
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = number(2..=500_u16)
    )]
    pub connections_max: u16,
}

impl Checked for DatabaseArgs {
    fn check(&self) -> Result<(), ConfigError> {
        let url = self.url.expose_secret();
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(ConfigError::new("POSTRIDER_DATABASE_URL", "expected postgres://… or postgresql://…"));
        }
        if ["sslmode=prefer", "sslmode=allow"].iter().any(|mode| url.contains(mode)) && self.ca_file.is_none() {
            tracing::warn!(
                "POSTRIDER_DATABASE_URL says sslmode=prefer or allow, which is no TLS here; use sslmode=verify-full, or \
                 sslmode=disable on a network that you trust"
            );
        }
        readable("POSTRIDER_DATABASE_CA_FILE", self.ca_file.as_ref())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![
            ("POSTRIDER_DATABASE_URL", redacted_url(&self.url)),
            ("POSTRIDER_DATABASE_CA_FILE", shown(self.ca_file.as_ref(), |path| path.display().to_string())),
            ("POSTRIDER_DATABASE_CONNECTIONS_MAX", self.connections_max.to_string()),
        ]
    }
}

/// Fewest days of retention. A delivery may be pending for [`DELIVERY_LIFETIME`](postrider_model::limits::DELIVERY_LIFETIME):
/// with less, the rows of deliveries that are still attempted would be dropped.
const RETENTION_DAYS_MIN: u16 = 8;
const _: () = assert!(RETENTION_DAYS_MIN as u64 * 86_400 > postrider_model::limits::DELIVERY_LIFETIME.as_secs());

/// How long what happened stays readable.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// Days that events, deliveries and attempts are kept: at least 8, because a delivery may be pending for 7. One value for
    /// the deployment: whole days are dropped.
    #[arg(
        id = "retention-days", long = "retention-days",
        env = "POSTRIDER_RETENTION_DAYS",
        value_name = "DAYS",
        default_value_t = 30,
        value_parser = number(RETENTION_DAYS_MIN..=3_650)
    )]
    pub days: u16,
}

impl Checked for RetentionArgs {
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![("POSTRIDER_RETENTION_DAYS", self.days.to_string())]
    }
}
