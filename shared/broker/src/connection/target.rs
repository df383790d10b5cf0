//! The parameters of a connection, and the connecting itself.

use std::str::FromStr;
use std::time::Duration;

use futures::FutureExt;
use lapin::ConnectionProperties;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::Connection;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::topology;

/// Seconds between heartbeats, unless the URL sets another interval. A frozen peer is noticed after two intervals.
const HEARTBEAT_S: u16 = 15;
/// Maximum duration of one try to connect and declare the topology.
const CONNECT_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Target {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    name: String,
    pub(super) role: &'static str,
}

impl Target {
    pub(crate) fn new(config: &BrokerConfig, role: &'static str) -> Result<Self, BrokerError> {
        let mut uri = AMQPUri::from_str(&config.amqp_url).map_err(BrokerError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        let read = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).map_err(|source| BrokerError::CaFile { path: path.clone(), source })
        };
        let cert_chain = config.ca_file.as_ref().map(read).transpose()?;
        let tls = OwnedTLSConfig { identity: None, cert_chain };
        Ok(Self { uri, tls, name: format!("{} {role}", config.connection_name), role })
    }

    /// The user that the URL names.
    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    /// Connects and declares the topology.
    pub(super) async fn connect(&self) -> Result<Connection, BrokerError> {
        let attempt = async {
            let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
            let runtime = lapin::runtime::default_runtime()?;
            let (uri, tls) = (self.uri.clone(), self.tls.clone());
            let inner = lapin::Connection::connect_uri_with_config(uri, properties, tls, runtime).await?;
            let channel = inner.create_channel().await?;
            topology::declare(&channel).await?;
            let control = AsyncMutex::new(Some(channel));
            Ok(Connection { inner, control, rungs: Mutex::default(), suspect: Notify::new() })
        };
        // Boxed, because the handshake's future is large: without the box, the supervisor would reserve memory for it until the
        // process ends.
        tokio::time::timeout(CONNECT_MAX, attempt.boxed()).await.map_err(|_| BrokerError::Timeout(CONNECT_MAX))?
    }
}
