//! A private RabbitMQ node: its files, its processes and its readiness.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::Say;
use super::programs::{rabbitmq_server, wait_ready};
use crate::{ports, procs};

/// The ports of a node, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct RabbitPorts {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) distribution: u16,
    pub(super) epmd: u16,
}

/// A node whose files are all in one folder.
pub(super) struct RabbitNode {
    folder: PathBuf,
    pub(super) ports: RabbitPorts,
    /// Additional lines of `rabbitmq.conf`.
    pub(super) extra_config: String,
    child: Option<Child>,
}

// RabbitMQ reads these settings from this file only.
// - The time after which an expired message whose lane is missing is retried (3 minutes by default), and the number of messages
//   that a rung dead-letters at the same time (32 by default).
// - A limit of file handles. Virtual hosts of tests are not deleted, and RabbitMQ 3.x reserves three handles for each quorum
//   queue without opening them. With the limit that RabbitMQ derives from `ulimit -n`, it would create no virtual hosts after
//   some time.
const ADVANCED_CONFIG: &str = "\
[{rabbit, [
  {file_handles_high_watermark, 1000000},
  {dead_letter_worker_publisher_confirm_timeout, 10000},
  {dead_letter_worker_consumer_prefetch, 512}
]}].
";

impl RabbitNode {
    pub(super) fn new(folder: PathBuf, ports: RabbitPorts) -> Self {
        Self { folder, ports, extra_config: String::new(), child: None }
    }

    pub(super) fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)
    }

    pub(super) fn api_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.ports.management)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Returns the process ids of the Erlang VMs of this node.
    fn machines(&self) -> Vec<i32> {
        let mut found = procs::marked(&self.folder);
        found.retain(|pid| procs::name_of(*pid).is_some_and(|name| name == "beam.smp"));
        found
    }

    pub(super) fn running(&self) -> bool {
        !self.machines().is_empty()
    }

    fn write_config(&self) -> Result<()> {
        let RabbitPorts { amqp, management, .. } = self.ports;
        let extra = &self.extra_config;
        std::fs::create_dir_all(self.folder.join("log"))
            .with_context(|| format!("making {}", self.folder.display()))?;
        let write = |name: &str, text: &str| {
            std::fs::write(self.folder.join(name), text).with_context(|| format!("writing {name}"))
        };
        write(
            "rabbitmq.conf",
            &format!(
                "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
                 management.tcp.ip = 127.0.0.1\n\
                 management.tcp.port = {management}\n\
                 disk_free_limit.absolute = 256MB\n\
                 vm_memory_high_watermark.relative = 0.4\n\
                 raft.wal_max_size_bytes = 64000000\n\
                 log.console = false\n\
                 log.file.level = info\n{extra}\n"
            ),
        )?;
        write("advanced.config", ADVANCED_CONFIG)?;
        write("enabled_plugins", "[rabbitmq_management].\n")?;
        // The empty file prevents RabbitMQ from reading the machine's /etc/rabbitmq/rabbitmq-env.conf.
        write("rabbitmq-env.conf", "")
    }

    /// Adds the environment of the node to a command.
    fn command(&self, mut command: Command) -> Command {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("RABBITMQ_") || text.starts_with("ERL_") || text == "NOTIFY_SOCKET" {
                command.env_remove(&name);
            }
        }
        let file = |name: &str| self.folder.join(name);
        command
            .env(procs::MARK, &self.folder)
            .env("HOME", &self.folder)
            .env("RABBITMQ_NODENAME", "postrider@localhost")
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("generated"))
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Writes the files and starts the processes. [`RabbitNode::wait_ready`] waits until they are ready.
    pub(super) fn start(&mut self, say: Say) -> Result<()> {
        // Processes that remain of a killed node, such as its epmd, would hold the ports.
        procs::kill_marked(&self.folder);
        let RabbitPorts { amqp, management, distribution, epmd } = self.ports;
        [amqp, management, distribution, epmd].into_iter().try_for_each(ports::wait_free)?;
        let server = rabbitmq_server()?;
        self.write_config()?;
        say(&format!("starting RabbitMQ on port {amqp} (data in {})", self.folder.display()));

        // Without a running epmd, RabbitMQ starts a separate Erlang VM to start epmd, which takes longer. An error here is
        // harmless.
        let _ = self.command(Command::new("epmd")).arg("-daemon").stdout(Stdio::null()).stderr(Stdio::null()).status();

        let log = std::fs::File::create(self.log())?;
        let mut command = self.command(procs::raise_open_files(server));
        // Runs in a separate process group, because a Ctrl-C in the terminal must reach only `xtask`, which stops its processes
        // in order.
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        self.child = Some(command.spawn().context("starting rabbitmq-server")?);
        Ok(())
    }

    /// Waits until the broker accepts connections to the default vhost.
    ///
    /// # Errors
    /// The process ended, or five minutes passed. The error contains the end of the log.
    pub(super) async fn wait_ready(&mut self) -> Result<()> {
        let mut child = self.child.take();
        let ready = wait_ready("RabbitMQ", child.as_mut(), async || self.probe().await, || self.log_tail()).await;
        self.child = child;
        ready
    }

    async fn probe(&self) -> Result<()> {
        tokio::net::TcpStream::connect(("127.0.0.1", self.ports.management)).await?;
        let url = format!("{}/%2f", self.amqp_url());
        let connecting = lapin::Connection::connect(&url, lapin::ConnectionProperties::default());
        let connection = tokio::time::timeout(Duration::from_secs(60), connecting).await??;
        connection.close(200, "ready".into()).await?;
        Ok(())
    }

    /// Returns the broker's version. Refuses a broker without at-least-once dead-lettering, because it accepts every
    /// declaration but loses retries.
    ///
    /// # Errors
    /// The version is below 3.10 (Ubuntu 22.04 has 3.9), or the management API does not answer.
    pub(super) async fn check_version(&self) -> Result<String> {
        let overview = super::scope::management_get(&self.api_url(), "/api/overview").await?;
        let overview: serde_json::Value = serde_json::from_slice(&overview)?;
        let version = overview["rabbitmq_version"].as_str().unwrap_or_default();
        if !new_enough(version) {
            bail!(
                "RabbitMQ {version} is installed, but Postrider needs 3.10 or newer (at-least-once dead-lettering): \
                 install a newer one from https://www.rabbitmq.com/docs/download, or name another broker with \
                 POSTRIDER_AMQP_URL"
            );
        }
        Ok(version.to_owned())
    }

    fn log_tail(&self) -> String {
        let console = procs::tail(&self.log(), 20);
        let file = self.folder.join("log/postrider@localhost.log");
        format!("{console}\n{}", procs::tail(&file, 20))
    }

    /// Runs the node's `rabbitmqctl`, in the folder of its `rabbitmq-server`.
    pub(super) async fn ctl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(Command::new(rabbitmq_server()?.with_file_name("rabbitmqctl")));
        command.args(arguments);
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await?;
        if !output.status.success() {
            bail!("rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Requests an orderly stop without waiting for it.
    pub(super) fn ask_to_stop(&self) {
        for pid in self.machines() {
            procs::signal(pid, Signal::SIGTERM);
        }
    }

    /// Stops the node in an orderly way. Kills processes that still run after 20 s, and kills epmd in any case.
    pub(super) fn stop(&mut self) {
        self.ask_to_stop();
        procs::wait_until(Duration::from_secs(20), || !self.running());
        self.kill9();
    }

    /// Sends SIGKILL to every process of the node at the same time, like a power cut.
    pub(super) fn kill9(&mut self) {
        procs::kill_marked(&self.folder);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Whether a version is at least 3.10, or is not numeric.
fn new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(u32::MAX));
    let (major, minor) = (numbers.next().unwrap_or(u32::MAX), numbers.next().unwrap_or(u32::MAX));
    (major, minor) >= (3, 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn brokers_from_version_3_10_are_accepted() {
        for (version, expected) in [("3.9.13", false), ("3.10.8", true), ("3.13.7", true), ("4.0.5", true), ("", true)]
        {
            assert_eq!(super::new_enough(version), expected, "{version}");
        }
    }
}
