//! Settings for the connection to RabbitMQ.

use std::path::PathBuf;

use postrider_settings::{CheckSettings, Optional, SettingError, check_file, secret};
use secrecy::{ExposeSecret, SecretString};

/// How to connect to RabbitMQ, which carries events and deliveries.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "RabbitMQ")]
pub struct Settings {
    /// The URL of the broker, as `amqp://user:password@host:port/vhost` or `amqps://…`.
    #[arg(id = "amqp-url", long = "amqp-url", env = "POSTRIDER_AMQP_URL", hide_env_values = true, value_name = "URL", value_parser = secret)]
    pub url: SecretString,

    /// A PEM file with root certificates for `amqps`, in addition to the system's.
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

impl CheckSettings for Settings {
    fn check(&self) -> Result<(), SettingError> {
        let url = self.url.expose_secret();
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err(SettingError::new("POSTRIDER_AMQP_URL", "expected amqp://… or amqps://…"));
        }
        check_file("POSTRIDER_AMQP_CA_FILE", self.ca_file.as_ref())
    }
}
