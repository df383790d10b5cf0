//! The engines for tests: the engines of this machine, or the engines of a Debian 13 system in a folder.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use postrider_testkit::engines::{EngineOptions, Engines, Install, Purpose};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::child::Guarded;
use crate::{debian13, report};

/// The release of RabbitMQ and PostgreSQL to test with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Release {
    /// The installed release.
    #[default]
    Installed,
    /// RabbitMQ 4.0 and PostgreSQL 17 of Debian 13, in a folder of the checkout. Requires Debian and root.
    Debian13,
}

/// The prefix of an exported variable in the output of `cargo xtask engines`.
pub(crate) const EXPORT: &str = "  export ";

/// Running engines, and the variables that contain their addresses for the tests.
pub(crate) struct TestEngines {
    /// Variables for the environment of `cargo test`.
    pub(crate) variables: Vec<(String, String)>,
    running: Running,
}

enum Running {
    Here(Engines),
    /// `cargo xtask engines` in the Debian 13 system.
    Inside(Guarded),
}

impl TestEngines {
    /// Starts the engines, or uses engines that are running already.
    pub(crate) async fn start(release: Release, install: Install) -> Result<Self> {
        match release {
            Release::Installed => Self::here(install).await,
            Release::Debian13 => Self::inside(install).await,
        }
    }

    async fn here(install: Install) -> Result<Self> {
        let options = EngineOptions { install, purpose: Purpose::Tests, reset: false, say: report::step };
        let engines = Engines::start(options).await?;
        engines.described.iter().for_each(report::line);
        let variables = [
            ("POSTRIDER_TEST_AMQP_URL", engines.amqp_url.clone()),
            ("POSTRIDER_TEST_AMQP_API", engines.amqp_api_url.clone().unwrap_or_default()),
            ("POSTRIDER_TEST_DATABASE_URL", engines.database_url.clone()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Ok(Self { variables, running: Running::Here(engines) })
    }

    /// Runs `cargo xtask engines` in the Debian 13 system. Cargo's runner runs the tests there too, so that a test that starts
    /// its own engine uses the release of Debian 13.
    async fn inside(install: Install) -> Result<Self> {
        if std::env::var_os("POSTRIDER_TEST_AMQP_URL").is_some() {
            bail!("POSTRIDER_TEST_AMQP_URL names other engines than --engines debian13: unset it, or omit --engines");
        }
        let enter = debian13::prepare(install)?;
        let mut command = Command::new(&enter);
        command.arg(std::env::current_exe()?).args(["engines", "--no-install"]);
        command.env("POSTRIDER_DEV_FOLDER", debian13::folder()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Guarded::spawn(command, "the engines of Debian 13")?;
        let mut lines = BufReader::new(running.stdout().context("stdout is piped")?).lines();
        let runner = (format!("CARGO_TARGET_{}_RUNNER", target().await?), enter.display().to_string());
        let mut variables = vec![runner];
        while variables.len() < 4 {
            let line = lines.next_line().await?.context("the engines of Debian 13 did not start; see above")?;
            match line.strip_prefix(EXPORT).and_then(|export| export.split_once('=')) {
                Some((name, value)) => variables.push((name.to_owned(), value.to_owned())),
                None => report::line(line),
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { variables, running: Running::Inside(running) })
    }

    /// Stops the engines unless another process uses them. Blocks for some seconds.
    pub(crate) fn stop(self) {
        match self.running {
            Running::Here(engines) => engines.stop(),
            Running::Inside(guarded) => drop(guarded),
        }
    }
}

/// Returns the target of the host in the form of cargo's variables, such as `X86_64_UNKNOWN_LINUX_GNU`.
async fn target() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().await.context("running rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(host.to_uppercase().replace('-', "_"))
}
