//! `cargo xtask`: the commands for developers. `up` runs Postrider, `test` runs all checks of CI, and `bench` measures.
//!
//! Owns: the order in which everything is prepared, started and stopped. Promises: everything that `xtask` started is stopped
//! when it ends, also after Ctrl-C, SIGTERM or a failure. Changes nothing outside the checkout, except that `up` and `test`
//! install packages with apt, which they announce.

mod bench;
mod child;
mod debian13;
mod deny;
mod faults;
mod guarantees;
#[cfg(test)]
mod layers;
mod marked;
#[cfg(test)]
mod metrics_page;
#[cfg(test)]
mod migrations_page;
#[cfg(test)]
mod pages;
mod report;
mod stop;
mod test;
mod test_engines;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use postrider_testkit::engines::Install;

use test_engines::{EXPORT, Release, TestEngines};

/// Commands for developers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Postrider with RabbitMQ, PostgreSQL and a demo tenant, until Ctrl-C.
    Up(up::UpArgs),
    /// Run all checks of CI, with real engines.
    Test(test::TestArgs),
    /// Measure optimized binaries: throughput, latency, CPU and isolation.
    Bench(bench::BenchArgs),
    /// Write docs/guarantees.md from the doc comments of the end-to-end tests.
    Guarantees,
    /// Run the test engines until Ctrl-C, for manual calls of `cargo test`.
    Engines {
        #[command(flatten)]
        install: InstallArgs,
        /// The release of the engines.
        #[arg(long, value_enum, default_value_t)]
        engines: Release,
    },
}

/// Arguments about missing packages.
#[derive(Debug, Clone, Copy, clap::Args)]
struct InstallArgs {
    /// Only list missing packages; do not install them.
    #[arg(long)]
    no_install: bool,
}

impl From<InstallArgs> for Install {
    fn from(args: InstallArgs) -> Self {
        if args.no_install { Self::Tell } else { Self::Apt }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    postrider_testkit::install_crypto();
    let until_ctrl_c = matches!(command, Command::Up(_) | Command::Engines { .. });
    let work = async {
        match command {
            Command::Up(args) => Box::pin(up::run(args)).await.map(|()| true),
            Command::Test(args) => Box::pin(test::run(args)).await,
            Command::Bench(args) => Box::pin(bench::run(args)).await,
            Command::Guarantees => guarantees::write().map(|()| true),
            Command::Engines { install, engines: release } => {
                Box::pin(engines(release, install.into())).await.map(|()| true)
            }
        }
    };
    // A signal drops the future `work`. Its guards stop everything that it started.
    let ended = tokio::select! {
        ended = work => ended,
        name = stop::requested() => {
            report::line(if until_ctrl_c { "stopped".to_owned() } else { format!("stopped by {name}") });
            return if until_ctrl_c { ExitCode::SUCCESS } else { ExitCode::from(130) };
        }
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::line(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn engines(release: Release, install: Install) -> Result<()> {
    let engines = TestEngines::start(release, install).await?;
    report::line(
        "the test engines run until Ctrl-C. In another terminal:\n\n  cargo test -p <package>\n\nor, for other tools:\n",
    );
    for (name, value) in &engines.variables {
        report::line(format!("{EXPORT}{name}={value}"));
    }
    std::future::pending().await
}
