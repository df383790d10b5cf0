//! The address of the broker.

use std::fmt;
use std::path::PathBuf;

use crate::connection::Target;
use crate::error::BrokerError;

/// The address of the broker, and the name and user of this process at the broker.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`. The URL contains a password, so it is never logged.
    pub amqp_url: String,
    /// A PEM file of certificate authorities that are trusted in addition to the system's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// The name in the broker's connection list, such as `postrider dispatcher`; the connection's role is appended.
    pub connection_name: String,
    /// The broker's user, if it differs from the URL's user. Messages have it as their `user_id`, which the broker verifies.
    pub user_id: Option<String>,
}

impl BrokerConfig {
    /// A configuration without a CA file and without another user.
    pub fn new(amqp_url: impl Into<String>, connection_name: impl Into<String>) -> Self {
        Self { amqp_url: amqp_url.into(), ca_file: None, connection_name: connection_name.into(), user_id: None }
    }

    /// Checks that the URL is valid and that the CA file can be read, without connecting.
    ///
    /// # Errors
    /// [`BrokerError::Url`] or [`BrokerError::CaFile`].
    pub fn check(&self) -> Result<(), BrokerError> {
        Target::new(self, "check").map(drop)
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("amqp_url", &"***")
            .field("ca_file", &self.ca_file)
            .field("connection_name", &self.connection_name)
            .field("user_id", &self.user_id)
            .finish()
    }
}
