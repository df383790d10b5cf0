//! Where RabbitMQ is.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::values::{redacted_url, secret};
use super::{Checked, ConfigError, Optional, readable, shown};

/// RabbitMQ: what is in flight.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "RabbitMQ")]
pub struct AmqpArgs {
    /// RabbitMQ, as `amqp://user:password@host:port/vhost` or `amqps://…`.
    #[arg(id = "amqp-url", long = "amqp-url", env = "POSTRIDER_AMQP_URL", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub url: SecretString,

    /// A PEM file with roots for `amqps`, besides the system's.
    #[arg(
        id = "amqp-ca-file",
        long = "amqp-ca-file",
        env = "POSTRIDER_AMQP_CA_FILE",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub ca_file: Optional<PathBuf>,
}

impl Checked for AmqpArgs {
    fn check(&self) -> Result<(), ConfigError> {
        let url = self.url.expose_secret();
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err(ConfigError::new("POSTRIDER_AMQP_URL", "expected amqp://… or amqps://…"));
        }
        readable("POSTRIDER_AMQP_CA_FILE", self.ca_file.as_ref())
    }

    fn summary(&self) -> Vec<(&'static str, String)> {
        vec![
            ("POSTRIDER_AMQP_URL", redacted_url(&self.url)),
            ("POSTRIDER_AMQP_CA_FILE", shown(self.ca_file.as_ref(), |path| path.display().to_string())),
        ]
    }
}
