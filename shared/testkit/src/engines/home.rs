//! The folder of engines: their data, ports and locks.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Purpose;
use super::postgres::Postgres;
use super::rabbit::{RabbitNode, RabbitPorts};
use crate::ports::free_port_near;

/// The file that [`Home::remember`] writes.
pub(super) const PORTS: &str = "engines.json";

/// The folder of the engines of one purpose.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// The folder of their data, locks and ports.
    pub(super) folder: PathBuf,
}

impl Home {
    /// Test engines have a separate folder, because they start empty and must not delete the data of the development engines.
    pub(super) fn of(purpose: Purpose, folder: &Path) -> Self {
        Self { folder: if purpose == Purpose::Tests { folder.join("tests") } else { folder.to_owned() } }
    }

    /// Returns the ports of this folder's engines if any of the engines runs.
    pub(super) fn running_ports(&self) -> Option<Ports> {
        let ports: Ports = serde_json::from_slice(&std::fs::read(self.folder.join(PORTS)).ok()?).ok()?;
        (self.rabbit(ports).running() || self.postgres(ports).running()).then_some(ports)
    }

    /// Writes the ports for [`Home::running_ports`].
    pub(super) fn remember(&self, ports: Ports) -> Result<()> {
        Ok(std::fs::write(self.folder.join(PORTS), serde_json::to_vec_pretty(&ports)?)?)
    }

    pub(super) fn rabbit(&self, ports: Ports) -> RabbitNode {
        RabbitNode::new(self.folder.join("rabbitmq"), ports.rabbit)
    }

    pub(super) fn postgres(&self, ports: Ports) -> Postgres {
        Postgres::new(self.folder.join("postgres"), ports.postgres)
    }

    /// Opens a file for locking.
    pub(super) fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.folder.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("cannot open {} (created by another user?)", path.display()))
    }
}

/// The ports of both engines.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    rabbit: RabbitPorts,
    postgres: u16,
}

impl Ports {
    /// Chooses the usual ports, and free ports in place of usual ports that are taken. The ports of test engines are higher by
    /// a hundred, so that tests can run at the same time as `up`. All ports are below Linux's ephemeral range (32768 and up),
    /// because any outgoing connection may take a port in that range.
    pub(super) fn choose(purpose: Purpose) -> Self {
        let port = |preferred: u16| free_port_near(preferred + if purpose == Purpose::Tests { 100 } else { 0 });
        let rabbit =
            RabbitPorts { amqp: port(27672), management: port(27673), distribution: port(27674), epmd: port(27675) };
        Self { rabbit, postgres: port(27432) }
    }
}
