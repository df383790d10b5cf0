//! How to reach the broker.

use std::fmt;
use std::path::PathBuf;

use crate::connection::Target;
use crate::error::BrokerError;

/// Where the broker is and how this process calls itself there.
#[derive(Clone)]
pub struct BrokerConfig {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`. Holds a password: never logged.
    pub amqp_url: String,
    /// A PEM file of certificate authorities trusted besides the system's, for `amqps`.
    pub ca_file: Option<PathBuf>,
    /// What the broker's connection list shows, such as `postrider dispatcher`; the connection's role is appended.
    pub connection_name: String,
    /// The user that the broker authenticates, where that is another than the URL's. Messages name it, so that the broker vouches
    /// for them.
    pub user_id: Option<String>,
}

impl BrokerConfig {
    /// A configuration without a CA file of its own.
    pub fn new(amqp_url: impl Into<String>, connection_name: impl Into<String>) -> Self {
        Self { amqp_url: amqp_url.into(), ca_file: None, connection_name: connection_name.into(), user_id: None }
    }

    /// Checks what needs no broker: the URL, and whether the CA file can be read.
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
