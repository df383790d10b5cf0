//! How to reach the broker.

use std::fmt;
use std::path::PathBuf;

use crate::connection::Target;
use crate::error::BrokerError;

/// Where the broker is, and the name of this process there.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`. Holds a password: never logged.
    pub amqp_url: String,
    /// A PEM file of certificate authorities that are trusted in addition to the system's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// The name in the broker's connection list, such as `postrider dispatcher`; the connection's role is appended.
    pub connection_name: String,
    /// The broker's user, if it is not the URL's. Messages carry it as `user_id`, which the broker verifies.
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
