//! The folder of engines: their data, their ports, their locks.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Purpose;
use super::postgres::Postgres;
use super::rabbit::{RabbitNode, RabbitPorts};
use crate::ports;

/// The folder of the engines of one purpose.
#[derive(Debug, Clone)]
pub(super) struct Home {
    /// Their data, locks and ports.
    pub(super) folder: PathBuf,
    pub(super) purpose: Purpose,
}

impl Home {
    /// Tests have engines of their own: these start empty and never share data with others.
    pub(super) fn of(purpose: Purpose, folder: &Path) -> Self {
        let folder = if purpose == Purpose::Tests { folder.join("tests") } else { folder.to_owned() };
        Self { folder, purpose }
    }

    /// The ports of engines of ours that run now; `None` when none run.
    pub(super) fn running_ports(&self) -> Option<Ports> {
        let ports: Ports = serde_json::from_slice(&std::fs::read(self.folder.join(PORTS)).ok()?).ok()?;
        let running = ports.rabbit(self).running() || ports.postgres(self).running();
        running.then_some(ports)
    }

    /// Writes the ports of these engines (of a missing one, its wanted port) for [`Home::running_ports`].
    pub(super) fn remember(&self, rabbit: Option<&RabbitNode>, postgres: Option<&Postgres>) -> Result<()> {
        let mut ports = Ports::wanted(self.purpose)?;
        if let Some(RabbitPorts { amqp, management, distribution, epmd }) = rabbit.map(|rabbit| rabbit.ports) {
            ports = Ports { amqp, management, distribution, epmd, ..ports };
        }
        ports.postgres = postgres.map_or(ports.postgres, |postgres| postgres.port);
        Ok(std::fs::write(self.folder.join(PORTS), serde_json::to_vec_pretty(&ports)?)?)
    }

    /// A file to be locked.
    pub(super) fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.folder.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("cannot open {} (made by another user?)", path.display()))
    }
}

/// The file of [`Home::remember`].
pub(super) const PORTS: &str = "engines.json";

/// The ports that the running engines were started with, for a later start that asks for others.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    epmd: u16,
    postgres: u16,
}

impl Ports {
    // Below Linux's ephemeral range (32768 and up): a port in it can be taken by any outgoing connection. Those of the
    // test engines are a hundred higher, so that tests run alongside `up`.
    pub(super) fn wanted(purpose: Purpose) -> Result<Self> {
        let prefix = purpose.prefix();
        let more = if purpose == Purpose::Tests { 100 } else { 0 };
        let port = |name: &str, default: u16| ports::port_from_env(&format!("{prefix}_{name}"), default + more);
        Ok(Self {
            amqp: port("AMQP_PORT", 27672)?,
            management: port("AMQP_API_PORT", 27673)?,
            distribution: port("AMQP_DIST_PORT", 27674)?,
            epmd: port("EPMD_PORT", 27675)?,
            postgres: port("POSTGRES_PORT", 27432)?,
        })
    }

    pub(super) fn rabbit(&self, home: &Home) -> RabbitNode {
        let Self { amqp, management, distribution, epmd, .. } = *self;
        let ports = RabbitPorts { amqp, management, distribution, epmd };
        RabbitNode::new(home.folder.join("rabbitmq"), ports, home.purpose.prefix())
    }

    pub(super) fn postgres(&self, home: &Home) -> Postgres {
        Postgres::new(home.folder.join("postgres"), self.postgres, home.purpose.prefix())
    }
}

impl Purpose {
    /// What the variables that choose ports begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Development => "POSTRIDER_DEV",
            Self::Tests => "POSTRIDER_TEST",
        }
    }
}
