//! A private broker and a private database for one test. The test may kill them.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use super::postgres::Postgres;
use super::rabbit::{RabbitNode, RabbitPorts};
use crate::ports::free_port;

/// A RabbitMQ node on free ports in a separate folder. Dropping this value kills the node and deletes its data.
pub struct PrivateRabbit {
    node: RabbitNode,
    _folder: TempDir,
}

impl PrivateRabbit {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// RabbitMQ is not installed or does not start.
    pub async fn start() -> Result<Self> {
        Self::with_config("").await
    }

    /// Starts a node with additional lines in its `rabbitmq.conf` and waits until it is ready.
    pub async fn with_config(extra: &str) -> Result<Self> {
        crate::install_crypto();
        let folder = tempfile::Builder::new().prefix("postrider-rabbit-").tempdir()?;
        let ports =
            RabbitPorts { amqp: free_port(), management: free_port(), distribution: free_port(), epmd: free_port() };
        let mut node = RabbitNode::new(folder.path().canonicalize()?, ports);
        node.extra_config = extra.to_owned();
        let mut rabbit = Self { node, _folder: folder };
        rabbit.node.start(|_| ())?;
        rabbit.node.wait_ready().await?;
        Ok(rabbit)
    }

    /// The URL of the default vhost.
    pub fn amqp_url(&self) -> String {
        format!("{}/%2f", self.node.amqp_url())
    }

    /// The URL of the management API, with credentials.
    pub fn api_url(&self) -> String {
        self.node.api_url()
    }

    /// Sends SIGKILL to the Erlang VM and all of its children at the same time. Returns after they have ended.
    pub fn kill9(&mut self) {
        self.node.kill9();
    }

    /// Starts the node again with the same data and ports, and waits until it is ready.
    ///
    /// # Errors
    /// The node does not start. The error contains the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.node.start(|_| ())?;
        self.node.wait_ready().await
    }

    /// Deletes the node's data, as if its disk were lost. The node must not be running.
    ///
    /// # Errors
    /// The folder cannot be deleted.
    pub fn lose_disk(&mut self) -> Result<()> {
        Ok(std::fs::remove_dir_all(self.node.folder().join("mnesia"))?)
    }

    /// Waits until every quorum queue of the default vhost would survive [`PrivateRabbit::kill9`].
    ///
    /// RabbitMQ writes the registration of a quorum queue, and the messages published in between, to disk up to half a second
    /// *after* it confirmed the declaration. A node that is killed within that time restarts with the queue's name, an empty
    /// log with a new id, and no leader. A test that kills the node soon after a declaration would test this fault of RabbitMQ,
    /// not Postrider.
    ///
    /// # Errors
    /// The management API does not answer, or a queue is not on disk after three minutes.
    pub async fn wait_queues_on_disk(&self) -> Result<()> {
        let give_up = Instant::now() + Duration::from_secs(180);
        let registrations = self.node.folder().join("mnesia/postrider@localhost/quorum/postrider@localhost/names.dets");
        loop {
            let queues: Vec<serde_json::Value> =
                serde_json::from_slice(&super::scope::management_get(&self.api_url(), "/api/queues/%2F").await?)?;
            let on_disk = std::fs::read(&registrations).unwrap_or_default();
            let missing = queues.iter().filter(|queue| queue["type"] == "quorum").find(|queue| {
                let name = format!("%2F_{}", queue["name"].as_str().unwrap_or_default());
                !on_disk.windows(name.len()).any(|window| window == name.as_bytes())
            });
            match missing {
                None => return Ok(()),
                Some(queue) if Instant::now() > give_up => {
                    bail!("queue {} is not on disk after three minutes", queue["name"])
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Runs `rabbitmqctl` for this node, for faults such as `["set_disk_free_limit", "1000000GB"]`.
    ///
    /// # Errors
    /// The command fails. The error contains its output.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<()> {
        self.node.ctl(arguments).await
    }

    /// The folder of the node's files.
    pub fn folder(&self) -> &std::path::Path {
        self.node.folder()
    }
}

/// A PostgreSQL on a free port in a separate folder. Dropping this value stops it and deletes its data.
pub struct PrivatePostgres {
    cluster: Postgres,
    folder: TempDir,
}

impl PrivatePostgres {
    /// Starts a PostgreSQL and waits until it is ready.
    ///
    /// # Errors
    /// PostgreSQL is not installed or does not start.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("postrider-postgres-").tempdir()?;
        let path = folder.path().canonicalize()?.join("cluster");
        // If PostgreSQL runs as another user, that user must be able to open the folder.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let cluster = Postgres::new(path, free_port());
        let mut postgres = Self { cluster, folder };
        postgres.restart().await?;
        Ok(postgres)
    }

    /// The URL of its only database.
    pub fn database_url(&self) -> String {
        self.cluster.url("postgres")
    }

    /// The folder of its files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Shuts PostgreSQL down fast, which ends every connection. Returns after the process has ended.
    pub fn stop(&mut self) {
        self.cluster.stop();
    }

    /// Starts PostgreSQL again with the same data and port.
    ///
    /// # Errors
    /// PostgreSQL does not start. The error contains the end of its log.
    pub async fn restart(&mut self) -> Result<()> {
        self.cluster.start(|_| ())?;
        self.cluster.wait_ready().await.map(drop)
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.cluster.stop();
    }
}

impl Drop for PrivateRabbit {
    fn drop(&mut self) {
        self.node.kill9();
    }
}
