//! A broker of a test's own, to be killed.

use std::sync::Arc;

use anyhow::Result;
use tempfile::TempDir;

use super::ports::free_port;
use super::rabbit::{RabbitNode, RabbitPorts};

/// A RabbitMQ node on free ports in a folder of its own. Gone, data included, when dropped.
pub struct PrivateRabbit {
    node: RabbitNode,
    _folder: TempDir,
}

impl PrivateRabbit {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// RabbitMQ is not installed, or does not come up.
    pub async fn start() -> Result<Self> {
        Self::with_config("").await
    }

    /// As [`PrivateRabbit::start`], with more lines for its `rabbitmq.conf`.
    pub async fn with_config(extra: &str) -> Result<Self> {
        crate::install_crypto();
        let folder = tempfile::Builder::new().prefix("postrider-rabbit-").tempdir()?;
        let ports =
            RabbitPorts { amqp: free_port(), management: free_port(), distribution: free_port(), epmd: free_port() };
        let mut node = RabbitNode::new(folder.path().canonicalize()?, ports);
        node.extra_config = extra.to_owned();
        let mut rabbit = Self { node, _folder: folder };
        rabbit.node.start(&(Arc::new(|_: &str| ()) as _))?;
        rabbit.node.wait_ready().await?;
        Ok(rabbit)
    }

    /// The default vhost's URL.
    pub fn amqp_url(&self) -> String {
        format!("{}/%2f", self.node.amqp_url())
    }

    /// The management API with credentials.
    pub fn api_url(&self) -> String {
        self.node.api_url()
    }

    /// SIGKILL to the Erlang VM and all its children at once. Returns when they are gone.
    pub fn kill9(&mut self) {
        self.node.kill9();
    }

    /// Starts it again on the same data and ports and waits until the vhost is served.
    ///
    /// # Errors
    /// It does not come up; with the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.node.start(&(Arc::new(|_: &str| ()) as _))?;
        self.node.wait_ready().await
    }

    /// Where its files are, for a test that looks at them.
    pub fn folder(&self) -> &std::path::Path {
        self.node.folder()
    }
}

impl Drop for PrivateRabbit {
    fn drop(&mut self) {
        self.node.kill9();
    }
}
